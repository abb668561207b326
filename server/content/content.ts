import { createHash } from 'node:crypto';
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { Fault } from '../events.ts';
import { type FileIdentity, faultOf, type OpenFile, type Unopened } from './openFile.ts';

/** The unit in which the cache reads and keeps files. */
export const CHUNK_BYTES = 512 * 1024;
/** The unit of checksums, and of reads for slow clients. Divides CHUNK_BYTES. */
export const GRANULE_BYTES = 64 * 1024;

const SHA512_LETTERS = 128;

let created = 0;

/** A chunk of a content in memory, shared by all clients that are receiving it. */
export interface Chunk {
  readonly content: Content;
  readonly index: number;
  readonly slot: Buffer;
  /** The part of `slot` that the chunk fills. */
  readonly bytes: Buffer;
  /** Clients that are receiving it. Only a chunk without holders may be evicted. */
  holders: number;
  /** Whether the chunk is in the cache's protected segment. */
  isProtected: boolean;
}

/**
 * Bytes identified by their sha256. An alias, or the same file in two versions, is one content with several paths. A reload
 * keeps the object as long as the catalog lists its sha256.
 */
export class Content {
  /** Bare hex; of a blob that has a sha512 digest, that. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Where its bytes begin in the file, if the file has others as well. */
  readonly start: number | undefined;
  /** A range of keys of its own: `number + index` identifies a chunk among the chunks of all contents. */
  readonly number: number;
  /** Below the tree's root. */
  paths: readonly string[];
  /** unproven: not hashed yet. proven: `file` had these bytes. damaged: the file at each path has other bytes, or none. */
  state: 'unproven' | 'proven' | 'damaged' = 'unproven';
  /** Whether another file has taken the path while `file`, still open, has the right bytes. */
  displaced = false;
  file: OpenFile | undefined;
  /** Of the file that was proven last, whether it is still open or not. */
  identity: FileIdentity | undefined;
  /** The path at which `file` was opened. */
  source: string | undefined;
  /** The ctime of `file`, in milliseconds. */
  arrivedAtMs = 0;
  /** The time of the last hash, 0 if there was none. */
  provenAtMs = 0;
  proving: Promise<boolean> | undefined;
  /** CRC-32 of every granule, computed together with the sha256. Every later read from disk is compared with it. */
  checksums: Uint32Array | undefined;
  /** The paths at which the last proof or check found a fault, and the file there, if there is one. */
  readonly faults = new Map<string, Unopened>();
  /** Cached chunks by index. */
  readonly chunks: (Chunk | undefined)[] = [];
  /** Recent requests for each chunk; the cache halves them from time to time. */
  readonly uses: Uint8Array;
  /** How many halvings `uses` has had. */
  age = 0;

  constructor(sha256: string, sizeBytes: number, start?: number) {
    this.sha256 = sha256;
    this.sizeBytes = sizeBytes;
    this.start = start;
    this.number = created++ * 2 ** 24;
    this.paths = [];
    this.uses = new Uint8Array(Math.ceil(sizeBytes / CHUNK_BYTES));
  }

  /** Returns whether `bytes`, read from `position` (a multiple of GRANULE_BYTES), are the bytes that were hashed there. */
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

/** Reads the whole file. Returns the checksums of its granules if it has the content's sha256, otherwise the fault. */
export async function hashContent(content: Content, file: OpenFile): Promise<Uint32Array | Fault> {
  const hash = createHash(content.sha256.length === SHA512_LETTERS ? 'sha512' : 'sha256');
  const checksums = new Uint32Array(Math.ceil(content.sizeBytes / GRANULE_BYTES));
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, content.sizeBytes));
  for (let position = 0; position < content.sizeBytes; position += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, content.sizeBytes - position);
    const error = await new Promise<Error | undefined>(resolve => file.read(buffer, length, position, resolve));
    // An error without an errno means that the file has become shorter.
    if (error !== undefined) return 'code' in error ? faultOf(error) : 'altered';
    hash.update(buffer.subarray(0, length));
    for (let from = 0; from < length; from += GRANULE_BYTES)
      checksums[(position + from) / GRANULE_BYTES] = crc32(
        buffer.subarray(from, Math.min(from + GRANULE_BYTES, length)),
      );
    await eventLoopTurn();
  }
  return hash.digest('hex') === content.sha256 ? checksums : 'altered';
}
