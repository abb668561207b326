import { constants } from 'node:fs';
import { chmod, lstat, open, utimes } from 'node:fs/promises';
import { errno } from '../../base/errno.ts';

/** The modes of all files and folders of a tree, independent of the umask. */
const FILE_MODE = 0o644;
export const FOLDER_MODE = 0o755;

/** Sets the mode and mtime of a file and syncs it to the disk. With `text` it creates the file first. */
export async function finishFile(path: string, time: Date, text?: string): Promise<void> {
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

/** Sets the mode and mtime of a folder that sync made. Does not sync it: see syncFolder. */
export async function finishFolder(path: string, time: Date): Promise<void> {
  await tolerant(chmod(path, FOLDER_MODE));
  await setTime(path, time);
}

/** Sets the mtime of a file or folder if it differs. A folder of another user may refuse that, which is tolerated. */
export async function setTime(path: string, time: Date): Promise<void> {
  const { mtimeMs } = await lstat(path);
  if (mtimeMs !== time.getTime()) await tolerant(utimes(path, time, time));
}

/** Syncs the entries of a folder to the disk, on systems that support it. */
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

/** Ignores the errors of file systems that do not support an operation on modes, times or fsync. */
async function tolerant(operation: Promise<void>): Promise<void> {
  try {
    await operation;
  } catch (error) {
    if (!['EPERM', 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EBADF'].includes(errno(error) ?? '')) throw error;
  }
}
