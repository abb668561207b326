import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errno } from './errno.ts';

/**
 * Makes a folder and those above it. mkdir's own `recursive` would do, but that it hides what was wrong, and never ends where
 * a file system answers ENOENT to whoever wants to create something (/proc).
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
    // Another process that makes the same folder is welcome to be first.
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
