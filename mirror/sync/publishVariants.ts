import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import zlib from 'node:zlib';
import pMap from 'p-map';
import { openReadStream } from '../../base/errno.ts';
import { asError } from '../../base/refusal.ts';
import { asTreeRefusal, TreeDiskFull } from '../../tree/errors.ts';
import { diskFullError } from '../../tree/freeSpace.ts';
import { MODULE_FILE } from '../../tree/names.ts';
import type { PublishingTree } from '../../tree/publish/publishingTree.ts';
import { type Coding, hasVariants, variantFile, variantsOf } from '../../tree/version/codings.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { Done } from '../report.ts';
import type { Session } from '../session.ts';

/**
 * Publishes versions again that lack a compressed form of their module, or have one that is no longer asked for: the tree
 * follows from the manifest and the options, not from earlier runs. Nothing is downloaded. One module per processor is in
 * work. A stopped run leaves the rest as it is, and the next run completes it.
 */
export async function publishVariants(
  done: readonly Done[],
  codings: readonly Coding[],
  tree: PublishingTree,
  session: Session,
): Promise<Done[]> {
  const unfit = done.filter(({ metadata }) => metadata !== undefined && !hasVariants(metadata, codings));
  if (unfit.length > 0 && codings.length > 0) session.onEvent({ type: 'compressing', versions: unfit.length });
  const revise = async (one: Done): Promise<Done> => {
    const { metadata, outcome } = one;
    if (metadata === undefined || session.signal.aborted) return one;
    try {
      return { outcome, metadata: await withVariants(metadata, codings, tree, session.signal) };
    } catch (error) {
      if (session.signal.aborted) return one;
      // The version that was published stays, and is served uncompressed.
      const reason = asError(error);
      const failed: Done = { metadata, outcome: { ...outcome, status: 'failed', error: reason } };
      session.onEvent({ type: 'finished', outcome: failed.outcome });
      return failed;
    }
  };
  const revised = new Map<Done, Done>();
  await pMap(unfit, async one => revised.set(one, await revise(one)), { concurrency: availableParallelism() });
  return done.map(one => revised.get(one) ?? one);
}

async function withVariants(
  metadata: PublishedVersion,
  codings: readonly Coding[],
  tree: PublishingTree,
  signal: AbortSignal,
): Promise<PublishedVersion> {
  const wanted = new Set(codings.map(variantFile));
  const unwanted = new Set(variantsOf(metadata).filter(file => !wanted.has(file)));
  const staged = await tree.stageCopy(metadata, unwanted);
  try {
    const files = Object.fromEntries(Object.entries(metadata.files).filter(([file]) => !unwanted.has(file)));
    for (const coding of codings) {
      const file = variantFile(coding);
      if (files[file] !== undefined) continue;
      const module = join(staged.dir, MODULE_FILE);
      files[file] = await compressModule(module, join(staged.dir, file), coding, metadata.sizeBytes, signal);
    }
    const revised = { ...metadata, files };
    await tree.publish(staged, revised);
    return revised;
  } catch (error) {
    await tree.requireLock();
    await tree.discard(staged);
    const refusal = asTreeRefusal(error, staged.dir);
    if (!(refusal instanceof TreeDiskFull) || refusal.expected !== undefined) throw refusal;
    throw await diskFullError(tree.treeDir, metadata.sizeBytes, { cause: refusal.cause, isLeast: true });
  }
}

const READ_BYTES = 512 * 1024;
/** RFC 1952, 2.3: the byte of a gzip header for the operating system, and its value for "unknown". */
const GZIP_SYSTEM = 9;
const UNKNOWN_SYSTEM = 255;
/** ZSTD_c_compressionLevel (zstd.h); a constant that Node 20 has no name for. */
const ZSTD_LEVEL = 100;

/**
 * Writes `from` in a coding to the new file `to`, in zlib's threads. The bytes follow from those of `from`, the release
 * line of Node (its zlib) and the kind of processor alone: no time, no system, no file name is among them.
 */
async function compressModule(
  from: string,
  to: string,
  coding: Coding,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<{ readonly sha256: string; readonly sizeBytes: number }> {
  const hash = createHash('sha256');
  let written = 0;
  const normalize = new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback): void {
      if (coding === 'gzip' && written <= GZIP_SYSTEM && written + chunk.length > GZIP_SYSTEM)
        chunk[GZIP_SYSTEM - written] = UNKNOWN_SYSTEM;
      written += chunk.length;
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline(
    openReadStream(from, { highWaterMark: READ_BYTES }),
    compressor(coding, sizeBytes),
    normalize,
    createWriteStream(to, { flags: 'wx', mode: 0o644 }),
    { signal },
  );
  return { sha256: hash.digest('hex'), sizeBytes: written };
}

/** Levels from which on a module shrinks by little more than a hundredth, at many times the work (docs/performance.md). */
function compressor(coding: Coding, sizeBytes: number): Transform {
  if (coding === 'gzip') return zlib.createGzip({ level: 9, chunkSize: READ_BYTES });
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT } = zlib.constants;
  if (coding === 'br') {
    const params = { [BROTLI_PARAM_QUALITY]: 9, [BROTLI_PARAM_LGWIN]: 22, [BROTLI_PARAM_SIZE_HINT]: sizeBytes };
    return zlib.createBrotliCompress({ params, chunkSize: READ_BYTES });
  }
  const create: unknown = Reflect.get(zlib, 'createZstdCompress');
  const made: unknown =
    typeof create === 'function' ? create({ params: { [ZSTD_LEVEL]: 15 }, chunkSize: READ_BYTES }) : undefined;
  if (made instanceof Transform) return made;
  throw new Error('This Node has no zstd (22.15 is the first that has)');
}
