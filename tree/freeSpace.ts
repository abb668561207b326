import { lstat, readdir, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isAbsent } from '../base/errno.ts';
import { asTreeRefusal, TreeDiskFull } from './errors.ts';

/**
 * Throws if the file system of `dir` (which need not exist yet) has less than `neededBytes` left for this user. It does not
 * see quotas, so a later write may still fail with ENOSPC or EDQUOT. @throws TreeDiskFull
 */
export async function requireSpace(dir: string, neededBytes: number): Promise<void> {
  if (neededBytes > (await availableBytes(dir))) throw await diskFullError(dir, neededBytes);
}

/**
 * Returns the refusal for a write of `neededBytes` below `dir` that failed with ENOSPC or EDQUOT (the `cause`). `isLeast`:
 * the unpacked size was not known beforehand, and `neededBytes` is a lower bound.
 */
export async function diskFullError(
  dir: string,
  neededBytes: number,
  { cause, isLeast = false }: { readonly cause?: unknown; readonly isLeast?: boolean } = {},
): Promise<TreeDiskFull> {
  const noFiles = await inodesUsedUpError(dir, cause);
  if (noFiles !== undefined) return noFiles;
  const available = await availableBytes(dir).catch(() => 0);
  const missing = neededBytes - available;
  // Rounded, the two figures may look the same; then both are given to the byte.
  const bytes = rounded(neededBytes) === rounded(available) ? exact : rounded;
  const needed = `${isLeast ? 'at least ' : ''}${bytes(neededBytes)}`;
  const lack = isLeast ? `, at least ${bytes(missing)} too little` : `, ${bytes(missing)} too little`;
  const unseen = isLeast ? ' (the exact need is known only after unpacking)' : ' (a quota may allow less)';
  return new TreeDiskFull(`There is not enough space for ${dir}: ${needed} needed, ${bytes(available)} free`, {
    subject: dir,
    expected: `${needed} free`,
    found: `${bytes(available)} free${missing > 0 ? lack : unseen}`,
    hint: 'Free some space, raise the quota or choose another folder with --tree. Plugins that were published before are unchanged.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Returns the refusal for a file system whose inodes are used up; undefined if it has free ones. */
export async function inodesUsedUpError(dir: string, cause?: unknown): Promise<TreeDiskFull | undefined> {
  const stat = await nearestStatfs(resolve(dir)).catch(() => undefined);
  // File systems that do not count inodes (btrfs) report 0 for both.
  if (stat === undefined || stat.files === 0 || stat.ffree > 0) return undefined;
  return new TreeDiskFull(`The file system of ${dir} has no room for another file: its inodes are used up`, {
    subject: dir,
    expected: 'free inodes, one for each file',
    found: `0 of ${stat.files} inodes free, and ${rounded(stat.bavail * stat.bsize)} free`,
    hint: 'Delete files there (df -i shows how many), use a file system with more inodes, or choose another folder with --tree. Plugins that were published before are unchanged.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Bytes that this user may still write below `dir`, which need not exist yet. @throws TreeFault */
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

/** The size in bytes of all files in a folder and below it; what cannot be read counts as 0. */
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
