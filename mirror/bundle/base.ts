import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { errno } from '../../base/errno.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { readLockfile } from '../lockfile/lockfile.ts';
import { BundleBaseInvalid } from './errors.ts';

/** What the receiver of a delta has: digests as lockfiles have them, and all digests of a bundle's index.json. */
export interface Base {
  readonly has: (digest: string) => boolean;
}

/**
 * Reads the base of a delta: a lockfile, or a bundle in any of its forms.
 * @throws BundleBaseInvalid, and the refusals of lockfiles and layouts
 */
export async function readBase(path: string): Promise<Base> {
  const digests = (await isJson(path)) ? await digestsOfLockfile(path) : await digestsOfBundle(path);
  if (digests.length > 0) {
    const known = new Set(digests);
    return { has: digest => known.has(digest) };
  }
  throw new BundleBaseInvalid(`${path} has no images, so it cannot be the base of a delta`, {
    subject: path,
    expected: 'the manifest.lock.json or the bundle that the receiver has loaded',
    found: 'no images',
    hint: 'Name the last bundle, or its lockfile; or leave --since out to make a whole bundle.',
  });
}

async function digestsOfLockfile(path: string): Promise<string[]> {
  const { entries = [] } = (await readLockfile(path)) ?? {};
  return entries.flatMap(entry => (entry.kind === 'image' ? [entry.digest] : []));
}

async function digestsOfBundle(path: string): Promise<string[]> {
  const layout = await openLayout(path);
  await layout.close();
  return layout.index.entries.map(({ digest }) => digest);
}

/** True if the file begins with a brace. A file that does not exist is reported by openLayout. */
export async function isJson(path: string): Promise<boolean> {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer forever.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    if (['ENOENT', 'EISDIR', 'EACCES'].includes(errno(error) ?? '')) return undefined;
    throw error;
  });
  if (file === undefined) return false;
  try {
    if (!(await file.stat()).isFile()) return false;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
    return /^(?:\ufeff)?\s*\{/.test(buffer.subarray(0, bytesRead).toString('utf8'));
  } finally {
    await file.close();
  }
}
