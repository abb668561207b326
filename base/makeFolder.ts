import type { Stats } from 'node:fs';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import process from 'node:process';
import { errno } from './errno.ts';

/** Rights of a folder that only its owner may enter. */
const PRIVATE = 0o700;

/**
 * Makes a folder and its parents. Not mkdir with `recursive`, which hides the error of a parent, and never returns on a file
 * system that refuses creation with ENOENT (/proc). @throws the error of stat or mkdir
 */
export async function makeFolder(path: string): Promise<'made' | 'there'> {
  return makeFolderBy(mkdir, path);
}

async function makeFolderBy(make: (path: string) => Promise<unknown>, path: string): Promise<'made' | 'there'> {
  const found = await stat(path).catch(error => {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found?.isDirectory()) return 'there';
  try {
    await make(path);
    return 'made';
  } catch (error) {
    // Another process may have made the same folder meanwhile.
    if (errno(error) === 'EEXIST' && (await isFolder(path))) return 'there';
    if (errno(error) !== 'ENOENT' || dirname(path) === path) throw error;
  }
  await makeFolderBy(make, dirname(path));
  return make(path).then(() => 'made');
}

/** Makes a folder that only this user may enter, and its parents so, too, whatever the umask. Errors as makeFolder. */
export async function makePrivateFolder(path: string): Promise<void> {
  await makeFolderBy(async each => {
    await mkdir(each, PRIVATE);
    await chmod(each, PRIVATE);
  }, path);
}

/**
 * Returns why the bytes at a path may come from another user of this machine, or undefined: it belongs neither to this user
 * nor to root, or other users may write to it. Where users have no numbers (Windows) every path is trusted.
 */
export function distrustOf(path: string, { uid, mode }: Pick<Stats, 'uid' | 'mode'>): string | undefined {
  const own = process.getuid?.();
  if (own === undefined) return undefined;
  if (uid !== own && uid !== 0) return `${path} belongs to user ${uid}, and this is user ${own}`;
  if ((mode & 0o022) === 0) return undefined;
  return `other users may write to ${path} (mode ${(mode & 0o7777).toString(8)})`;
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isDirectory(),
    () => false,
  );
}
