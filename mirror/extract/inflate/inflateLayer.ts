import type { Readable } from 'node:stream';
import zlib from 'node:zlib';
import { LoopTurn } from '../../../base/eventLoop.ts';
import { asError, Refusal } from '../../../base/refusal.ts';
import { LayerCorrupt } from '../layers/errors.ts';
import { INFLATE_LIMIT_BYTES } from '../layers/openedLayers.ts';
import { isGzip, isZstd, SNIFF_BYTES } from '../module/moduleContent.ts';
import { LayerTooLarge } from '../module/moduleFile.ts';
import { inflateZstd, through, ZSTD_WORK } from './inflateZstd.ts';

export interface InflatedLayer {
  readonly compression: 'none' | 'gzip' | 'zstd';
  /** Up to the first 512 bytes of the content. */
  readonly head: Buffer;
  /** The whole content, `head` included. Read it to its end before using any of it. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Ends the inflating, even if `chunks` was never read. */
  close(): Promise<void>;
}

/** The remaining budget of all layers of one image; inflateLayer counts it down. */
export interface InflateBudget {
  /** Inflated bytes. */
  leftBytes: number;
  /** Work of zstd's decoder (see ZSTD_WORK). */
  leftWork: number;
}

export function newInflateBudget(): InflateBudget {
  return { leftBytes: INFLATE_LIMIT_BYTES, leftWork: ZSTD_WORK };
}

/**
 * Detects the compression of a layer from its first bytes and inflates gzip (several members included, RFC 1952, 2.2) or zstd
 * (RFC 8878). If the compressed data is damaged, the source is still read to its end: a wrong digest, which the source reports
 * there, is the better error. Memory and the time between two turns of the event loop are bounded. The caller destroys the source
 * and calls `close`.
 * @param label names the layer in errors
 * @param signal ends the inflating. Destroying the source does not: all of a small layer is in memory by then
 * @throws LayerCorrupt, LayerTooLarge, LayerHostile, the signal's reason, any error of the source
 */
export async function inflateLayer(
  source: Readable,
  subject: string,
  label: string,
  signal: AbortSignal,
  budget: InflateBudget = newInflateBudget(),
): Promise<InflatedLayer> {
  const stored = await peek(bytesOf(source), 4);
  const compression = isGzip(stored.head) ? 'gzip' : isZstd(stored.head) ? 'zstd' : 'none';
  const inflated = await peek(
    capped(inflate(compression, stored.chunks, subject, label, signal, budget), subject, label, signal, budget),
    SNIFF_BYTES,
  );
  return { compression, ...inflated };
}

const CHUNK_BYTES = 256 * 1024;

async function* inflate(
  compression: InflatedLayer['compression'],
  stored: AsyncIterable<Buffer>,
  subject: string,
  label: string,
  signal: AbortSignal,
  budget: InflateBudget,
): AsyncGenerator<Buffer> {
  if (compression === 'none') {
    yield* stored;
    return;
  }
  const source = new Source(stored);
  try {
    if (compression === 'zstd') yield* inflateZstd(source.chunks(), subject, label, signal, budget);
    else yield* through(zlib.createGunzip({ chunkSize: CHUNK_BYTES }), source.chunks());
  } catch (error) {
    // A limit, an end that was asked for, or an error of the source itself.
    if (error instanceof Refusal || signal.aborted || source.hasFailed) throw error;
    await source.drain();
    const found = asError(error).message;
    throw new LayerCorrupt(`${subject}: ${label} is damaged ${compression} data: ${found}`, {
      subject,
      expected: `complete ${compression} data`,
      found,
      hint: 'The digest is right, so the layer was damaged before it was pushed. Push the image again.',
      cause: error,
    });
  }
}

/** The stored bytes of a layer. Unlike a generator, it can be read on after a decoder has given up. */
class Source {
  readonly #iterator: AsyncIterator<Buffer>;
  hasFailed = false;

  constructor(stored: AsyncIterable<Buffer>) {
    this.#iterator = stored[Symbol.asyncIterator]();
  }

  async *chunks(): AsyncGenerator<Buffer> {
    for (;;) {
      const next = await this.#next();
      if (next.done === true) return;
      yield next.value;
    }
  }

  /** Reads the rest. @throws the errors of the source */
  async drain(): Promise<void> {
    while ((await this.#next()).done !== true);
  }

  async #next(): Promise<IteratorResult<Buffer>> {
    try {
      return await this.#iterator.next();
    } catch (error) {
      this.hasFailed = true;
      throw error;
    }
  }
}

/** Chunks are cut to this size, so that what is done with one of them takes a few milliseconds. */
const PIECE_BYTES = 64 * 1024;

async function* capped(
  chunks: AsyncIterable<Buffer>,
  subject: string,
  label: string,
  signal: AbortSignal,
  budget: InflateBudget,
): AsyncGenerator<Buffer> {
  const turn = new LoopTurn(signal);
  for await (const chunk of chunks) {
    budget.leftBytes -= chunk.length;
    if (budget.leftBytes < 0)
      throw new LayerTooLarge(
        `${subject}: ${label} inflates beyond ${INFLATE_LIMIT_BYTES} bytes (1 GiB), the limit for the layers of one image`,
        {
          subject,
          expected: `at most ${INFLATE_LIMIT_BYTES} bytes in the layers that are read`,
          found: 'more',
          hint: 'Build the plugin image FROM scratch with nothing but plugin.wasm in it.',
        },
      );
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      await turn.rest();
      yield chunk.subarray(at, at + PIECE_BYTES);
    }
  }
}

async function* bytesOf(source: Readable): AsyncGenerator<Buffer> {
  for await (const chunk of source) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
}

/** Reads `wanted` bytes, or all of a shorter stream, and returns them with an iterable over the whole stream. */
async function peek(
  chunks: AsyncIterable<Buffer>,
  wanted: number,
): Promise<{ head: Buffer; chunks: AsyncIterable<Buffer>; close: () => Promise<void> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first: Buffer[] = [];
  let length = 0;
  while (length < wanted) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    length += next.value.length;
  }
  async function* all(): AsyncGenerator<Buffer> {
    try {
      yield* first.splice(0);
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  const close = async (): Promise<void> => void (await iterator.return?.());
  return { head: Buffer.concat(first).subarray(0, wanted), chunks: all(), close };
}
