import { Parser, type ReadEntry } from 'tar';
import type { EntryKind } from './overlay.ts';

/** An incomplete or inconsistent archive; thrown after all of its bytes have been read. */
export class TarDamaged extends Error {}

/** An archive with content that no build tool writes; thrown immediately. */
export class TarHostile extends Error {}

export interface TarEntry {
  /** As in the archive; never used on disk. */
  readonly path: string;
  readonly kind: EntryKind;
  /** `a symbolic link to main.wasm`, `a device` … */
  readonly about: string;
  readonly sizeBytes: number;
}

export interface TarVisitor {
  /** @returns the consumer of the entry's bytes, or undefined to skip them. An error that it throws ends the reading. */
  entry(entry: TarEntry): ((piece: Buffer) => void) | undefined;
  /** Called between chunks to write what the consumers have collected. */
  flush(): Promise<void>;
}

/** Entries of one archive, extended headers included. Debian's base image has about 7,000. */
const MAX_TAR_ENTRIES = 100_000;

/**
 * Reads a plain tar in one pass with node-tar's strict parser and without its unpacker: names, links and owners of entries
 * never reach the file system. Three things that node-tar accepts silently are refused: an extended header too large for it
 * (the next entry would have a wrong name), a size that is not a number, and a sparse file in pax form (it looks like a
 * regular file).
 * @throws TarDamaged after the last chunk, TarHostile immediately, and any error of the visitor or of `chunks`
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
  // node-tar does not call the filter for entries of unusual types.
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
    throw error; // otherwise it would parse the following data as headers
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
    // After the end mark node-tar would keep all further data in memory.
    if (over || problem !== undefined || chunk.length === 0) continue;
    feed(() => parser.write(chunk));
    await visitor.flush();
  }
  if (!over && problem === undefined) {
    if (bytesRead % 512 !== 0) problem = new Error('it ends within a block');
    else feed(() => parser.end());
    await visitor.flush();
  }
  if (problem !== undefined) throw new TarDamaged(describeError(problem.message, judged?.path), { cause: problem });
}

/** node-tar's errors about numbers in GNU's base-256 form (a set top bit, big-endian), with the entry and the problem. */
function describeError(message: string, before: string | undefined): string {
  const where = before === undefined ? 'in the first header' : `in the header after ${before}`;
  if (message === 'invalid base256 encoding')
    return `a number ${where} is damaged: it begins like one in base-256, but not with 0x80 or 0xff`;
  if (message === 'parsed number outside of javascript safe integer range')
    return `a number ${where}, in base-256, is out of range: beyond 2^53 in either direction`;
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
  // header.size is missing if the field has no number or a negative one; entry.size would then be 0.
  const sizeBytes = entry.header.size;
  if (kind === 'file' && (sizeBytes === undefined || !Number.isSafeInteger(sizeBytes)))
    throw new TarHostile(
      sizeBytes === undefined
        ? `the size of ${entry.path} is negative or damaged: not a number of bytes, in octal or in base-256`
        : `the size of ${entry.path} is ${sizeBytes}, which is not a number of bytes`,
    );
  if (kind === 'file' && sparse)
    return { path: entry.path, kind: 'special', about: 'a sparse file', sizeBytes: entry.size };
  const about = kind === 'link' ? `${name} to ${entry.linkpath ?? 'nothing'}` : name;
  return { path: entry.path, kind, about, sizeBytes: entry.size };
}
