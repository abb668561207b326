import { open } from 'node:fs/promises';
import { hashFile } from '../../tree/regularFile.ts';

/** A local module's digest, in the form that an image's has. */
export async function hashLocal(path: string, signal: AbortSignal): Promise<string> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    return `sha256:${(await hashFile(handle, size, signal)).sha256}`;
  } finally {
    await handle.close();
  }
}
