import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { errno, isAbsent } from '../base/errno.ts';

/** Windows has neither flag; there, 0 leaves them out. */
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Names the kind of a directory entry, for messages. */
export function kindOf(stat: Pick<Stats, 'isDirectory' | 'isSymbolicLink' | 'isFile'>): string {
  if (stat.isSymbolicLink()) return 'a symbolic link';
  if (stat.isDirectory()) return 'a folder';
  return stat.isFile() ? 'a file' : 'a special file';
}

/**
 * Opens a regular file for reading. Does not follow a link and does not block on a pipe. Returns the open file, undefined if
 * the path does not exist, or the kind of what is there instead (see kindOf).
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

/** Whether a text that readRegular returned is about a file that is too large, not about a link or a folder. */
export function isFileText(text: string): boolean {
  return text.startsWith('a file of ');
}

/**
 * Returns the bytes of a regular file of at most `maxBytes`, undefined if the path does not exist, or the kind of what is
 * there instead. Reads no more bytes than the file had when it was opened. Makes as few system calls as possible, because a
 * run reads thousands of small files.
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

/** Large reads keep the hash busy and the event loop free; 1 MiB was the fastest size measured. */
const CHUNK_BYTES = 1024 * 1024;

export interface FileHash {
  readonly sha256: string;
  readonly sizeBytes: number;
  /** The first eight bytes, where a Wasm module has its magic and version. */
  readonly head: Buffer;
}

/** Hashes an open file from its beginning. The buffer has 1 MiB, or less if `sizeHint` (in bytes) is less. */
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

/** Wasm core specification, section 5.5.16: magic and version of a module. A component has another version. */
export function isModuleHead(head: Buffer): boolean {
  return head.equals(WASM_HEAD);
}
