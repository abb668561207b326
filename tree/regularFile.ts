import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { errno, isAbsent } from '../base/errno.ts';

/** Windows has neither flag; there, 0 leaves them out. */
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** In words what a directory entry is that should be something else. */
export function kindOf(stat: Pick<Stats, 'isDirectory' | 'isSymbolicLink' | 'isFile'>): string {
  if (stat.isSymbolicLink()) return 'a symbolic link';
  if (stat.isDirectory()) return 'a folder';
  return stat.isFile() ? 'a file' : 'a special file';
}

/**
 * Opens a regular file for reading and nothing else: a link is not followed, a pipe does not hold it up. Answers the open
 * file, undefined if there is none, or in words what is there instead.
 */
export async function openRegular(path: string): Promise<FileHandle | string | undefined> {
  const opened = await openSized(path);
  return typeof opened === 'object' ? opened.handle : opened;
}

async function openSized(path: string): Promise<{ handle: FileHandle; sizeBytes: number } | string | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, FLAGS);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    if (errno(error) === 'ELOOP' || errno(error) === 'ENXIO') return kindOf(await lstat(path));
    throw error;
  }
  const stat = await handle.stat().catch(async (error: unknown) => {
    await handle.close();
    throw error;
  });
  if (stat.isFile()) return { handle, sizeBytes: stat.size };
  await handle.close();
  return kindOf(stat);
}

/** Of what readRegular says is there instead: true if it is a file all the same, but a larger one. */
export function isFileText(text: string): boolean {
  return text.startsWith('a file of ');
}

/**
 * The bytes of a regular file of at most `maxBytes`, undefined if there is none, or in words what is there instead. Not more
 * of it than it had when it was opened. Each call to the file system counts here: a run reads thousands of small files.
 */
export async function readRegular(
  path: string,
  maxBytes: number,
): Promise<{ readonly bytes: Buffer } | string | undefined> {
  const opened = await openSized(path);
  if (typeof opened !== 'object') return opened;
  const { handle, sizeBytes } = opened;
  try {
    if (sizeBytes > maxBytes) return `a file of ${sizeBytes} bytes`;
    const bytes = Buffer.allocUnsafe(sizeBytes);
    let readBytes = 0;
    while (readBytes < sizeBytes) {
      const { bytesRead } = await handle.read(bytes, readBytes, sizeBytes - readBytes, readBytes);
      if (bytesRead === 0) break;
      readBytes += bytesRead;
    }
    return { bytes: bytes.subarray(0, readBytes) };
  } finally {
    await handle.close();
  }
}

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
