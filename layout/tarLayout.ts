import { Readable } from 'node:stream';
import { Header, Pax } from 'tar';
import { compareText } from '../base/canonicalJson.ts';
import type { Digest } from '../base/digest.ts';
import { digestOfPath } from './digest.ts';
import { blobDamaged, blobMissing, layoutInvalid as invalid, LayoutInvalid } from './errors.ts';
import type { Layout } from './layout.ts';
import { type LayoutIndex, MAX_INDEX_BYTES, parseIndex } from './layoutIndex.ts';
import type { PartFiles } from './partFiles.ts';
import { readVerified, requireVersion } from './verify.ts';

const BLOCK = 512;
/** A bundle of 5,000 images has about 20,000 entries. */
const MAX_ENTRIES = 200_000;
/** An extended header holds a name and a size. */
const MAX_EXTENDED_BYTES = 64 * 1024;
/** How much is read for a look at the headers; they are next to each other where blobs are small. */
const WINDOW_BYTES = 64 * 1024;
/** Larger chunks stay in memory longer than they are needed: 1 MiB costs a run of `sync --from` 40 MiB more. */
const CHUNK_BYTES = 256 * 1024;

interface Span {
  readonly start: number;
  readonly size: number;
}

/**
 * Opens a layout inside an uncompressed tar without unpacking it: the headers are read once, blobs later by offset.
 * The archive may contain regular files and folders only, each name once, nothing outside of its root.
 * @throws LayoutInvalid
 */
export async function openTarLayout(path: string, files: PartFiles): Promise<Layout> {
  const spans = await readHeaders(path, files).catch((error: unknown) => {
    throw error instanceof WrongHeader ? wrongHeader(path, files, error) : error;
  });
  const text = async (name: string): Promise<Buffer> => {
    const span = spans.get(name);
    if (span === undefined) throw notALayout(path, spans, name);
    if (span.size > MAX_INDEX_BYTES)
      throw invalid(path, `${name} has ${span.size} bytes`, `at most ${MAX_INDEX_BYTES} bytes`);
    return files.read(span.start, span.size);
  };
  requireVersion(path, await text('oci-layout'));
  const index: LayoutIndex = parseIndex(await text('index.json'), path);
  const blobs = new Map<Digest, Span>();
  for (const [name, span] of spans) {
    const digest = digestOfPath(name);
    if (digest !== undefined) blobs.set(digest, span);
  }
  const spanOf = (digest: Digest): Span => {
    const span = blobs.get(digest);
    if (span === undefined) throw blobMissing(path, digest);
    return span;
  };
  let wrongParts: Promise<Error | undefined> | undefined;
  const layout: Layout = {
    path,
    files: files.paths,
    index,
    sizeOf: async digest => blobs.get(digest)?.size,
    async open(digest, start = 0, end) {
      const span = spanOf(digest);
      return Readable.from(pieces(files, span.start + start, span.start + Math.min(end ?? span.size, span.size)));
    },
    read: (digest, limitBytes) => readVerified(layout, digest, limitBytes),
    async locate(digest) {
      const span = blobs.get(digest);
      const [file, ...others] = files.paths;
      if (span === undefined || file === undefined || others.length > 0) return undefined;
      return { path: file, start: span.start, size: span.size };
    },
    digests: async () => [...blobs.keys()].sort(compareText),
    async blame(digest) {
      const { start, size } = spanOf(digest);
      wrongParts ??= files.findWrongParts(); // once for all blobs: it reads every part
      return (await wrongParts) ?? blobDamaged(path, digest, files.namesAt(start, start + size));
    },
    compareChecksums: async (signal, onRead) =>
      (await files.findWrongFiles(signal, onRead)) ?? (files.hasSums ? 'equal' : 'absent'),
    close: () => files.close(),
  };
  return layout;
}

/** A block that should be a header and is none. */
class WrongHeader extends Error {
  readonly at: number;
  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

function wrongHeader(path: string, files: PartFiles, { at, message }: WrongHeader): LayoutInvalid {
  if (files.paths.length < 2) return invalid(path, message, 'a tar');
  return new LayoutInvalid(`The parts of ${path} do not fit together`, {
    subject: path,
    expected: 'the parts of one bundle, each under its own name',
    found: `${message}, in ${files.namesAt(at, at + 1).join()}`,
    hint: 'A part is damaged, of another bundle, or in the place of another one: copy them again, with the .sha256 file.',
  });
}

async function* pieces(files: PartFiles, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += CHUNK_BYTES) yield files.read(at, Math.min(CHUNK_BYTES, end - at));
}

/** Name → where its bytes are. Folders are left out. */
async function readHeaders(path: string, files: PartFiles): Promise<Map<string, Span>> {
  const spans = new Map<string, Span>();
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;
  const block = async (at: number, length: number): Promise<Buffer> => {
    if (at < windowStart || at + length > windowStart + window.length) {
      window = await files.read(at, Math.max(WINDOW_BYTES, length));
      windowStart = at;
    }
    return window.subarray(at - windowStart, at - windowStart + length);
  };
  requireTar(path, files, await block(0, BLOCK));
  let extended: Pax | undefined;
  let unfit: LayoutInvalid | undefined;
  let count = 0;
  for (let at = 0; ; ) {
    const bytes = await block(at, BLOCK);
    if (bytes.length < BLOCK) throw endsEarly(path, files, at);
    const header = readHeader(bytes, at, extended);
    if (header.nullBlock) {
      if ((await block(at + BLOCK, BLOCK)).length < BLOCK) throw endsEarly(path, files, at);
      // Where there is no layout, what the archive is says more: docker save writes links.
      if (unfit !== undefined && spans.has('oci-layout')) throw unfit;
      return spans;
    }
    if (++count > MAX_ENTRIES) throw invalid(path, 'more entries', `at most ${MAX_ENTRIES} entries`);
    const size = header.size ?? 0;
    if (!Number.isSafeInteger(size) || size < 0) throw invalid(path, `an entry of ${size} bytes`, 'a size in bytes');
    const next = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    const isMeta = header.type === 'ExtendedHeader' || header.type === 'NextFileHasLongPath';
    if (isMeta || header.type === 'GlobalExtendedHeader') {
      if (size > MAX_EXTENDED_BYTES) throw invalid(path, `an extended header of ${size} bytes`, 'short names');
      const body = (await block(at + BLOCK, size)).toString('utf8');
      if (body.includes('GNU.sparse')) throw invalid(path, 'a sparse file', 'plain regular files');
      if (header.type === 'ExtendedHeader') extended = Pax.parse(body, extended);
      // The header after it has the beginning of the name, which may end with the slash of a folder.
      if (header.type === 'NextFileHasLongPath') extended = new Pax({ ...extended, path: body.replace(/\0.*$/s, '') });
      at = next;
      continue;
    }
    const name = cleanName(path, extended?.path ?? header.path ?? '');
    if (at + BLOCK + size > files.size) throw endsEarly(path, files, at, name);
    if (header.type === 'File' || header.type === 'OldFile' || header.type === 'ContiguousFile') {
      if (spans.has(name)) throw invalid(path, `${name} twice`, 'each name once');
      spans.set(name, { start: at + BLOCK, size });
    } else if (header.type !== 'Directory') {
      const kind = KINDS[header.type] ?? `an entry of the type ${header.type}`;
      unfit ??= invalid(path, `${JSON.stringify(name)}, which is ${kind}`, 'regular files and folders only');
    }
    extended = undefined;
    at = next;
  }
}

const KINDS: Readonly<Record<string, string>> = {
  Link: 'a hard link',
  SymbolicLink: 'a symbolic link',
  CharacterDevice: 'a device',
  BlockDevice: 'a device',
  FIFO: 'a pipe',
};

function readHeader(bytes: Buffer, at: number, extended: Pax | undefined): Header {
  let header: Header;
  try {
    header = new Header(bytes, 0, extended);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new WrongHeader(at, `a header at byte ${at} that cannot be read (${why})`);
  }
  if (!header.nullBlock && !header.cksumValid) throw new WrongHeader(at, `a damaged header at byte ${at}`);
  return header;
}

/** Names are compared with known ones and never used on disk. One that leaves the archive shows that it cannot be trusted. */
function cleanName(path: string, name: string): string {
  const parts = name.split('/').filter(part => part !== '' && part !== '.');
  if (name.startsWith('/') || parts.includes('..'))
    throw invalid(path, `the name ${JSON.stringify(name.slice(0, 200))}`, 'names below the root of the archive');
  return parts.join('/');
}

/** The first bytes of compressed files, in hex, and the program that unpacks them. */
const COMPRESSED: readonly (readonly [string, string])[] = [
  ['1f8b', 'gzip'],
  ['28b52ffd', 'zstd'],
  ['fd377a585a00', 'xz'],
  ['425a68', 'bzip2'],
  ['04224d18', 'lz4'],
];

function requireTar(path: string, files: PartFiles, start: Buffer): void {
  const hex = start.subarray(0, 8).toString('hex');
  const program = COMPRESSED.find(([magic]) => hex.startsWith(magic))?.[1];
  if (program !== undefined)
    throw new LayoutInvalid(`${path} is compressed with ${program}`, {
      subject: path,
      expected: 'an uncompressed tar, which can be read in place',
      found: `${program} data`,
      hint: `Unpack it first: ${program} -d < ${path} > bundle.tar`,
    });
  // Parts that are mixed up may begin with any bytes.
  if (files.paths.length > 1 || start.length === 0 || isHeader(start)) return;
  const begins = start.subarray(0, 24).toString('latin1');
  throw new LayoutInvalid(`${path} is not a tar`, {
    subject: path,
    expected: 'a bundle: a tar, its first part or its .sha256 file, or a folder with an OCI image layout',
    found: `a file that begins with ${JSON.stringify(begins.replace(/\0+/g, ' ').trimEnd())}`,
    hint: begins.startsWith('PK\u0003\u0004')
      ? 'It is a zip archive: unpack it, and name the bundle in it.'
      : 'Check the path, and that the whole bundle was copied.',
  });
}

function isHeader(block: Buffer): boolean {
  try {
    const header = new Header(block);
    return header.nullBlock || header.cksumValid;
  } catch {
    return block.length < BLOCK; // cut off: the end of the data is the error
  }
}

function notALayout(path: string, spans: ReadonlyMap<string, Span>, missing: string): LayoutInvalid {
  const names = [...spans.keys()];
  const isDockerSave = names.includes('manifest.json');
  const folder = names.find(name => name.endsWith('/oci-layout'))?.slice(0, -'/oci-layout'.length);
  const packed = names.find(name => /\.tar(?:\.\d{3,5})?$/.test(name));
  const hint = isDockerSave
    ? 'Write the bundle with plugin-mirror bundle, or with skopeo copy … oci-archive:FILE.'
    : folder !== undefined
      ? `The layout is in the folder ${folder}: unpack the archive, and name that folder.`
      : packed !== undefined
        ? `Unpack the archive, and name ${packed}.`
        : 'Write the bundle with plugin-mirror bundle.';
  return new LayoutInvalid(
    isDockerSave ? `${path} was written by docker save` : `${path} is a tar, but not an OCI image layout`,
    {
      subject: path,
      expected: 'oci-layout, index.json and blobs/ at the root of the archive',
      found: `no ${missing}; it contains ${names.slice(0, 5).join(', ') || 'no files'}`,
      hint,
    },
  );
}

function endsEarly(path: string, files: PartFiles, at: number, name?: string): LayoutInvalid {
  return new LayoutInvalid(`${path} ends early`, {
    subject: path,
    expected: name === undefined ? 'the end mark of a tar' : `all bytes of ${name}`,
    found: `the end of the data at byte ${files.size}, in the entry that begins at byte ${at}`,
    hint: 'The file is cut off, or its last parts are missing: copy the whole bundle again.',
  });
}
