import { Parser, type ReadEntry } from 'tar';
import type { EntryKind } from './overlay.ts';

/** An archive that breaks off or contradicts itself; thrown only once all of its bytes have been read. */
export class TarDamaged extends Error {}

/** An archive made to do harm; thrown at once. */
export class TarHostile extends Error {}

export interface TarEntry {
  /** As the archive has it; never to be used as a name on disk. */
  readonly path: string;
  readonly kind: EntryKind;
  /** `a symbolic link to main.wasm`, `a device` … */
  readonly about: string;
  readonly sizeBytes: number;
}

export interface TarVisitor {
  /** @returns where the entry's bytes go, piece by piece; undefined to skip them. What it throws ends the reading. */
  entry(entry: TarEntry): ((piece: Buffer) => void) | undefined;
  /** Called between chunks, so that what the pieces have piled up can be written. */
  flush(): Promise<void>;
}

/** Entries of one archive, headers of extensions included. A base image of Debian has about 7 000. */
const MAX_TAR_ENTRIES = 100_000;

/**
 * Reads a plain tar in one pass with node-tar's parser, in strict mode, without its unpacker: no entry's name, link or owner
 * ever reaches the file system. node-tar would swallow three things in silence, and they are refused here: extended headers
 * too large for it, which would leave the next entry with a wrong name; sizes that are no number; sparse files of pax form,
 * which look like regular files.
 * @throws TarDamaged after the last chunk, TarHostile at once, and whatever the visitor or `chunks` throw
 */
export async function readTar(chunks: AsyncIterable<Buffer>, visitor: TarVisitor): Promise<void> {
  let count = 0;
  let bytesRead = 0;
  let over = false;
  let sparse = false;
  let judged: ReadEntry | undefined;
  let problem: Error | undefined;
  const tally = () => {
    if (++count > MAX_TAR_ENTRIES) throw new TarHostile(`it has more than ${MAX_TAR_ENTRIES} entries`);
  };

  const judge = (entry: ReadEntry): boolean => {
    judged = entry;
    tally();
    const seen = describeEntry(entry, sparse);
    sparse = false;
    const take = visitor.entry(seen);
    if (take !== undefined) entry.on('data', take);
    return take !== undefined;
  };
  const parser = new Parser({
    strict: true,
    maxMetaEntrySize: 1024 * 1024,
    brotli: false,
    zstd: false,
    filter: (_path, entry) => judge(entry as ReadEntry),
  });
  parser.on('meta', (text: string) => {
    tally();
    if (/^\d+ GNU\.sparse\./m.test(text)) sparse = true;
  });
  // Entries of unusual types never come to the filter.
  parser.on('ignoredEntry', (entry: ReadEntry) => {
    if (entry === judged) return;
    if (entry.meta) throw new TarHostile(`it has an extended header of ${entry.size} bytes`);
    judge(entry);
  });
  parser.on('eof', () => {
    over = true;
  });
  parser.on('error', (error: Error) => {
    problem ??= error;
    throw error; // else it would take what follows for headers
  });
  const feed = (step: () => void) => {
    try {
      step();
    } catch (error) {
      if (error !== problem) throw error;
    }
  };

  for await (const chunk of chunks) {
    bytesRead += chunk.length;
    // After its end mark, node-tar would pile up all that follows in memory.
    if (over || problem !== undefined || chunk.length === 0) continue;
    feed(() => parser.write(chunk));
    await visitor.flush();
  }
  if (!over && problem === undefined) {
    if (bytesRead % 512 !== 0) problem = new Error('it breaks off within a block');
    else feed(() => parser.end());
    await visitor.flush();
  }
  if (problem !== undefined) throw new TarDamaged(inWords(problem.message, judged?.path), { cause: problem });
}

/** What node-tar says of numbers in GNU's base-256 form (a set top bit, big-endian), in words that say where and what. */
function inWords(message: string, before: string | undefined): string {
  const where = before === undefined ? 'in the first header' : `in the header behind ${before}`;
  if (message === 'invalid base256 encoding')
    return `a number ${where} is damaged: it begins like one in base-256, but not with 0x80 or 0xff`;
  if (message === 'parsed number outside of javascript safe integer range')
    return `a number ${where}, in base-256, is absurd: beyond 2^53, or as far below zero`;
  return message;
}

const KINDS: Readonly<Record<string, readonly [EntryKind, string]>> = {
  File: ['file', 'a file'],
  OldFile: ['file', 'a file'],
  ContiguousFile: ['file', 'a file'],
  Directory: ['directory', 'a folder'],
  GNUDumpDir: ['directory', 'a folder'],
  Link: ['link', 'a hard link'],
  SymbolicLink: ['link', 'a symbolic link'],
  CharacterDevice: ['special', 'a device'],
  BlockDevice: ['special', 'a device'],
  FIFO: ['special', 'a FIFO'],
  SparseFile: ['special', 'a sparse file'],
};

function describeEntry(entry: ReadEntry, sparse: boolean): TarEntry {
  const [kind, name] = KINDS[entry.type] ?? ['special', `an entry of type ${entry.type}`];
  // header.size is missing where the field held no number or a negative one; entry.size would then read 0.
  const sizeBytes = entry.header.size;
  if (kind === 'file' && (sizeBytes === undefined || !Number.isSafeInteger(sizeBytes)))
    throw new TarHostile(
      sizeBytes === undefined
        ? `the size of ${entry.path} is negative or damaged: no number of bytes, neither in octal nor in base-256`
        : `the size of ${entry.path} is ${sizeBytes}, which is no number of bytes`,
    );
  if (kind === 'file' && sparse)
    return { path: entry.path, kind: 'special', about: 'a sparse file', sizeBytes: entry.size };
  const about = kind === 'link' ? `${name} to ${entry.linkpath ?? 'nothing'}` : name;
  return { path: entry.path, kind, about, sizeBytes: entry.size };
}
