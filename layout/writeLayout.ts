import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { compareText } from '../base/canonicalJson.ts';
import { LayoutBlobDamaged } from './errors.ts';
import { blobPath, type LayoutDigest } from './layout.ts';
import { formatIndex, type LayoutIndex } from './layoutIndex.ts';
import type { ByteSink } from './partWriter.ts';
import { END_OF_TAR, fileHeader, paddingOf } from './tarWriter.ts';

export const LAYOUT_VERSION = '{"imageLayoutVersion":"1.0.0"}\n';

/** A blob to be written. It is opened when its turn comes, and its bytes are compared with its digest. */
export interface BlobSource {
  readonly digest: LayoutDigest;
  /** In bytes. */
  readonly size: number;
  open(signal: AbortSignal): Promise<Readable | Buffer>;
}

export interface LayoutContent {
  readonly index: LayoutIndex;
  /** In any order; each digest once. A delta leaves out blobs that the receiver has. */
  readonly blobs: readonly BlobSource[];
}

/** Called after each piece of a blob. */
export type OnBytes = (digest: LayoutDigest, writtenBytes: number) => void;

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
  for (const blob of sorted(content.blobs)) {
    await sink.write(fileHeader(blobPath(blob.digest), blob.size));
    await copyVerified(blob, piece => sink.write(piece), signal, onBytes);
    if (paddingOf(blob.size) > 0) await sink.write(Buffer.alloc(paddingOf(blob.size)));
  }
  await sink.write(END_OF_TAR);
}

/**
 * Writes a layout as a folder. Blobs that exist already with the right size are kept; `index.json` is replaced last, so that
 * a reader sees the old content or the new.
 * @throws LayoutBlobDamaged
 */
export async function writeFolderLayout(
  content: LayoutContent,
  path: string,
  signal: AbortSignal,
  onBytes: OnBytes = () => undefined,
): Promise<void> {
  await mkdir(path, { recursive: true });
  await replaceFile(join(path, 'oci-layout'), handle => handle.writeFile(LAYOUT_VERSION));
  for (const blob of sorted(content.blobs)) {
    const file = join(path, blobPath(blob.digest));
    const present = await stat(file).catch(() => undefined);
    if (present?.isFile() === true && present.size === blob.size) continue;
    await mkdir(dirname(file), { recursive: true });
    await replaceFile(file, async handle => {
      await copyVerified(blob, async piece => void (await handle.writeFile(piece)), signal, onBytes);
    });
  }
  await replaceFile(join(path, 'index.json'), handle => handle.writeFile(formatIndex(content.index)));
}

function sorted(blobs: readonly BlobSource[]): BlobSource[] {
  return [...blobs].sort((one, other) => compareText(one.digest, other.digest));
}

async function replaceFile(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${path}.tmp`;
  const handle = await open(temporary, 'w', 0o644);
  try {
    await write(handle);
    await handle.sync();
    await handle.close();
    await rename(temporary, path);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
}

async function copyVerified(
  blob: BlobSource,
  write: (piece: Buffer) => Promise<void>,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  const [algorithm = '', hex] = blob.digest.split(':');
  const hash = createHash(algorithm);
  let written = 0;
  const take = async (piece: Buffer): Promise<void> => {
    signal.throwIfAborted();
    written += piece.length;
    if (written > blob.size) throw wrongBytes(blob, `more than ${blob.size} bytes`);
    hash.update(piece);
    await write(piece);
    onBytes(blob.digest, written);
  };
  const source = await blob.open(signal);
  if (Buffer.isBuffer(source)) await take(source);
  else for await (const piece of source) await take(piece as Buffer);
  if (written !== blob.size) throw wrongBytes(blob, `${written} of ${blob.size} bytes`);
  const found = hash.digest('hex');
  if (found !== hex) throw wrongBytes(blob, `${algorithm}:${found}`);
}

function wrongBytes(blob: BlobSource, found: string): LayoutBlobDamaged {
  return new LayoutBlobDamaged(`The blob ${blob.digest} has other bytes than its digest says`, {
    subject: blob.digest,
    expected: `${blob.digest}, ${blob.size} bytes`,
    found,
    hint: 'Run the command again; if it fails again, look at the disk that holds the cache.',
  });
}
