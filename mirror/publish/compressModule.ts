import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import zlib from 'node:zlib';
import type { Coding } from '../../tree/version/codings.ts';

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
export async function compressModule(
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
    createReadStream(from, { highWaterMark: READ_BYTES }),
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
