import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NOT_A_FILE, readBoundedFile } from '../../base/boundedFile.ts';
import { errnoWords } from '../../base/errno.ts';

/** Why a file could not be read as text. */
export type TextFileFault =
  | { readonly kind: 'missing'; readonly cause: unknown }
  | { readonly kind: 'unreadable'; readonly found: string; readonly cause: unknown }
  | { readonly kind: 'too large' }
  | { readonly kind: 'not text'; readonly found: string };

/** Reads a UTF-8 file of at most `maxBytes`, and never more than that into memory. */
export async function readTextFile(path: string, maxBytes: number): Promise<{ readonly text: string } | TextFileFault> {
  let bytes: Buffer;
  try {
    const read = await readBoundedFile(path, maxBytes);
    if (read === undefined) return { kind: 'too large' };
    bytes = read;
  } catch (error) {
    return fault(error);
  }
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    return { kind: 'not text', found: 'UTF-16' };
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { kind: 'not text', found: 'bytes that are not UTF-8' };
  }
}

/**
 * Replaces a file atomically: a reader sees the old or the new text, also after a crash.
 * @param beforeRename called directly before the file is replaced; if it throws, the file stays as it is
 */
export async function replaceTextFile(path: string, text: string, beforeRename?: () => Promise<void>): Promise<void> {
  const staged = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    const handle = await open(staged, 'wx');
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await beforeRename?.();
    await rename(staged, path);
  } catch (error) {
    await rm(staged, { force: true });
    throw error;
  }
}

const words: Readonly<Record<string, string>> = {
  EISDIR: 'it is a folder',
  ELOOP: 'its symbolic links form a loop',
  ENAMETOOLONG: 'its name is too long',
  ENOTFILE: NOT_A_FILE,
};

function fault(cause: unknown): TextFileFault {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'ENOENT' || code === 'ENOTDIR') return { kind: 'missing', cause };
  const message = cause instanceof Error ? cause.message : String(cause);
  return { kind: 'unreadable', found: words[code] ?? errnoWords(cause) ?? message, cause };
}
