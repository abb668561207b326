import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoWords, isSystemError } from '../../base/errno.ts';
import { Refusal } from '../../base/refusal.ts';
import { hashFile } from '../../tree/regularFile.ts';
import { MODULE_LIMIT_BYTES, moduleTooLarge } from '../extract/module/moduleFile.ts';

export class FileUnreadable extends Refusal {
  readonly code = 'FILE_UNREADABLE';
}

/** Returns the digest of a local module, in the form of an image's digest. @throws FileUnreadable, LayerTooLarge */
export async function hashLocal(path: string, subject: string, signal: AbortSignal): Promise<string> {
  const handle = await openLocal(path, subject);
  try {
    const { size } = await handle.stat();
    return `sha256:${(await hashFile(handle, size, signal)).sha256}`;
  } catch (error) {
    throw asLocalRefusal(error, path, subject);
  } finally {
    await handle.close();
  }
}

/**
 * Opens a local module. Symbolic links are followed, because the user named the file. Its size is judged before a byte is read: a
 * sparse file of terabytes is quickly made. @throws FileUnreadable, LayerTooLarge
 */
export async function openLocal(path: string, subject: string): Promise<FileHandle> {
  const refuse = (found: string, cause?: unknown) => unreadable(path, subject, found, cause);
  let file: FileHandle;
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer forever.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw refuse(code === 'ENOENT' ? 'no such file' : String(code ?? error), error);
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw refuse('it is not a regular file');
    if (stat.size > MODULE_LIMIT_BYTES) throw moduleTooLarge(subject, `${stat.size} bytes`);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Returns FileUnreadable if the operating system failed to read a local module, such as EIO of a disk, and other errors as they are. */
export function asLocalRefusal(error: unknown, path: string, subject: string): unknown {
  if (!isSystemError(error) || error instanceof Refusal) return error;
  return unreadable(path, subject, errnoWords(error) ?? error.message, error);
}

function unreadable(path: string, subject: string, found: string, cause: unknown): FileUnreadable {
  return new FileUnreadable(`${subject}: cannot read ${path}: ${found}`, {
    subject,
    expected: 'a readable regular file',
    found,
    hint: 'Check the path after "file" in the manifest; it is relative to the folder of the manifest.',
    cause,
  });
}
