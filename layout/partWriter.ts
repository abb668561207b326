import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { errno, errnoWords } from '../base/errno.ts';
import { LayoutNotWritable } from './errors.ts';
import { isWrittenPart, partName, SUM_ENDING } from './partFiles.ts';

/** Takes the bytes of a tar. No file has its final name before `finish`. */
export interface ByteSink {
  /** The buffer may be used again when the promise is fulfilled. */
  write(bytes: Buffer): Promise<void>;
  /**
   * Makes the files durable, gives them their names, and removes the other files of an older bundle of the same name.
   * @returns the files written
   */
  finish(): Promise<readonly WrittenFile[]>;
  /** Removes all that was written. */
  abandon(): Promise<void>;
}

export interface WrittenFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Bare hex. */
  readonly sha256: string;
}

interface OpenPart {
  readonly file: TemporaryFile;
  readonly hash: Hash;
  size: number;
  /** Bytes that were written after the last flush began. */
  unflushed: number;
  /** The flush that is under way. An error is reported only once, so it is kept for `finish`. */
  flushing: Promise<void> | undefined;
}

/** The disk starts to work on the bytes of a part while further ones are hashed, in place of all at the end. */
const FLUSH_BYTES = 32 * 1024 * 1024;

/**
 * Writes to one file, or to raw parts of at most `partBytes`, and a checksum file next to them in the form of sha256sum.
 * @param partBytes size of a part; undefined for one file
 * @param alongside files that were written next to it, for the checksum file
 * @throws LayoutNotWritable
 */
export function openFileSink(path: string, partBytes?: number, alongside: readonly WrittenFile[] = []): ByteSink {
  const parts: OpenPart[] = [];
  const whole = createHash('sha256');
  let total = 0;
  const sums = `${path}${SUM_ENDING}`;
  const nextPart = async (): Promise<OpenPart> => {
    const target = partBytes === undefined ? path : join(dirname(path), partName(basename(path), parts.length + 1));
    const file = await TemporaryFile.create(target);
    const part: OpenPart = { file, hash: createHash('sha256'), size: 0, unflushed: 0, flushing: undefined };
    parts.push(part);
    return part;
  };
  const append = async (part: OpenPart, bytes: Buffer): Promise<void> => {
    part.size += bytes.length;
    const writing = guarded(part.file.path, () => part.file.handle.writeFile(bytes));
    part.hash.update(bytes); // while another thread writes
    await writing;
    part.unflushed += bytes.length;
    if (part.unflushed >= FLUSH_BYTES) await flush(part);
  };
  /** Begins to flush what was written; waits only for the flush before. */
  const flush = async (part: OpenPart): Promise<void> => {
    await part.flushing;
    part.unflushed = 0;
    part.flushing = guarded(part.file.path, () => part.file.handle.datasync());
    part.flushing.catch(() => undefined); // the next flush or finish() reports the error
  };
  return {
    async write(bytes) {
      total += bytes.length;
      if (partBytes !== undefined) whole.update(bytes);
      for (let at = 0; at < bytes.length; ) {
        const last = parts.at(-1);
        const part = last === undefined || last.size === partBytes ? await nextPart() : last;
        const room = partBytes === undefined ? bytes.length : partBytes - part.size;
        const piece = bytes.subarray(at, at + room);
        await append(part, piece);
        at += piece.length;
      }
    },
    async finish() {
      const written: WrittenFile[] = [];
      for (const part of parts) {
        await part.flushing;
        await guarded(part.file.path, () => part.file.handle.sync());
        written.push({ path: part.file.path, sizeBytes: part.size, sha256: part.hash.digest('hex') });
      }
      const lines = written.map(({ path: file, sha256 }) => `${sha256}  ${basename(file)}\n`);
      const wholeSha256 = partBytes === undefined ? undefined : whole.digest('hex');
      if (wholeSha256 !== undefined) lines.push(`${wholeSha256}  ${basename(path)}\n`);
      for (const file of alongside) lines.push(`${file.sha256}  ${basename(file.path)}\n`);
      const temporarySums = `${sums}.tmp`;
      for (const part of parts) await part.file.requireOwn();
      await guarded(sums, () => writeFile(temporarySums, lines.join(''), { mode: 0o644, flush: true }));
      for (const part of parts) await part.file.publish();
      await guarded(sums, () => rename(temporarySums, sums));
      await removeOlder(path, new Set(parts.map(part => basename(part.file.path))));
      return wholeSha256 === undefined ? written : [...written, { path, sizeBytes: total, sha256: wholeSha256 }];
    },
    async abandon() {
      for (const part of parts) {
        await part.flushing?.catch(() => undefined);
        await part.file.abandon();
      }
      await rm(`${sums}.tmp`, { force: true });
    },
  };
}

/**
 * A file that gets its name when all of it is on the disk. Its temporary name is always the same, so that a killed run leaves at
 * most one behind. Another run for the same name takes that name over; the first one then ends with an error instead of naming
 * bytes that are not its own.
 */
export class TemporaryFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly #temporary: string;
  #isPublished = false;

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.path = path;
    this.handle = handle;
    this.#temporary = temporary;
  }

  /** @throws LayoutNotWritable */
  static async create(path: string): Promise<TemporaryFile> {
    const temporary = `${path}.tmp`;
    const handle = await guarded(path, async () => {
      await rm(temporary, { force: true });
      return open(temporary, 'wx', 0o644);
    });
    return new TemporaryFile(path, temporary, handle);
  }

  /** Whether a run is writing a file of this name, or was killed while it did. */
  static async isWritten(path: string): Promise<boolean> {
    return stat(`${path}.tmp`).then(
      () => true,
      () => false,
    );
  }

  /** @throws LayoutNotWritable if another run writes a file of the same name */
  async requireOwn(): Promise<void> {
    if (!(await this.#isOwn())) throw takenOver(this.path);
  }

  /** Gives the file its name and closes it. The caller has flushed it. @throws LayoutNotWritable */
  async publish(): Promise<void> {
    await this.requireOwn();
    await guarded(this.path, () => rename(this.#temporary, this.path));
    this.#isPublished = true;
    await guarded(this.path, () => this.handle.close());
  }

  /** Removes the file unless it has its name. */
  async abandon(): Promise<void> {
    if (this.#isPublished) return;
    if (await this.#isOwn().catch(() => false)) await rm(this.#temporary, { force: true });
    await this.handle.close().catch(() => undefined);
  }

  /** While the file is open, no other one has its inode. */
  async #isOwn(): Promise<boolean> {
    const own = await this.handle.stat({ bigint: true });
    const there = await stat(this.#temporary, { bigint: true }).catch(() => undefined);
    return there?.ino === own.ino && there.dev === own.dev;
  }
}

function takenOver(path: string): LayoutNotWritable {
  return new LayoutNotWritable(`Another run writes ${path} at the same time`, {
    subject: path,
    expected: 'one run at a time for each --out',
    found: 'the temporary file of another run',
    hint: 'Wait until the other run has ended, or choose another path with --out.',
  });
}

/**
 * Removes the parts of an older bundle, and its whole file where the new one is split: `cat` would join its parts with the new
 * ones, and readers prefer the whole to the parts.
 */
async function removeOlder(path: string, written: ReadonlySet<string>): Promise<void> {
  const whole = basename(path);
  const files = (await guarded(path, () => readdir(dirname(path), { withFileTypes: true }))).filter(it => it.isFile());
  const names = new Set(files.map(({ name }) => name));
  for (const name of names)
    if (!written.has(name) && (name === whole || isWrittenPart(name, whole, names)))
      await guarded(join(dirname(path), name), () => rm(join(dirname(path), name), { force: true }));
}

/** Writes to a pipe. Its bytes leave as they come, so that an error later can only end them. */
export function openPipeSink(pipe: Writable): ByteSink {
  return {
    async write(bytes) {
      // The caller may use the buffer again, so a full pipe's `false` is not enough.
      await new Promise<void>((resolve, reject) => {
        pipe.write(bytes, error => (error ? reject(pipeError(error)) : resolve()));
      });
    },
    async finish() {
      return [];
    },
    async abandon() {
      pipe.destroy();
    },
  };
}

function pipeError(cause: Error): LayoutNotWritable {
  const code = errno(cause) ?? '';
  return new LayoutNotWritable('The bundle cannot be written to the pipe', {
    expected: 'a program that reads it to its end',
    found: code === 'EPIPE' ? 'a program that ended before' : cause.message,
    hint: 'See what the program after the pipe printed.',
    cause,
  });
}

const NOT_A_FILE = 'Choose another path with --out: only a name that ends in .tar is that of a file.';

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'Create the folder first.',
  EFBIG: 'Files on FAT have at most 4 GiB: write parts with --split 2G, or choose another path with --out.',
};

/** Turns the errors of a step that writes to `path` into refusals. @throws LayoutNotWritable */
export async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LayoutNotWritable) throw error;
    const code = errno(error);
    const isFile = code === 'EEXIST' || code === 'ENOTDIR';
    throw new LayoutNotWritable(
      code === 'ENOSPC' ? `No space is left while writing ${path}` : `${path} cannot be written`,
      {
        subject: path,
        expected: 'a folder that exists, that this user may write, with room for the bundle',
        found: isFile ? 'a file in the place of a folder' : (errnoWords(error) ?? String(error)),
        hint: isFile ? NOT_A_FILE : (HINTS[code ?? ''] ?? 'Free some space or choose another path with --out.'),
        cause: error,
      },
    );
  }
}
