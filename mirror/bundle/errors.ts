import { Refusal } from '../../base/refusal.ts';

/** The layout has no manifest, and none was given. */
export class BundleManifestMissing extends Refusal {
  readonly code = 'BUNDLE_MANIFEST_MISSING';
}

/** A tag of the target registry leads to another image. */
export class PushTagTaken extends Refusal {
  readonly code = 'PUSH_TAG_TAKEN';
}

/** The base of --since is neither a lockfile nor a bundle. */
export class BundleBaseInvalid extends Refusal {
  readonly code = 'BUNDLE_BASE_INVALID';
}
