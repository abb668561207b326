import type { Digest } from '../base/digest.ts';
import { Refusal, type RefusalDetails } from '../base/refusal.ts';

/** The path is no OCI image layout, or one that contradicts itself. */
export class LayoutInvalid extends Refusal {
  readonly code = 'LAYOUT_INVALID';
}

/** A file of the layout cannot be read, or does not exist. */
export class LayoutUnreadable extends Refusal {
  readonly code = 'LAYOUT_UNREADABLE';
}

/** A file with other bytes than its checksum file says. */
export interface DamagedFile {
  readonly path: string;
  /** Bare hex, as the checksum file has it. Several if the file was renamed. */
  readonly expected: string;
  /** In words, for messages. */
  readonly found: string;
  /** Name of the part that has these bytes according to the checksum file. */
  readonly bytesOf?: string;
}

/** Parts of a split bundle, or a tar, are missing, have other bytes than their checksum, or belong to another bundle. */
export class LayoutPartWrong extends Refusal {
  readonly code = 'LAYOUT_PART_WRONG';
  /** Each file that was compared with the checksum file and differs. */
  readonly damaged: readonly DamagedFile[];

  constructor(headline: string, details: RefusalDetails, damaged: readonly DamagedFile[] = []) {
    super(headline, details);
    this.damaged = damaged;
  }
}

/** The index names a blob that the layout does not contain. */
export class LayoutBlobMissing extends Refusal {
  readonly code = 'LAYOUT_BLOB_MISSING';
}

/** A blob's bytes do not match the digest that is its name. */
export class LayoutBlobDamaged extends Refusal {
  readonly code = 'LAYOUT_BLOB_DAMAGED';
}

/** The layout cannot be written: the disk is full, the path exists, or its folder is missing. */
export class LayoutNotWritable extends Refusal {
  readonly code = 'LAYOUT_NOT_WRITABLE';
}

/** Returns the error for a layout whose structure breaks a rule. */
export function layoutInvalid(path: string, found: string, expected: string): LayoutInvalid {
  return new LayoutInvalid(`${path} is not a valid bundle`, {
    subject: path,
    expected,
    found,
    hint: 'Copy the bundle again, or make it again with plugin-mirror bundle.',
  });
}

/** Returns the error for a blob that a delta or a broken layout does not contain. */
export function blobMissing(path: string, digest: Digest): LayoutBlobMissing {
  return new LayoutBlobMissing(`${path} does not contain the blob ${digest}`, {
    subject: digest,
    expected: 'all blobs that the index names, directly or through its manifests',
    found: 'no such blob',
    hint: 'Copy the bundle again, or make it again. If it is a delta (--since), load its base first.',
  });
}

/** Returns the error for a blob whose bytes differ from its name. */
export function blobDamaged(path: string, digest: Digest, files: readonly string[]): LayoutBlobDamaged {
  return new LayoutBlobDamaged(`A blob in ${path} is damaged`, {
    subject: digest,
    expected: digest,
    found: `other bytes in ${files.join(' and ')}`,
    hint: `Copy ${files.join(' and ')} again, or the whole bundle.`,
  });
}
