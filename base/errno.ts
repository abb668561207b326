/** The code of a file system error (`ENOENT`); undefined for other values. */
export function errno(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Whether the operating system refused or failed a call, such as EIO of a failing disk. The message names call and path. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { readonly code: string } {
  return errno(error) !== undefined && 'syscall' in (error as Error) && 'errno' in (error as Error);
}

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
  EDQUOT: 'no space left in the quota',
  EIO: 'a failure of the disk (EIO)',
};

/** What a file system error means, as something that was found; its code, if it has no words here. */
export function errnoWords(error: unknown): string | undefined {
  const code = errno(error);
  return code === undefined ? undefined : (WORDS[code] ?? code);
}
