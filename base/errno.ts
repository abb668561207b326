import fs from 'node:fs';

/** The code of a file system error (`ENOENT`); undefined for other values. */
export function errno(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Whether the operating system refused or failed a call, such as EIO of a failing disk. The message names call and path. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { readonly code: string } {
  return errno(error) !== undefined && 'syscall' in (error as Error) && 'errno' in (error as Error);
}

/** Gives an error of reading an open file the path, which Node leaves out: its message then names the file. Returns the error. */
export function atPath<E>(error: E, path: string): E {
  if (!isSystemError(error) || error.path !== undefined) return error;
  error.message += ` '${path}'`;
  error.path = path;
  return error;
}

/** Waits for work on one file. @throws its error, as atPath returns it */
export async function onFile<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw atPath(error, path);
  }
}

/** As createReadStream, but errors of reading name the file. */
export function openReadStream(
  path: string,
  options: { readonly start?: number; readonly end?: number; readonly highWaterMark?: number } = {},
): fs.ReadStream {
  const { open, close } = fs;
  const read = (...[file, bytes, offset, length, position, done]: ReadArguments): void =>
    fs.read(file, bytes, offset, length, position, (error, bytesRead, buffer) =>
      done(atPath(error, path), bytesRead, buffer),
    );
  return fs.createReadStream(path, { ...options, fs: { open, close, read } });
}

type ReadArguments = [
  file: number,
  bytes: Buffer,
  offset: number,
  length: number,
  position: fs.ReadPosition | null,
  done: (error: NodeJS.ErrnoException | null, bytesRead: number, bytes: Buffer) => void,
];

/** Whether the path, or a folder above it, does not exist. */
export function isAbsent(error: unknown): boolean {
  const code = errno(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Whether this user lacks the permission. */
export function isForbidden(error: unknown): boolean {
  const code = errno(error);
  return code === 'EACCES' || code === 'EPERM';
}

const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'a read-only file system',
  ENOENT: 'no such file',
  ENOTDIR: 'a file in the place of a folder',
  EISDIR: 'a folder',
  ELOOP: 'symbolic links that form a loop',
  ENAMETOOLONG: 'a name that is too long',
  ENOSPC: 'no space left',
  EFBIG: 'a file larger than the file system or a limit allows',
  EDQUOT: 'no space left in the quota',
  EIO: 'a failure of the disk (EIO)',
};

/** What a file system error means, as something that was found; its code, if it has no words here. */
export function errnoWords(error: unknown): string | undefined {
  const code = errno(error);
  return code === undefined ? undefined : (WORDS[code] ?? code);
}
