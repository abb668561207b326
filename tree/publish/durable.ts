import { constants } from 'node:fs';
import { chmod, lstat, open, utimes } from 'node:fs/promises';
import { errno } from '../../base/errno.ts';

/** The same for every file and folder of a tree, whatever the umask. */
const FILE_MODE = 0o644;
export const FOLDER_MODE = 0o755;

/** Gives an existing file its mode and mtime and sees it onto the disk; with `text`, creates it first. */
export async function settleFile(path: string, time: Date, text?: string): Promise<void> {
  const flags = text === undefined ? constants.O_RDWR : constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  const handle = await open(path, flags | (constants.O_NOFOLLOW ?? 0), FILE_MODE);
  try {
    if (text !== undefined) await handle.writeFile(text);
    await tolerant(handle.chmod(FILE_MODE));
    await tolerant(handle.utimes(time, time));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Gives a folder of our making its mode and mtime. Not synced: that is syncFolder's. */
export async function settleFolder(path: string, time: Date): Promise<void> {
  await tolerant(chmod(path, FOLDER_MODE));
  await setTime(path, time);
}

/** Sets the mtime of a file or folder unless it has it. Somebody else's folder may refuse that; nothing hangs on it. */
export async function setTime(path: string, time: Date): Promise<void> {
  const { mtimeMs } = await lstat(path);
  if (mtimeMs !== time.getTime()) await tolerant(utimes(path, time, time));
}

/** Sees the names in a folder onto the disk, on systems that can. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(error => {
    if (errno(error) === 'EISDIR' || errno(error) === 'EPERM') return undefined;
    throw error;
  });
  if (handle === undefined) return;
  try {
    await tolerant(handle.sync());
  } finally {
    await handle.close();
  }
}

/** Not every file system knows modes, times and fsync for everything; what it does not know it cannot get wrong. */
async function tolerant(operation: Promise<void>): Promise<void> {
  try {
    await operation;
  } catch (error) {
    if (!['EPERM', 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EBADF'].includes(errno(error) ?? '')) throw error;
  }
}
