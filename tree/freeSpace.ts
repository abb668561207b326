import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { asTreeRefusal, isAbsent, TreeDiskFull } from './errors.ts';

/**
 * Refuses if the file system of `dir` (which need not exist yet) has less than `neededBytes` left for this user. Quotas
 * are not seen by it, so ENOSPC and EDQUOT may be met later all the same. @throws TreeDiskFull
 */
export async function requireSpace(dir: string, neededBytes: number): Promise<void> {
  if (neededBytes > (await availableBytes(dir))) throw await diskFull(dir, neededBytes);
}

/** The refusal to be thrown where writing `neededBytes` below `dir` met ENOSPC or EDQUOT (the `cause`). */
export async function diskFull(dir: string, neededBytes: number, cause?: unknown): Promise<TreeDiskFull> {
  const available = await availableBytes(dir).catch(() => 0);
  const missing = neededBytes - available;
  return new TreeDiskFull(
    `There is not enough space for ${dir}: ${bytes(neededBytes)} needed, ${bytes(available)} free`,
    {
      subject: dir,
      expected: `${bytes(neededBytes)} free`,
      found: `${bytes(available)} free${missing > 0 ? `, ${bytes(missing)} too little` : ' (a quota may allow less)'}`,
      hint: 'Free some space, raise the quota or choose another folder with --out. What was published before is as it was.',
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

async function availableBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await nearestStatfs(resolve(dir));
  return bavail * bsize;
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
