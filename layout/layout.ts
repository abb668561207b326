import type { Readable } from 'node:stream';
import type { Digest } from '../base/digest.ts';
import type { LayoutIndex } from './layoutIndex.ts';

export interface BlobLocation {
  readonly path: string;
  readonly start: number;
  /** In bytes. */
  readonly size: number;
}

/** An open OCI image layout. All methods may be called concurrently, until `close`. */
export interface Layout {
  /** The path as the user gave it, for messages. */
  readonly path: string;
  /** The tar, or its parts in their order; none for a folder. */
  readonly files: readonly string[];
  /** `index.json`, checked. */
  readonly index: LayoutIndex;

  /** Size in bytes of a blob, or undefined if the layout does not contain it (a delta is still a valid layout). */
  sizeOf(digest: Digest): Promise<number | undefined>;

  /**
   * The bytes of a blob from `start` (default 0) up to and without `end` (default: its size), unverified.
   * @throws LayoutBlobMissing
   */
  open(digest: Digest, start?: number, end?: number): Promise<Readable>;

  /**
   * A whole blob, verified against its digest, for manifests and other small documents.
   * @throws LayoutBlobMissing, LayoutBlobDamaged, LayoutInvalid if it is larger than `limitBytes`
   */
  read(digest: Digest, limitBytes: number): Promise<Buffer>;

  /** The file that holds all bytes of a blob, and where they begin in it. Undefined if it is not there, or in several parts. */
  locate(digest: Digest): Promise<BlobLocation | undefined>;

  /** The digests of all blobs, sorted. */
  digests(): Promise<readonly Digest[]>;

  /**
   * Explains why a blob has wrong bytes, by hashing the parts of a split bundle against their checksum file.
   * @returns LayoutPartWrong naming all damaged parts, or LayoutBlobDamaged naming the blob
   */
  blame(digest: Digest): Promise<Error>;

  /**
   * Hashes the tar, or each of its parts, against the checksum file next to it. Only this proves index.json, which no digest names.
   * @param onRead called with the number of bytes of each chunk
   * @returns `absent` for a folder, or without a checksum file; LayoutPartWrong naming all files that differ
   */
  compareChecksums(signal: AbortSignal, onRead?: (bytes: number) => void): Promise<'equal' | 'absent' | Error>;

  close(): Promise<void>;
}
