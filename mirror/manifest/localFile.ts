import { open } from 'node:fs/promises';
import { hashFile } from '../../tree/regularFile.ts';

/** Returns the digest of a local module, in the form of an image's digest. */
export async function hashLocal(path: string, signal: AbortSignal): Promise<string> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    return `sha256:${(await hashFile(handle, size, signal)).sha256}`;
  } finally {
    await handle.close();
  }
}
