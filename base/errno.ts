/** The errno of a file system error, or undefined of anything else. */
export function errno(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

export function isAbsent(error: unknown): boolean {
  const code = errno(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** True if the file system says that this user may not. */
export function isForbidden(error: unknown): boolean {
  const code = errno(error);
  return code === 'EACCES' || code === 'EPERM';
}
