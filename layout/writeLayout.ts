import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { compareText } from '../base/canonicalJson.ts';
import { type Digest, isDigest } from '../base/digest.ts';
import { isRecord } from '../base/shape.ts';
import { blobPath, digestOfPath } from './digest.ts';
import { LayoutBlobDamaged, LayoutNotWritable } from './errors.ts';
import { formatIndex, type LayoutIndex } from './layoutIndex.ts';
import { MAX_MANIFEST_BYTES, parseManifestDocument } from './manifestDocument.ts';
import { type ByteSink, guarded, TemporaryFile } from './partWriter.ts';
import { END_OF_TAR, fileHeader, paddingOf } from './tarWriter.ts';

export const LAYOUT_VERSION = '{"imageLayoutVersion":"1.0.0"}\n';

/** A stream whose bytes can also be copied with buffers that are used again and again, which costs no garbage collection. */
export interface CopyStream extends Readable {
  /**
   * Reads all bytes in place of the stream's reader, and destroys the stream.
   * @param take gets a piece, which is valid until the promise is fulfilled
   * @param buffers of the same size; no other copy may use them meanwhile
   */
  copyTo(take: (piece: Buffer) => Promise<void>, buffers: readonly [Buffer, Buffer]): Promise<void>;
}

/** A blob to be written. It is opened a little before its turn comes. */
export interface BlobSource {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** True if `open`, or the stream that it returns, compares the bytes with the digest. Default: the writer compares them. */
  readonly isVerified?: boolean;
  open(signal: AbortSignal): Promise<Readable | Buffer>;
}

/** So many blobs are opened before their turn: those that a registry has are downloaded meanwhile. */
const OPENED_AHEAD = 8;

export interface LayoutContent {
  readonly index: LayoutIndex;
  /** In any order; each digest once. A delta leaves out blobs that the receiver has. */
  readonly blobs: readonly BlobSource[];
}

/** Called after each piece of a blob. */
export type OnBytes = (digest: Digest, writtenBytes: number) => void;

/**
 * Writes a layout as one tar: `oci-layout`, `index.json`, then the blobs sorted by digest, as plain regular files. The same
 * content gives the same bytes. The caller finishes or abandons the sink.
 * @throws LayoutBlobDamaged if a source gives other bytes than its digest and size
 */
export async function writeTarLayout(
  content: LayoutContent,
  sink: ByteSink,
  signal: AbortSignal,
  onBytes: OnBytes = () => undefined,
): Promise<void> {
  const writeFile = async (path: string, bytes: Buffer): Promise<void> => {
    await sink.write(Buffer.concat([fileHeader(path, bytes.length), bytes, Buffer.alloc(paddingOf(bytes.length))]));
  };
  await writeFile('oci-layout', Buffer.from(LAYOUT_VERSION));
  await writeFile('index.json', Buffer.from(formatIndex(content.index)));
  const buffers = copyBuffers();
  for await (const { blob, source } of openedAhead(sorted(content.blobs), signal)) {
    await sink.write(fileHeader(blobPath(blob.digest), blob.size));
    await copyVerified(blob, source, piece => sink.write(piece), signal, onBytes, buffers);
    if (paddingOf(blob.size) > 0) await sink.write(Buffer.alloc(paddingOf(blob.size)));
  }
  await sink.write(END_OF_TAR);
}

/**
 * Writes a layout as a folder. Blobs that exist already with the right size are kept. `index.json` is replaced after all blobs
 * are written, so that a reader sees the old content or the new; then the blobs that only the old one led to are removed.
 * Of two runs at the same time, the one that began first ends without replacing index.json and without removing blobs.
 * @throws LayoutBlobDamaged, LayoutNotWritable
 */
export async function writeFolderLayout(
  content: LayoutContent,
  path: string,
  signal: AbortSignal,
  onBytes: OnBytes = () => undefined,
): Promise<void> {
  await requireLayoutFolder(path);
  await guarded(path, () => mkdir(path, { recursive: true }));
  await replaceFile(join(path, 'oci-layout'), write => write(LAYOUT_VERSION));
  const index = await TemporaryFile.create(join(path, 'index.json'));
  try {
    const blobs = sorted(content.blobs);
    let missing = await missingIn(path, blobs);
    const absent = new Set(missing);
    for (const blob of blobs) if (!absent.has(blob)) onBytes(blob.digest, blob.size);
    const buffers = copyBuffers();
    // A run that has just ended may have removed blobs that were there a moment ago.
    for (; missing.length > 0; missing = await missingIn(path, blobs))
      for await (const { blob, source } of openedAhead(missing, signal)) {
        const file = join(path, blobPath(blob.digest));
        await guarded(file, () => mkdir(dirname(file), { recursive: true }));
        await replaceFile(file, write => copyVerified(blob, source, write, signal, onBytes, buffers));
      }
    await guarded(index.path, () => index.handle.writeFile(formatIndex(content.index)));
    await guarded(index.path, () => index.handle.sync());
    await index.publish();
  } finally {
    await index.abandon();
  }
  await removeUnreachable(content, path);
}

async function missingIn(path: string, blobs: readonly BlobSource[]): Promise<BlobSource[]> {
  const missing: BlobSource[] = [];
  for (const blob of blobs) {
    const present = await stat(join(path, blobPath(blob.digest))).catch(() => undefined);
    if (present?.isFile() !== true || present.size !== blob.size) missing.push(blob);
  }
  return missing;
}

/** Removes the blobs that neither the content nor a manifest that its index leads to names: an older layout left them. */
async function removeUnreachable({ index, blobs }: LayoutContent, path: string): Promise<void> {
  const reached = new Set(blobs.map(({ digest }) => digest));
  const manifests = new Set(index.entries.map(({ digest }) => digest));
  // Digests are added while the loop runs. A delta's index names manifests that its base has put into the folder.
  for (const manifest of manifests) {
    reached.add(manifest);
    const file = join(path, blobPath(manifest));
    const size = await stat(file).then(
      info => (info.isFile() ? info.size : 0),
      () => 0,
    );
    if (size === 0 || size > MAX_MANIFEST_BYTES) continue;
    const { config, layers, manifests: children } = parseManifestDocument(await guarded(file, () => readFile(file)));
    for (const digest of digestsIn([config, layers])) reached.add(digest);
    for (const digest of digestsIn([children])) manifests.add(digest);
  }
  const folder = join(path, 'blobs');
  await guarded(folder, () => mkdir(folder, { recursive: true }));
  const files = await guarded(folder, () => readdir(folder, { recursive: true, withFileTypes: true }));
  for (const { name, parentPath } of files.filter(it => it.isFile())) {
    const digest = digestOfPath(`blobs/${basename(parentPath)}/${name}`);
    if (digest === undefined || reached.has(digest)) continue;
    // The next run needs other blobs, and removes those that it does not need.
    if (await TemporaryFile.isWritten(join(path, 'index.json'))) return;
    const file = join(path, blobPath(digest));
    await guarded(file, () => rm(file, { force: true }));
  }
}

/** The digests of descriptors, and of lists of them. */
function digestsIn(value: unknown): Digest[] {
  if (Array.isArray(value)) return value.flatMap(digestsIn);
  return isRecord(value) && isDigest(value.digest) ? [value.digest] : [];
}

/**
 * Requires that a folder is missing, empty or a layout: a layout's index.json would replace that of a plugin tree, for example.
 * Hidden files and a volume's lost+found do not count. @throws LayoutNotWritable
 */
export async function requireLayoutFolder(path: string): Promise<void> {
  const names = await readdir(path).catch((): string[] => []);
  const others = names.filter(name => !name.startsWith('.') && name !== 'lost+found');
  if (others.length === 0 || names.includes('oci-layout')) return;
  throw new LayoutNotWritable(`${path} is a folder with other files`, {
    subject: path,
    expected: 'a folder that is new, empty or a bundle',
    found: `${others.slice(0, 3).join(', ')}${others.length > 3 ? ' and more' : ''}`,
    hint: 'Choose another folder with --out, or a file whose name ends in .tar.',
  });
}

function sorted(blobs: readonly BlobSource[]): BlobSource[] {
  return [...blobs].sort((one, other) => compareText(one.digest, other.digest));
}

interface OpenBlob {
  readonly blob: BlobSource;
  readonly source: Readable | Buffer;
}

/** Yields the blobs in their order, each opened while those before it are written. */
async function* openedAhead(blobs: readonly BlobSource[], signal: AbortSignal): AsyncGenerator<OpenBlob> {
  const ahead: Promise<OpenBlob>[] = [];
  try {
    for (const [at, first] of blobs.entries()) {
      if (at === 0) ahead.push(opened(first, signal));
      for (let next = at + ahead.length; ahead.length <= OPENED_AHEAD && next < blobs.length; next++) {
        const blob = blobs[next];
        if (blob !== undefined) ahead.push(opened(blob, signal));
      }
      const open = ahead.shift();
      if (open !== undefined) yield await open;
    }
  } finally {
    for (const rest of await Promise.allSettled(ahead))
      if (rest.status === 'fulfilled' && !Buffer.isBuffer(rest.value.source)) rest.value.source.destroy();
  }
}

function opened(blob: BlobSource, signal: AbortSignal): Promise<OpenBlob> {
  const opening = blob.open(signal).then(source => ({ blob, source }));
  opening.catch(() => undefined); // its turn reports the error
  return opening;
}

/** `fill` writes the content. The file has its name when all of it is on the disk. */
async function replaceFile(
  path: string,
  fill: (write: (piece: Buffer | string) => Promise<void>) => Promise<void>,
): Promise<void> {
  const file = await TemporaryFile.create(path);
  try {
    await fill(piece => guarded(path, () => file.handle.writeFile(piece)));
    await guarded(path, () => file.handle.sync());
    await file.publish();
  } finally {
    await file.abandon();
  }
}

async function copyVerified(
  blob: BlobSource,
  source: Readable | Buffer,
  write: (piece: Buffer) => Promise<void>,
  signal: AbortSignal,
  onBytes: OnBytes,
  buffers: readonly [Buffer, Buffer],
): Promise<void> {
  const [algorithm = '', hex] = blob.digest.split(':');
  const hash = blob.isVerified === true ? undefined : createHash(algorithm);
  let written = 0;
  const take = async (piece: Buffer): Promise<void> => {
    signal.throwIfAborted();
    written += piece.length;
    if (written > blob.size) throw wrongBytes(blob, `more than ${blob.size} bytes`);
    hash?.update(piece);
    await write(piece);
    onBytes(blob.digest, written);
  };
  if (Buffer.isBuffer(source)) await take(source);
  else if (isCopyStream(source)) await source.copyTo(take, buffers);
  else for await (const piece of source) await take(piece as Buffer);
  if (written !== blob.size) throw wrongBytes(blob, `${written} of ${blob.size} bytes`);
  const found = hash?.digest('hex');
  if (found !== undefined && found !== hex) throw wrongBytes(blob, `${algorithm}:${found}`);
}

const COPY_BYTES = 512 * 1024;

function copyBuffers(): readonly [Buffer, Buffer] {
  return [Buffer.allocUnsafeSlow(COPY_BYTES), Buffer.allocUnsafeSlow(COPY_BYTES)];
}

function isCopyStream(source: Readable): source is CopyStream {
  return 'copyTo' in source;
}

function wrongBytes(blob: BlobSource, found: string): LayoutBlobDamaged {
  return new LayoutBlobDamaged(`The blob ${blob.digest} has other bytes than its digest says`, {
    subject: blob.digest,
    expected: `${blob.digest}, ${blob.size} bytes`,
    found,
    hint: 'Run the command again; if it fails again, look at the disk that holds the cache.',
  });
}
