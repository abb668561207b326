import { open, stat } from 'node:fs/promises';
import { errno } from './errno.ts';

export const NOT_A_FILE = 'it is a pipe or a device, not a file';

/**
 * Reads a whole file of at most `maxBytes`; undefined if it has more. Not readFile: a file may grow while it is read.
 * @throws the system's errors, and an error with the code `ENOTFILE` for a pipe, a socket or a character device, before open(),
 * which could wait forever and keep even process.exit() waiting
 */
export async function readBoundedFile(path: string, maxBytes: number): Promise<Buffer | undefined> {
  const found = await stat(path);
  if (found.isFIFO() || found.isSocket() || found.isCharacterDevice())
    throw Object.assign(new Error(`${path} is not a regular file`), { code: 'ENOTFILE' });
  const handle = await open(path, 'r');
  try {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(65_536), 0, 65_536, null);
      if (bytesRead === 0) return Buffer.concat(chunks, sizeBytes);
      sizeBytes += bytesRead;
      if (sizeBytes > maxBytes) return undefined;
      chunks.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

/** Words for an error of readBoundedFile: the system's code, such as `ENOENT`, where there is one. */
export function whyUnread(error: unknown): string {
  const code = errno(error);
  if (code === 'ENOTFILE') return NOT_A_FILE;
  return code ?? (error instanceof Error ? error.message : String(error));
}
