import { lstat, readdir, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isAbsent } from '../base/errno.ts';
import { asTreeRefusal, TreeDiskFull } from './errors.ts';

/**
 * Refuses if the file system of `dir` (which need not exist yet) has less than `neededBytes` left for this user. Quotas
 * are not seen by it, so ENOSPC and EDQUOT may be met later all the same. @throws TreeDiskFull
 */
export async function requireSpace(dir: string, neededBytes: number): Promise<void> {
  if (neededBytes > (await availableBytes(dir))) throw await diskFull(dir, neededBytes);
}

/**
 * The refusal to be thrown where writing `neededBytes` below `dir` met ENOSPC or EDQUOT (the `cause`). Where the size of
 * what is unpacked is not known beforehand, `neededBytes` is the least that it can be.
 */
export async function diskFull(
  dir: string,
  neededBytes: number,
  { cause, isLeast = false }: { readonly cause?: unknown; readonly isLeast?: boolean } = {},
): Promise<TreeDiskFull> {
  const noFiles = await filesExhausted(dir, cause);
  if (noFiles !== undefined) return noFiles;
  const available = await availableBytes(dir).catch(() => 0);
  const missing = neededBytes - available;
  // Rounded alike, what is needed and what is free may look the same.
  const bytes = rounded(neededBytes) === rounded(available) ? exact : rounded;
  const needed = `${isLeast ? 'at least ' : ''}${bytes(neededBytes)}`;
  const lack = isLeast ? `, at least ${bytes(missing)} too little` : `, ${bytes(missing)} too little`;
  const unseen = isLeast ? ' (how much more is needed shows only in unpacking)' : ' (a quota may allow less)';
  return new TreeDiskFull(`There is not enough space for ${dir}: ${needed} needed, ${bytes(available)} free`, {
    subject: dir,
    expected: `${needed} free`,
    found: `${bytes(available)} free${missing > 0 ? lack : unseen}`,
    hint: 'Free some space, raise the quota or choose another folder with --out. What was published before is as it was.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The refusal where a file system has no room for one more file, whatever bytes are free; undefined if it has. */
export async function filesExhausted(dir: string, cause?: unknown): Promise<TreeDiskFull | undefined> {
  const stat = await nearestStatfs(resolve(dir)).catch(() => undefined);
  // Where files are not counted (btrfs), both are 0.
  if (stat === undefined || stat.files === 0 || stat.ffree > 0) return undefined;
  return new TreeDiskFull(`The file system of ${dir} has no room for another file: its inodes are used up`, {
    subject: dir,
    expected: 'free inodes, one for each file',
    found: `none of ${stat.files} inodes free, though ${rounded(stat.bavail * stat.bsize)} are`,
    hint: 'Delete files there (df -i shows how many), use a file system with more inodes, or choose another folder with --out. What was published before is as it was.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** How many bytes this user may still write below `dir`, which need not exist yet. */
export async function availableBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await nearestStatfs(resolve(dir));
  return bavail * bsize;
}

async function nearestStatfs(dir: string): Promise<{ bavail: number; bsize: number; files: number; ffree: number }> {
  try {
    return await statfs(dir);
  } catch (error) {
    if (!isAbsent(error) || dirname(dir) === dir) throw asTreeRefusal(error, dir);
    return nearestStatfs(dirname(dir));
  }
}

function exact(count: number): string {
  return `${count} bytes`;
}

function rounded(count: number): string {
  const mebibytes = count / 1024 / 1024;
  return mebibytes < 1 ? exact(count) : `${mebibytes.toFixed(1)} MiB`;
}

/** Bytes of everything in a folder and below; 0 of what cannot be looked at. */
export async function bytesIn(dir: string): Promise<number> {
  const entries = await readdir(dir, { withFileTypes: true, recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.map(entry =>
      lstat(join(entry.parentPath, entry.name)).then(
        stat => (stat.isFile() ? stat.size : 0),
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
