import { Header, Parser, type ReadEntry } from 'tar';
import type { EntryKind } from './overlay.ts';
import {
  continueSparse,
  SparseExpander,
  type SparseFile,
  SparseInvalid,
  sparseFromHeader,
  sparseFromPax,
} from './sparse.ts';

/** An incomplete or inconsistent archive; thrown after all of its bytes have been read. */
export class TarDamaged extends Error {
  /** The next step for the user, if it is not to push the layer again. */
  readonly hint: string | undefined;

  constructor(message: string, { hint, cause }: { readonly hint?: string | undefined; readonly cause?: unknown } = {}) {
    super(message, { cause });
    this.hint = hint;
  }
}

/** An archive with content that no build tool writes; thrown immediately. */
export class TarHostile extends Error {}

export interface TarEntry {
  /** As in the archive; never used on disk. */
  readonly path: string;
  readonly kind: EntryKind;
  /** `a symbolic link to main.wasm`, `a device` … */
  readonly about: string;
  /** Of a sparse file with its zeros. */
  readonly sizeBytes: number;
  /** Of a hard link, as in the archive. */
  readonly target?: string;
}

export interface TarVisitor {
  /** @returns the consumer of the entry's bytes, or undefined to skip them. An error that it throws ends the reading. */
  entry(entry: TarEntry): ((piece: Buffer) => void) | undefined;
  /** Called between chunks to write what the consumers have collected. */
  flush(): Promise<void>;
}

/** Entries of one archive, extended headers included. Debian's base image has about 7,000. */
const MAX_TAR_ENTRIES = 100_000;
const MAX_META_BYTES = 1024 * 1024;
const BLOCK_BYTES = 512;

/**
 * Reads a plain tar in one pass. node-tar's strict parser interprets headers and extended headers; the bytes of entries go from
 * here to the visitor, sparse files with their zeros. Names, links and owners of entries never reach the file system. Two things
 * that node-tar accepts silently are refused: an extended header too large for it (the next entry would have a wrong name), and
 * a size that is not a number.
 * @throws TarDamaged after the last chunk, TarHostile immediately, and any error of the visitor or of `chunks`
 */
export async function readTar(chunks: AsyncIterable<Buffer>, visitor: TarVisitor): Promise<void> {
  const reader = new TarReader(visitor);
  for await (const chunk of chunks) {
    reader.write(chunk);
    await visitor.flush();
  }
  reader.end();
  await visitor.flush();
  reader.conclude();
}

/** The data of an entry or an extended header that follows its header, padding included. */
interface Body {
  leftBytes: number;
  /** Without padding. */
  leftData: number;
  take: ((piece: Buffer) => void) | undefined;
}

class TarReader {
  readonly #visitor: TarVisitor;
  readonly #parser: Parser;
  #count = 0;
  #over = false;
  #problem: Error | undefined;
  #judged: ReadEntry | undefined;
  /** The start of a block that is not complete. */
  #block: Buffer = Buffer.alloc(0);
  #body: Body | undefined;
  /** The sparse file that the last extended header describes, or the header that is interpreted now. */
  #sparse: SparseFile | undefined;
  /** Set while blocks follow that continue a sparse map. */
  #continued: { readonly file: SparseFile; readonly body: Body; readonly begin: () => void } | undefined;
  #isContinued = false;

  constructor(visitor: TarVisitor) {
    this.#visitor = visitor;
    const parser = new Parser({
      strict: true,
      maxMetaEntrySize: MAX_META_BYTES,
      brotli: false,
      zstd: false,
      filter: (_path, entry) => {
        this.#judge(entry as ReadEntry);
        return false; // the bytes do not take the way through node-tar's streams
      },
    });
    parser.on('meta', () => this.#tally());
    // node-tar does not call the filter for entries of unusual types.
    parser.on('ignoredEntry', (entry: ReadEntry) => {
      if (entry === this.#judged) return;
      if (entry.meta) throw new TarHostile(`it has an extended header of ${entry.size} bytes`);
      this.#judge(entry);
    });
    parser.on('eof', () => {
      this.#over = true;
    });
    parser.on('error', (error: Error) => {
      this.#problem ??= error;
      throw error; // otherwise it would parse the following data as headers
    });
    this.#parser = parser;
  }

  write(chunk: Buffer): void {
    let data = chunk;
    // After the end mark node-tar would keep all further data in memory.
    while (data.length > 0 && !this.#over && this.#problem === undefined) {
      if (this.#body !== undefined && this.#continued === undefined) {
        data = this.#readBody(this.#body, data);
        continue;
      }
      if (this.#block.length === 0 && data.length >= BLOCK_BYTES) {
        const block = data.subarray(0, BLOCK_BYTES);
        data = data.subarray(BLOCK_BYTES);
        this.#readBlock(block);
        continue;
      }
      const part = data.subarray(0, BLOCK_BYTES - this.#block.length);
      data = data.subarray(part.length);
      const block = Buffer.concat([this.#block, part]);
      this.#block = block.length < BLOCK_BYTES ? block : Buffer.alloc(0);
      if (block.length === BLOCK_BYTES) this.#readBlock(block);
    }
  }

  end(): void {
    if (this.#over || this.#problem !== undefined) return;
    if (this.#continued !== undefined) this.#problem = new Error('it ends within a sparse map');
    else if (this.#block.length > 0 || (this.#body !== undefined && this.#body.leftBytes % BLOCK_BYTES !== 0))
      this.#problem = new Error('it ends within a block');
    else this.#feed(() => this.#parser.end());
  }

  /** @throws TarDamaged */
  conclude(): void {
    if (this.#problem === undefined) return;
    const hint = this.#problem.cause instanceof SparseInvalid ? SPARSE_HINT : undefined;
    throw new TarDamaged(describeError(this.#problem.message, this.#judged?.path), { cause: this.#problem, hint });
  }

  #readBlock(block: Buffer): void {
    if (this.#continued !== undefined) {
      const { file, begin } = this.#continued;
      this.#guard(file.path, () => {
        if (continueSparse(file, block)) return;
        this.#continued = undefined;
        begin();
      });
      return;
    }
    const header = readHeader(block);
    if (header?.type === 'SparseFile')
      this.#guard(header.path, () => {
        const { file, isContinued } = sparseFromHeader(block);
        this.#sparse = file;
        this.#isContinued = isContinued;
      });
    if (this.#problem !== undefined) return;
    this.#feed(() => this.#parser.write(block));
    if (this.#problem !== undefined) return;
    if (header !== undefined && META_TYPES.has(header.type)) this.#beginMeta(header);
    this.#dropEmpty();
  }

  /** The data of an extended header, which node-tar interprets except for its sparse records. */
  #beginMeta({ size = 0, type }: Header): void {
    const pieces: Buffer[] = [];
    this.#body = {
      leftBytes: Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES,
      leftData: size,
      take: piece => {
        pieces.push(piece);
        if (this.#body?.leftData !== 0 || type !== 'ExtendedHeader') return;
        this.#guard(undefined, () => {
          this.#sparse = sparseFromPax(Buffer.concat(pieces));
        });
      },
    };
  }

  #judge(entry: ReadEntry): void {
    this.#judged = entry;
    this.#tally();
    const sparse = this.#sparse;
    this.#sparse = undefined;
    const seen = describeEntry(entry, sparse);
    const take = this.#visitor.entry(seen);
    const body: Body = { leftBytes: entry.startBlockSize, leftData: entry.size, take };
    this.#body = body;
    if (sparse === undefined || take === undefined) {
      if (this.#isContinued && sparse !== undefined) this.#continued = { file: sparse, body, begin: () => undefined };
    } else {
      const begin = (): void => {
        const expander = new SparseExpander(sparse, entry.size, take);
        body.take = piece => this.#guard(seen.path, () => expander.push(piece));
      };
      if (this.#isContinued) this.#continued = { file: sparse, body, begin };
      else this.#guard(seen.path, begin);
    }
    this.#isContinued = false;
  }

  #readBody(body: Body, data: Buffer): Buffer {
    const part = data.subarray(0, body.leftBytes);
    body.leftBytes -= part.length;
    const piece = part.subarray(0, body.leftData);
    body.leftData -= piece.length;
    if (piece.length > 0) body.take?.(piece);
    if (this.#problem === undefined) this.#feed(() => this.#parser.write(part));
    this.#dropEmpty();
    return data.subarray(part.length);
  }

  #dropEmpty(): void {
    if (this.#body?.leftBytes === 0 && this.#continued === undefined) this.#body = undefined;
  }

  #tally(): void {
    if (++this.#count > MAX_TAR_ENTRIES) throw new TarHostile(`it has more than ${MAX_TAR_ENTRIES} entries`);
  }

  #feed(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (error !== this.#problem) throw error;
    }
  }

  /** Keeps a problem of a sparse file for the end of the archive, where a wrong digest would be the better explanation. */
  #guard(path: string | undefined, step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof SparseInvalid)) throw error;
      const message = `${path ?? 'an entry'} is a damaged sparse file: ${error.message}`;
      this.#problem ??= new Error(message, { cause: error });
    }
  }
}

/** Returns a header that node-tar accepts; it is asked to interpret the same block, and reports why it does not. */
function readHeader(block: Buffer): Header | undefined {
  try {
    const header = new Header(block);
    return header.cksumValid ? header : undefined;
  } catch {
    return undefined;
  }
}

const SPARSE_HINT =
  'tar stored the file sparse, without its zeros: pack it again without --sparse (bsdtar: with --no-read-sparse), and push it again.';

const META_TYPES: ReadonlySet<string> = new Set([
  'ExtendedHeader',
  'OldExtendedHeader',
  'GlobalExtendedHeader',
  'NextFileHasLongPath',
  'NextFileHasLongLinkpath',
  'OldGnuLongPath',
]);

/** node-tar's errors about numbers in GNU's base-256 form (a set top bit, big-endian), with the entry and the problem. */
function describeError(message: string, before: string | undefined): string {
  const where = before === undefined ? 'in the first header' : `in the header after ${before}`;
  if (message === 'invalid base256 encoding')
    return `a number ${where} is damaged: it begins like one in base-256, but not with 0x80 or 0xff`;
  if (message === 'parsed number outside of javascript safe integer range')
    return `a number ${where}, in base-256, is out of range: beyond 2^53 in either direction`;
  const [, missing] = /^TAR_BAD_ARCHIVE: Truncated input \(needed (\d+) more bytes/.exec(message) ?? [];
  if (missing !== undefined)
    return `it is truncated: ${missing} more bytes of ${before ?? 'its first file'} should follow`;
  if (message.startsWith('TAR_ENTRY_INVALID: checksum')) return `the checksum ${where} is wrong`;
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
  SparseFile: ['file', 'a sparse file'],
};

function describeEntry(entry: ReadEntry, sparse: SparseFile | undefined): TarEntry {
  const [kind, name] = KINDS[entry.type] ?? ['special', `an entry of type ${entry.type}`];
  // header.size is missing if the field has no number or a negative one; entry.size would then be 0.
  const sizeBytes = entry.header.size;
  if (kind === 'file' && (sizeBytes === undefined || !Number.isSafeInteger(sizeBytes)))
    throw new TarHostile(
      sizeBytes === undefined
        ? `the size of ${entry.path} is negative or damaged: not a number of bytes, in octal or in base-256`
        : `the size of ${entry.path} is ${sizeBytes}, which is not a number of bytes`,
    );
  if (kind === 'file' && sparse !== undefined)
    return { path: sparse.path ?? entry.path, kind, about: name, sizeBytes: sparse.sizeBytes ?? entry.size };
  const about = kind === 'link' ? `${name} to ${entry.linkpath ?? 'nothing'}` : name;
  const target = entry.type === 'Link' ? entry.linkpath : undefined;
  return { path: entry.path, kind, about, sizeBytes: entry.size, ...(target === undefined ? {} : { target }) };
}
