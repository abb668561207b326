import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errno } from './errno.ts';

/**
 * Makes a folder and its parents. Not mkdir with `recursive`, which hides the error of a parent, and never returns on a file
 * system that refuses creation with ENOENT (/proc). @throws the error of stat or mkdir
 */
export async function makeFolder(path: string): Promise<'made' | 'there'> {
  const found = await stat(path).catch(error => {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found?.isDirectory()) return 'there';
  try {
    await mkdir(path);
    return 'made';
  } catch (error) {
    // Another process may have made the same folder meanwhile.
    if (errno(error) === 'EEXIST' && (await isFolder(path))) return 'there';
    if (errno(error) !== 'ENOENT' || dirname(path) === path) throw error;
  }
  await makeFolder(dirname(path));
  return mkdir(path).then(() => 'made');
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isDirectory(),
    () => false,
  );
}
