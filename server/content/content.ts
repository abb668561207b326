import { crc32 } from 'node:zlib';
import type { Fault } from '../fault.ts';
import type { FileIdentity, OpenFile } from './openFile.ts';

/** The unit of checksums, and of reads for readers who take little at a time. */
export const GRANULE_BYTES = 64 * 1024;

let created = 0;

/** A piece of a content in memory, shared by every reader that is at it. */
export interface Chunk {
  readonly content: Content;
  readonly index: number;
  readonly slot: Buffer;
  /** The piece within its slot. */
  readonly bytes: Buffer;
  /** Readers that hold it; only a chunk without any may go. */
  holders: number;
  settled: boolean;
}

/**
 * Bytes known by their sha256, wherever they lie in the tree: an alias, or the same file in two versions, is one content
 * with several paths. It stays the same object over a reload as long as the catalog names its sha256.
 */
export class Content {
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Apart from every other content's by more than its chunks: number + index is a chunk's own. */
  readonly number: number;
  /** Where it lies, below the tree's root. */
  paths: readonly string[];
  /** unproven: nobody has hashed it yet. proven: `file` held these bytes. damaged: no path holds them. */
  state: 'unproven' | 'proven' | 'damaged' = 'unproven';
  /** True if another file lies at its path, while `file` still holds the right bytes. */
  displaced = false;
  file: OpenFile | undefined;
  /** Of the file that was proven last, open or not. */
  identity: FileIdentity | undefined;
  /** The path that `file` was opened at. */
  source: string | undefined;
  /** When these bytes came to that path (ctime). */
  arrivedAtMs = 0;
  /** When it was hashed last, 0 if never. */
  provenAtMs = 0;
  proving: Promise<boolean> | undefined;
  /** CRC-32 of every granule, taken while the sha256 was proven: each later read from the disk is held against it. */
  checksums: Uint32Array | undefined;
  /** The other files with these bytes, as they were when they were looked at last; `fault`: why the bytes are not to be had there. */
  readonly copies = new Map<
    string,
    { readonly identity: FileIdentity | undefined; readonly fault: Fault | undefined }
  >();
  /** Its cached chunks, and how often each was asked for lately. */
  readonly chunks: (Chunk | undefined)[] = [];
  readonly uses: Uint8Array;
  /** How often the cache had halved all counts when it last halved these. */
  age = 0;

  constructor(sha256: string, sizeBytes: number, chunkBytes: number) {
    this.sha256 = sha256;
    this.sizeBytes = sizeBytes;
    this.number = created++ * 2 ** 24;
    this.paths = [];
    this.uses = new Uint8Array(Math.ceil(sizeBytes / chunkBytes));
  }

  /** True if `bytes`, read from `position` (a multiple of GRANULE_BYTES), are what the proof saw there. */
  matches(bytes: Buffer, position: number): boolean {
    const { checksums } = this;
    if (checksums === undefined) return false;
    let granule = position / GRANULE_BYTES;
    for (let from = 0; from < bytes.length; from += GRANULE_BYTES, granule++)
      if (crc32(bytes.subarray(from, Math.min(from + GRANULE_BYTES, bytes.length))) !== checksums[granule])
        return false;
    return true;
  }
}
