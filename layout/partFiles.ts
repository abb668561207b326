import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errno, errnoWords, onFile, openReadStream } from '../base/errno.ts';
import { type DamagedFile, LayoutPartWrong, LayoutUnreadable } from './errors.ts';

/** `bundle.tar.001`: raw parts, numbered from 001; `cat` joins them. */
const PART = /^(?<whole>.+)\.(?<number>\d{3,5})$/;
/** One line of `sha256sum`: the digest, a space, a space or `*`, the file name. */
const SUM = /^([0-9a-f]{64}) [ *](.+)$/i;
/** The same of BSD's sha256 and of `sha256sum --tag`. */
const TAGGED_SUM = /^SHA256 \((.+)\) = ([0-9a-f]{64})$/i;
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
  /** True if there is a checksum file next to the tar or its parts. */
  readonly hasSums: boolean;
  /** Hashes every part against the checksum file, if there is one. @returns one error for all parts that differ */
  findWrongParts(): Promise<LayoutPartWrong | undefined>;
  /** The same, with the files that were carried along, such as the archive of the program; those that are absent are passed over. */
  findWrongFiles(signal: AbortSignal, onRead?: (bytes: number) => void): Promise<LayoutPartWrong | undefined>;
  close(): Promise<void>;
}

/**
 * Opens a bundle by the path of the whole, of any of its parts, or of its checksum file.
 * @throws LayoutPartWrong naming all parts that are missing, and those that are there with other bytes than their checksum
 * @throws LayoutUnreadable if a file cannot be opened
 */
export async function openParts(path: string): Promise<PartFiles> {
  const { paths, missing, sums } = await listParts(path);
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
    if (missing.length > 0) throw wrongParts(missing, await findDamaged(paths, sums), sums);
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
      const bytes = Buffer.allocUnsafeSlow(Math.max(0, end - start));
      for (const part of overlapping(start, end)) {
        const from = Math.max(start, part.start);
        const to = Math.min(end, part.start + part.size);
        for (let at = from; at < to; ) {
          const { bytesRead } = await onFile(part.path, part.handle.read(bytes, at - start, to - at, at - part.start));
          if (bytesRead === 0) throw shrunk(part.path);
          at += bytesRead;
        }
      }
      return bytes;
    },
    namesAt: (start, end) => overlapping(start, end).map(part => basename(part.path)),
    hasSums: sums !== undefined,
    async findWrongParts() {
      const damaged = await findDamaged(paths, sums);
      return damaged.length === 0 ? undefined : wrongParts([], damaged, sums);
    },
    async findWrongFiles(signal, onRead) {
      const damaged = await findDamaged([...paths, ...(await alongside(path, sums))], sums, signal, onRead);
      return damaged.length === 0 ? undefined : wrongParts([], damaged, sums);
    },
    async close() {
      await Promise.all(parts.map(part => part.handle.close()));
    },
  };
}

/** File name → sha256 in bare hex; undefined if there is no checksum file. */
type Sums = ReadonlyMap<string, string> | undefined;

async function findDamaged(
  paths: readonly string[],
  sums: Sums,
  signal?: AbortSignal,
  onRead?: (bytes: number) => void,
): Promise<DamagedFile[]> {
  const damaged: DamagedFile[] = [];
  for (const path of paths) {
    const own = sums?.get(basename(path));
    // A tar and its checksum file that were renamed together: any of the checksums may be that of the tar.
    const expected = own === undefined ? [...(sums?.values() ?? [])] : [own];
    if (expected.length === 0) continue;
    const hash = createHash('sha256');
    const file = openReadStream(path);
    if (onRead !== undefined) file.on('data', chunk => onRead(chunk.length));
    await pipeline(file, hash, { signal });
    const found = hash.digest('hex');
    if (expected.includes(found)) continue;
    const other = [...(sums ?? [])].find(([, sum]) => sum === found)?.[0];
    damaged.push({
      path,
      expected: expected.join(' or '),
      ...(other === undefined ? { found: `sha256 ${found}` } : { found: `the bytes of ${other}`, bytesOf: other }),
    });
  }
  return damaged;
}

interface ListedParts {
  readonly paths: readonly string[];
  /** Parts that the checksum file names, or that others come after, and that do not exist. */
  readonly missing: readonly string[];
  readonly sums: Sums;
}

async function listParts(path: string): Promise<ListedParts> {
  const folder = dirname(path);
  const isSums = path.endsWith(SUM_ENDING);
  const whole = wholeOf(path);
  const sums = await readSums(`${whole}${SUM_ENDING}`, isSums);
  const present = (await readdir(folder).catch(() => []))
    .filter(name => isPartOf(name, basename(whole)))
    .sort(byNumber);
  const isPart = !isSums && whole !== path;
  // Parts that were joined, or one file: the whole is there.
  const isWhole = !isPart && (!isSums || present.length === 0) && (await exists(whole));
  if (isWhole || (!isSums && !isPart && present.length === 0)) return { paths: [whole], missing: [], sums };
  const listed = [...(sums?.keys() ?? [])].filter(name => isPartOf(name, basename(whole))).sort(byNumber);
  if (sums !== undefined && listed.length === 0 && (present.length > 0 || !sums.has(basename(whole))))
    throw renamed(`${whole}${SUM_ENDING}`, [...sums.keys()], present.length > 0 ? present : [basename(whole)]);
  if (present.length > MAX_PARTS) throw tooManyParts(whole, present.length);
  if (listed.length + present.length === 0)
    throw unreadable(isSums ? whole : path, Object.assign(new Error('no part'), { code: 'ENOENT' }));
  const numbers = Array.from({ length: Number(PART.exec(present.at(-1) ?? '')?.groups?.number) }, (_, at) => at + 1);
  const expected = listed.length > 0 ? listed : numbers.map(number => partName(basename(whole), number));
  const [there, named] = [new Set(present), new Set(listed)];
  const isBetween = (name: string): boolean =>
    isWrittenPart(name, basename(whole), there) && byNumber(name, listed.at(-1) ?? '') < 0;
  const unnamed = listed.length === 0 ? undefined : present.find(name => !named.has(name) && isBetween(name));
  if (unnamed !== undefined) throw notListed(`${whole}${SUM_ENDING}`, unnamed, listed);
  const pathOf = (name: string): string => join(folder, name);
  return {
    paths: expected.filter(name => there.has(name)).map(pathOf),
    missing: expected.filter(name => !there.has(name)).map(pathOf),
    sums,
  };
}

/** The files that the checksum file names next to the whole and its parts, as far as they are there. */
async function alongside(path: string, sums: Sums): Promise<string[]> {
  const whole = basename(wholeOf(path));
  // After a tar and its checksum file were renamed, a file under the old name may be that of another bundle.
  if (sums?.has(whole) !== true) return [];
  const names = [...sums.keys()].filter(name => name !== whole && !isPartOf(name, whole));
  const files = names.map(name => join(dirname(path), name));
  const found = await Promise.all(
    files.map(file =>
      stat(file).then(
        info => info.isFile(),
        () => false,
      ),
    ),
  );
  return files.filter((_, at) => found[at]);
}

/** The path of the tar, of which `path` is a part, the checksum file, or all. */
function wholeOf(path: string): string {
  return path.endsWith(SUM_ENDING) ? path.slice(0, -SUM_ENDING.length) : (PART.exec(path)?.groups?.whole ?? path);
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

/**
 * Returns the patterns with which a shell names `count` parts in their order, to follow the name of the whole. `.0*` would end
 * with part 099, and `.*` would put part 1000 in front of 101.
 */
export function partPatterns(count: number): string[] {
  const digits = '[0-9]'.repeat(3);
  return [`.${digits}`, ...(count > 999 ? [`.${digits}[0-9]`] : []), ...(count > 9999 ? [`.${digits}[0-9][0-9]`] : [])];
}

/**
 * Returns whether a name is one that the writer gives to a part of `whole`. With four digits or more it is one only next to part
 * 999: `bundle.tar.2026` may be a copy that a user keeps.
 * @param names of the files in the folder
 */
export function isWrittenPart(name: string, whole: string, names: ReadonlySet<string>): boolean {
  const number = Number(PART.exec(name)?.groups?.number);
  if (name !== partName(whole, number) || number === 0) return false;
  return number < 1000 || names.has(partName(whole, 999));
}

function isPartOf(name: string, whole: string): boolean {
  return PART.exec(name)?.groups?.whole === whole;
}

function byNumber(one: string, other: string): number {
  return Number(PART.exec(one)?.groups?.number) - Number(PART.exec(other)?.groups?.number);
}

async function readSums(path: string, required: boolean): Promise<Sums> {
  let text: string;
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new Error('something that is not a regular file');
    if (info.size > MAX_SUM_BYTES) throw new Error(`it is larger than ${MAX_SUM_BYTES} bytes`);
    const bytes = await readFile(path);
    if (bytes.includes(0)) throw notSums(path, 'text in UTF-16, or no text');
    text = bytes.toString('utf8');
  } catch (error) {
    if (!required && errno(error) === 'ENOENT') return undefined;
    throw error instanceof LayoutPartWrong ? error : unreadable(path, error);
  }
  const sums = new Map<string, string>();
  // Editors on Windows put a byte order mark in front.
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const [, tagged, ofTagged] = TAGGED_SUM.exec(line) ?? [];
    const [, sum = ofTagged, name = tagged] = SUM.exec(line) ?? [];
    if (sum !== undefined && name !== undefined) sums.set(basename(name), sum.toLowerCase());
    // sha256sum passes over comments, too.
    else if (line.trim() !== '' && !line.startsWith('#')) throw notSums(path, JSON.stringify(line.slice(0, 100)));
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

/** A part between two others has no line of its own. */
function notListed(path: string, name: string, listed: readonly string[]): LayoutPartWrong {
  return new LayoutPartWrong(`${path} does not name the part ${name}`, {
    subject: path,
    expected: `a line for each part up to ${listed.at(-1)}`,
    found: `no line for ${name}`,
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

/** Returns one error for all parts that have to be copied again, or renamed. */
function wrongParts(missing: readonly string[], damaged: readonly DamagedFile[], sums: Sums): LayoutPartWrong {
  const [first] = damaged;
  const subject = missing[0] ?? first?.path ?? '';
  const isOne = missing.length + damaged.length === 1;
  if (isOne && first !== undefined) return wrongPart(first);
  const { headline, hint } = summaryOf(missing, damaged, isOne);
  const foreign = damaged.filter(file => file.bytesOf === undefined).map(({ path }) => path);
  const found = [
    ...(missing.length === 0 ? [] : [`no ${namesOf(missing)}`]),
    ...(foreign.length === 0 ? [] : [`other bytes in ${namesOf(foreign)}`]),
    ...damaged.flatMap(({ path, bytesOf }) =>
      bytesOf === undefined ? [] : [`the bytes of ${bytesOf} in ${basename(path)}`],
    ),
  ].join('; ');
  const all = sums === undefined ? 'up to the last one' : 'that the .sha256 file names, with its checksums';
  return new LayoutPartWrong(headline, { subject, expected: `all parts ${all}`, found, hint }, damaged);
}

function wrongPart(file: DamagedFile): LayoutPartWrong {
  const { path, expected, found, bytesOf } = file;
  const hint = bytesOf === undefined ? 'It is damaged, or belongs to another bundle: copy this file again.' : RENAMED;
  const headline = `${basename(path)} has other bytes than its checksum file says`;
  return new LayoutPartWrong(headline, { subject: path, expected: `sha256 ${expected}`, found, hint }, [file]);
}

const RENAMED = 'The parts were renamed: give each the name that the .sha256 file has for it.';

function summaryOf(
  missing: readonly string[],
  damaged: readonly DamagedFile[],
  isOne: boolean,
): { readonly headline: string; readonly hint: string } {
  const hint = 'Copy all of these parts again, next to the others, each under the name that it had.';
  if (isOne)
    return {
      headline: `The bundle's part ${namesOf(missing)} is missing`,
      hint: 'Copy the missing part next to the others, under the name that it had.',
    };
  if (damaged.length === 0) return { headline: `The bundle's parts ${namesOf(missing)} are missing`, hint };
  if (missing.length > 0)
    return { headline: `${missing.length + damaged.length} parts of the bundle are missing or damaged`, hint };
  const names = namesOf(damaged.map(({ path }) => path));
  const isRenamed = damaged.every(file => file.bytesOf !== undefined);
  return { headline: `${names} have other bytes than their checksum file says`, hint: isRenamed ? RENAMED : hint };
}

/** `b.tar.002, b.tar.005 to b.tar.009`: the names of all parts, in their order. */
function namesOf(paths: readonly string[]): string {
  const runs: string[][] = [];
  for (const name of paths.map(path => basename(path))) {
    const last = runs.at(-1);
    if (last !== undefined && byNumber(name, last.at(-1) ?? '') === 1) last.push(name);
    else runs.push([name]);
  }
  return runs.map(run => (run.length < 3 ? run.join(', ') : `${run[0]} to ${run.at(-1)}`)).join(', ');
}

function tooManyParts(whole: string, count: number): LayoutPartWrong {
  return new LayoutPartWrong(`${whole} has too many parts`, {
    subject: whole,
    expected: `at most ${MAX_PARTS} parts`,
    found: `${count} parts`,
    hint: 'Join them with cat, or make the bundle again with larger parts (--split).',
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
    found: errnoWords(error) ?? (error instanceof Error ? error.message : 'something that is not a regular file'),
    hint: absent ? 'Check the path.' : 'Check the file and its permissions.',
    cause: error,
  });
}
