/** The disk behind the cache failed, not the registry: whoever can do without the disk goes on without it. */
export class DiskFault extends Error {
  override readonly name = 'DiskFault';
  readonly errno: string;

  constructor(cause: unknown) {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    super(error.message, { cause });
    this.errno = 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';
  }
}

/** Runs a piece of file work; what it throws becomes a DiskFault. */
export async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DiskFault ? error : new DiskFault(error);
  }
}

/** The same for work whose file may be missing: undefined then. */
export async function ifThere<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error instanceof DiskFault ? error : new DiskFault(error);
  }
}
