import { Refusal } from '../refusal/refusal.ts';

/** What stands behind the reference is not a manifest that can be read. */
export class ImageManifestInvalid extends Refusal {
  readonly code = 'IMAGE_MANIFEST_INVALID';
}

/** It is a manifest, of a kind that holds no image: Docker's schema 1, an artifact manifest, something newer. */
export class ImageTypeUnsupported extends Refusal {
  readonly code = 'IMAGE_TYPE_UNSUPPORTED';
}

/** The index has no image for the platform asked for, or none at all. */
export class ImageNoPlatform extends Refusal {
  readonly code = 'IMAGE_NO_PLATFORM';
}
