/** The cache's disk failed, not the registry: a caller that can do without the disk continues. */
export class DiskFault extends Error {
  override readonly name = 'DiskFault';
  readonly errno: string;

  constructor(cause: unknown) {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    super(error.message, { cause });
    this.errno = 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';
  }
}

/** Runs file operations. @throws DiskFault in place of any error */
export async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DiskFault ? error : new DiskFault(error);
  }
}

/** Runs operations on a file that may be missing; returns undefined if it is. @throws DiskFault in place of any other error */
export async function ifExists<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error instanceof DiskFault ? error : new DiskFault(error);
  }
}
