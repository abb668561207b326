import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { asTreeRefusal, isAbsent, TreeDiskFull } from './errors.ts';

/**
 * Refuses if the file system of `dir` (which need not exist yet) has less than `neededBytes` left for this user. Quotas
 * are not seen by it, so ENOSPC and EDQUOT may be met later all the same. @throws TreeDiskFull
 */
export async function requireSpace(dir: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await nearestStatfs(resolve(dir));
  const availableBytes = bavail * bsize;
  if (neededBytes <= availableBytes) return;
  throw new TreeDiskFull(`${dir} has not enough free space`, {
    subject: dir,
    expected: `${bytes(neededBytes)} free`,
    found: `${bytes(availableBytes)} free, ${bytes(neededBytes - availableBytes)} too little`,
    hint: 'Free some space or choose another folder with --out.',
  });
}

async function nearestStatfs(dir: string): Promise<{ bavail: number; bsize: number }> {
  try {
    return await statfs(dir);
  } catch (error) {
    if (!isAbsent(error) || dirname(dir) === dir) throw asTreeRefusal(error, dir);
    return nearestStatfs(dirname(dir));
  }
}

function bytes(count: number): string {
  const mebibytes = count / 1024 / 1024;
  return mebibytes < 1 ? `${count} bytes` : `${mebibytes.toFixed(1)} MiB`;
}
