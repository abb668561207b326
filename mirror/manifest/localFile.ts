import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
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
  } finally {
    await handle.close();
  }
}

/**
 * Opens a local module. Symbolic links are followed, because the user named the file. Its size is judged before a byte is read: a
 * sparse file of terabytes is quickly made. @throws FileUnreadable, LayerTooLarge
 */
export async function openLocal(path: string, subject: string): Promise<FileHandle> {
  const refuse = (found: string, cause?: unknown) =>
    new FileUnreadable(`${subject}: cannot read ${path}: ${found}`, {
      subject,
      expected: 'a readable regular file',
      found,
      hint: 'Check the path after "file" in the manifest; it is relative to the folder of the manifest.',
      cause,
    });
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
