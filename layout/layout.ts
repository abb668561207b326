import type { Readable } from 'node:stream';
import type { LayoutIndex } from './layoutIndex.ts';

/** `ALGORITHM:HEX` (image-spec, descriptor.md, Digests). */
export type LayoutDigest = `${'sha256' | 'sha512'}:${string}`;

/** An open OCI image layout. All methods may be called concurrently, until `close`. */
export interface Layout {
  /** The path as the user gave it, for messages. */
  readonly path: string;
  /** `index.json`, checked. */
  readonly index: LayoutIndex;

  /** Size in bytes of a blob, or undefined if the layout does not contain it (a delta is still a valid layout). */
  sizeOf(digest: LayoutDigest): Promise<number | undefined>;

  /**
   * The bytes of a blob from `start` (default 0) up to and without `end` (default: its size), unverified.
   * @throws LayoutBlobMissing
   */
  open(digest: LayoutDigest, start?: number, end?: number): Promise<Readable>;

  /**
   * A whole blob, verified against its digest, for manifests and other small documents.
   * @throws LayoutBlobMissing, LayoutBlobDamaged, LayoutInvalid if it is larger than `limitBytes`
   */
  read(digest: LayoutDigest, limitBytes: number): Promise<Buffer>;

  /** The digests of all blobs, sorted. */
  digests(): Promise<readonly LayoutDigest[]>;

  /**
   * Explains why a blob has wrong bytes, by hashing the parts of a split bundle against their checksum file.
   * @returns LayoutPartWrong naming the part, or LayoutBlobDamaged naming the blob
   */
  blame(digest: LayoutDigest): Promise<Error>;

  close(): Promise<void>;
}

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isLayoutDigest(text: unknown): text is LayoutDigest {
  return typeof text === 'string' && DIGEST.test(text);
}

/** `blobs/ALGORITHM/HEX`, the name of a blob's file (image-spec, image-layout.md, Blobs). */
export function blobPath(digest: LayoutDigest): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** The inverse of blobPath; undefined for any other path. */
export function digestOfPath(path: string): LayoutDigest | undefined {
  const [, algorithm, hex] = /^blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(path) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isLayoutDigest(digest) ? digest : undefined;
}
