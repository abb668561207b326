import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errno } from '../base/errno.ts';
import { LayoutPartWrong, LayoutUnreadable } from './errors.ts';

/** `bundle.tar.001`: raw parts, numbered from 001; `cat` joins them. */
const PART = /^(?<whole>.+)\.(?<number>\d{3,5})$/;
/** One line of `sha256sum`: the digest, a space, a space or `*`, the file name. */
const SUM = /^([0-9a-f]{64}) [ *](.+)$/;
/** `bundle.tar.sha256` names every part and the whole. */
export const SUM_ENDING = '.sha256';
const MAX_SUM_BYTES = 4 * 1024 * 1024;
/** All parts stay open while the bundle is read. */
const MAX_PARTS = 10_000;

interface PartFile {
  readonly path: string;
  readonly handle: FileHandle;
  /** Offset of the part's first byte in the whole. */
  readonly start: number;
  readonly size: number;
}

/** One file, or the parts of a split one, read as one sequence of bytes. */
export interface PartFiles {
  readonly size: number;
  /** In their order. */
  readonly paths: readonly string[];
  /** @returns the bytes from `start` on, `length` of them, fewer at the end */
  read(start: number, length: number): Promise<Buffer>;
  /** The names of the files that hold these bytes, for messages. */
  namesAt(start: number, end: number): readonly string[];
  /** True if a checksum file next to the parts names each of them. */
  readonly hasSums: boolean;
  /** Hashes every part against the checksum file, if there is one. @returns the first part that differs */
  findWrongPart(signal?: AbortSignal, onRead?: (bytes: number) => void): Promise<Error | undefined>;
  close(): Promise<void>;
}

/**
 * Opens a bundle by the path of the whole, of any of its parts, or of its checksum file.
 * @throws LayoutPartWrong naming the first part that is missing
 * @throws LayoutUnreadable if a file cannot be opened
 */
export async function openParts(path: string): Promise<PartFiles> {
  const { paths, sums } = await listParts(path);
  const parts: PartFile[] = [];
  let size = 0;
  try {
    for (const file of paths) {
      // Without O_NONBLOCK, opening a FIFO would wait for a writer forever.
      const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
        throw unreadable(file, error);
      });
      const info = await handle.stat();
      parts.push({ path: file, handle, start: size, size: info.size });
      if (!info.isFile()) throw unreadable(file, undefined);
      size += info.size;
    }
  } catch (error) {
    await Promise.all(parts.map(part => part.handle.close()));
    throw error;
  }
  const overlapping = (start: number, end: number): PartFile[] =>
    parts.filter(part => part.start < end && part.start + part.size > start);
  return {
    size,
    paths,
    async read(start, length) {
      const end = Math.min(size, start + length);
      const bytes = Buffer.alloc(Math.max(0, end - start));
      for (const part of overlapping(start, end)) {
        const from = Math.max(start, part.start);
        const to = Math.min(end, part.start + part.size);
        for (let at = from; at < to; ) {
          const { bytesRead } = await part.handle.read(bytes, at - start, to - at, at - part.start);
          if (bytesRead === 0) throw shrunk(part.path);
          at += bytesRead;
        }
      }
      return bytes;
    },
    namesAt: (start, end) => overlapping(start, end).map(part => basename(part.path)),
    hasSums: parts.every(({ path: part }) => sums?.has(basename(part))),
    async findWrongPart(signal, onRead) {
      for (const part of parts) {
        const expected = sums?.get(basename(part.path));
        if (expected === undefined) continue;
        const hash = createHash('sha256');
        const file = createReadStream(part.path);
        if (onRead !== undefined) file.on('data', chunk => onRead(chunk.length));
        await pipeline(file, hash, { signal });
        const found = hash.digest('hex');
        if (found !== expected) return wrongPart(part.path, expected, found, sums);
      }
      return undefined;
    },
    async close() {
      await Promise.all(parts.map(part => part.handle.close()));
    },
  };
}

async function listParts(path: string): Promise<{ paths: string[]; sums: ReadonlyMap<string, string> | undefined }> {
  const folder = dirname(path);
  const isSums = path.endsWith(SUM_ENDING);
  const whole = isSums ? path.slice(0, -SUM_ENDING.length) : (PART.exec(path)?.groups?.whole ?? path);
  const sums = await readSums(`${whole}${SUM_ENDING}`, isSums);
  const present = (await readdir(folder).catch(() => []))
    .filter(name => isPartOf(name, basename(whole)))
    .sort(byNumber);
  const isPart = !isSums && whole !== path;
  // Parts that were joined, or one file: the whole is there.
  const isWhole = !isPart && (!isSums || present.length === 0) && (await exists(whole));
  if (isWhole || (!isSums && !isPart && present.length === 0)) return { paths: [whole], sums };
  const listed = [...(sums?.keys() ?? [])].filter(name => isPartOf(name, basename(whole))).sort(byNumber);
  if (sums !== undefined && listed.length === 0 && (present.length > 0 || !sums.has(basename(whole))))
    throw renamed(`${whole}${SUM_ENDING}`, [...sums.keys()], present.length > 0 ? present : [basename(whole)]);
  if (present.length > MAX_PARTS) throw tooManyParts(whole, present.length);
  if (listed.length + present.length === 0)
    throw unreadable(isSums ? whole : path, Object.assign(new Error('no part'), { code: 'ENOENT' }));
  const expected = listed.length > 0 ? listed : present.map((_, at) => partName(basename(whole), at + 1));
  for (const name of expected)
    if (!present.includes(name))
      throw missingPart(join(folder, name), `the parts ${expected.join(', ').slice(0, 300)}`, 'no such file');
  return { paths: expected.map(name => join(folder, name)), sums };
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    error => errno(error) !== 'ENOENT',
  );
}

/** The name of part `number`, from 1. */
export function partName(whole: string, number: number): string {
  return `${whole}.${String(number).padStart(3, '0')}`;
}

function isPartOf(name: string, whole: string): boolean {
  return PART.exec(name)?.groups?.whole === whole;
}

function byNumber(one: string, other: string): number {
  return Number(PART.exec(one)?.groups?.number) - Number(PART.exec(other)?.groups?.number);
}

async function readSums(path: string, required: boolean): Promise<ReadonlyMap<string, string> | undefined> {
  let text: string;
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new Error('something that is not a regular file');
    if (info.size > MAX_SUM_BYTES) throw new Error(`it is larger than ${MAX_SUM_BYTES} bytes`);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (!required && errno(error) === 'ENOENT') return undefined;
    throw unreadable(path, error);
  }
  const sums = new Map<string, string>();
  // Editors on Windows put a byte order mark in front.
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const [, sum, name] = SUM.exec(line) ?? [];
    if (sum !== undefined && name !== undefined) sums.set(basename(name), sum);
    else if (line.trim() !== '') throw notSums(path, JSON.stringify(line.slice(0, 100)));
  }
  if (sums.size === 0) throw notSums(path, 'an empty file');
  return sums;
}

function notSums(path: string, found: string): LayoutPartWrong {
  return new LayoutPartWrong(`${path} is not a checksum file`, {
    subject: path,
    expected: 'lines of sha256sum: 64 hex digits, two spaces, a file name',
    found,
    hint: 'Copy the .sha256 file of the bundle again.',
  });
}

function renamed(path: string, named: readonly string[], found: readonly string[]): LayoutPartWrong {
  const few = (names: readonly string[]): string => names.slice(0, 3).join(', ') + (names.length > 3 ? ' …' : '');
  return new LayoutPartWrong(`${path} names other files than those next to it`, {
    subject: path,
    expected: few(named),
    found: few(found),
    hint: 'The files were renamed: give each the name that the checksum file has for it, and the checksum file the name of the whole with .sha256.',
  });
}

function missingPart(path: string, expected: string, found: string): LayoutPartWrong {
  return new LayoutPartWrong(`The bundle's part ${basename(path)} is missing`, {
    subject: path,
    expected,
    found,
    hint: 'Copy the missing part next to the others, under the name that it had.',
  });
}

function tooManyParts(whole: string, count: number): LayoutPartWrong {
  return new LayoutPartWrong(`${whole} has too many parts`, {
    subject: whole,
    expected: `at most ${MAX_PARTS} parts`,
    found: `${count} parts`,
    hint: 'Join them with cat, or make the bundle again with larger parts (--split).',
  });
}

function wrongPart(
  path: string,
  expected: string,
  found: string,
  sums: ReadonlyMap<string, string> | undefined,
): LayoutPartWrong {
  const other = [...(sums ?? [])].find(([, sum]) => sum === found)?.[0];
  return new LayoutPartWrong(`${basename(path)} has other bytes than its checksum file says`, {
    subject: path,
    expected: `sha256 ${expected}`,
    found: other === undefined ? `sha256 ${found}` : `the bytes of ${other}`,
    hint:
      other === undefined
        ? 'It is damaged, or belongs to another bundle: copy this file again.'
        : 'The parts were renamed: give each the name that the .sha256 file has for it.',
  });
}

function shrunk(path: string): LayoutUnreadable {
  return new LayoutUnreadable(`${path} became shorter while it was read`, {
    subject: path,
    hint: 'Wait until the file is completely copied, then run the command again.',
  });
}

function unreadable(path: string, error: unknown): LayoutUnreadable {
  const absent = errno(error) === 'ENOENT';
  return new LayoutUnreadable(absent ? `There is no file ${path}` : `${path} cannot be read`, {
    subject: path,
    expected: 'a bundle: a tar, its first part or its .sha256 file, or a folder with an OCI image layout',
    found: errno(error) ?? (error instanceof Error ? error.message : 'something that is not a regular file'),
    hint: absent ? 'Check the path.' : 'Check the file and its permissions.',
    cause: error,
  });
}
