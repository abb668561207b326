import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

/** Larger reads keep the hash busy and the event loop's share small; measured best on both old and new processors. */
const CHUNK_BYTES = 1024 * 1024;

export interface FileHash {
  readonly sha256: string;
  readonly sizeBytes: number;
  /** The first eight bytes, where a Wasm module has its magic and version. */
  readonly head: Buffer;
}

/** Hashes an open file from its beginning, in memory of at most CHUNK_BYTES. `sizeHint` in bytes spares small files that. */
export async function hashFile(handle: FileHandle, sizeHint: number, signal?: AbortSignal): Promise<FileHash> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(sizeHint + 1, 64)));
  let sizeBytes = 0;
  let head = Buffer.alloc(0);
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, sizeBytes);
    if (bytesRead === 0) break;
    const chunk = buffer.subarray(0, bytesRead);
    if (head.length < 8) head = Buffer.concat([head, chunk.subarray(0, 8 - head.length)]);
    hash.update(chunk);
    sizeBytes += bytesRead;
  }
  return { sha256: hash.digest('hex'), sizeBytes, head };
}

const WASM_HEAD = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);

/** Core spec, 5.5.16: magic and version of a module. A component has another version and is none. */
export function isModuleHead(head: Buffer): boolean {
  return head.equals(WASM_HEAD);
}
