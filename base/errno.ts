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
