import type { Readable, Transform } from 'node:stream';
import zlib from 'node:zlib';
import { isGzip, isZstd, SNIFF_BYTES } from '../module/moduleContent.ts';
import { LayerTooLarge } from '../module/moduleFile.ts';
import { LayerCorrupt, LayerHostile } from './errors.ts';

export interface InflatedLayer {
  readonly compression: 'none' | 'gzip' | 'zstd';
  /** Up to the first 512 bytes of the content. */
  readonly head: Buffer;
  /** The whole content, `head` included. Read it to its end before using any of it. */
  readonly chunks: AsyncIterable<Buffer>;
}

/** How many bytes the layers of one image may still inflate to, together; inflateLayer counts it down. */
export interface InflateBudget {
  leftBytes: number;
}

/** Bytes that the layers of one image may inflate to: enough for a plugin of 256 MiB on a base image, too few for a bomb. */
export const INFLATE_LIMIT_BYTES = 1024 * 1024 * 1024;

/**
 * Detects the compression of a layer from its first bytes and inflates gzip (several members included, RFC 1952, 2.2) or zstd
 * (RFC 8878). If the compressed data is damaged, the source is still read to its end: a wrong digest, which the source reports
 * there, is the better error. Memory use is bounded. The caller destroys the source.
 * @param label names the layer in errors @throws LayerCorrupt, LayerTooLarge, LayerHostile, and any error of the source
 */
export async function inflateLayer(
  source: Readable,
  subject: string,
  label: string,
  budget: InflateBudget = { leftBytes: INFLATE_LIMIT_BYTES },
): Promise<InflatedLayer> {
  const stored = await peek(bytesOf(source), 4);
  const compression = isGzip(stored.head) ? 'gzip' : isZstd(stored.head) ? 'zstd' : 'none';
  const inflated = await peek(
    capped(inflate(compression, stored.chunks, subject, label), subject, label, budget),
    SNIFF_BYTES,
  );
  return { compression, ...inflated };
}

const CHUNK_BYTES = 256 * 1024;
// At worst fzstd inflates one slice to 128 MiB (64 run-length blocks of 2 MiB).
const ZSTD_SLICE_BYTES = 256;
// For every tiny zstd block fzstd moves its whole window, up to 32 MiB.
const MAX_TINY_BLOCKS = 20_000;
const TINY_BLOCK_BYTES = 1024;

function inflate(
  compression: InflatedLayer['compression'],
  stored: AsyncIterable<Buffer>,
  subject: string,
  label: string,
): AsyncIterable<Buffer> {
  if (compression === 'none') return stored;
  const corrupt = (cause: unknown) =>
    new LayerCorrupt(`${subject}: ${label} is damaged ${compression} data: ${messageOf(cause)}`, {
      subject,
      expected: `complete ${compression} data`,
      found: messageOf(cause),
      hint: 'The digest is right, so the layer was damaged before it was pushed. Push the image again.',
      cause,
    });
  if (compression === 'gzip') return through(zlib.createGunzip({ chunkSize: CHUNK_BYTES }), stored, corrupt);
  return unzstd(stored, corrupt, subject, label);
}

/** Not `pipeline`: it would wait forever for an engine that has stopped at padding after the compressed data. */
async function* through(
  engine: Transform,
  stored: AsyncIterable<Buffer>,
  corrupt: (cause: unknown) => LayerCorrupt,
): AsyncGenerator<Buffer> {
  const feed = new Feed(engine, stored);
  try {
    for await (const chunk of engine) yield chunk as Buffer;
    await feed.done;
  } catch (error) {
    await feed.done; // throws the error of the source, if there is one
    throw corrupt(error);
  } finally {
    feed.stop();
  }
}

class Feed {
  /** Resolves or rejects at the end of the source, even if the engine fails before. */
  readonly done: Promise<void>;
  readonly #engine: Transform;
  #over = false;
  #wake: () => void = () => {};

  constructor(engine: Transform, stored: AsyncIterable<Buffer>) {
    this.#engine = engine;
    const wake = () => this.#wake();
    const over = () => {
      this.#over = true;
      this.#wake();
    };
    engine.on('drain', wake).on('end', over).on('error', over).on('close', over);
    this.done = this.#run(stored);
    this.done.catch(() => {}); // through() awaits it; the error of an abandoned layer is not needed
  }

  stop(): void {
    this.#over = true;
    this.#engine.destroy();
    this.#wake();
  }

  async #run(stored: AsyncIterable<Buffer>): Promise<void> {
    try {
      for await (const chunk of stored) {
        if (this.#over || this.#engine.write(chunk)) continue;
        await new Promise<void>(resolve => {
          this.#wake = resolve;
        });
      }
      if (!this.#over) this.#engine.end();
    } catch (error) {
      this.#engine.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }
}

/**
 * Uses fzstd on every Node: Node 20 has no zstd, and Node 24's decoder stops without an error after the first frame, while
 * zstd:chunked layers have many. fzstd is synchronous: small slices bound what one call inflates.
 */
async function* unzstd(
  stored: AsyncIterable<Buffer>,
  corrupt: (cause: unknown) => LayerCorrupt,
  subject: string,
  label: string,
): AsyncGenerator<Buffer> {
  const { Decompress } = await import('fzstd');
  let ready: Buffer[] = [];
  let tinyBlocks = 0;
  const engine = new Decompress(block => {
    if (block.length < TINY_BLOCK_BYTES && ++tinyBlocks > MAX_TINY_BLOCKS)
      throw new LayerHostile(
        `${subject}: ${label} is zstd data with more than ${MAX_TINY_BLOCKS} tiny blocks, which take too long to inflate`,
        {
          subject,
          expected: `at most ${MAX_TINY_BLOCKS} zstd blocks of less than ${TINY_BLOCK_BYTES} bytes`,
          found: 'more',
          hint: 'Push the image with gzip layers.',
        },
      );
    if (block.length > 0) ready.push(Buffer.from(block.buffer, block.byteOffset, block.byteLength));
  });
  let broken: unknown;
  const push = (slice: Buffer, final: boolean) => {
    try {
      engine.push(slice, final);
    } catch (error) {
      if (error instanceof LayerHostile) throw error;
      broken = error ?? new Error('bad data');
    }
  };
  for await (const chunk of stored) {
    for (let at = 0; at < chunk.length && broken === undefined; at += ZSTD_SLICE_BYTES) {
      push(chunk.subarray(at, at + ZSTD_SLICE_BYTES), false);
      if (ready.length > 0) {
        yield* ready;
        ready = [];
      }
    }
  }
  if (broken === undefined) push(Buffer.alloc(0), true);
  if (broken !== undefined) throw corrupt(broken);
  yield* ready;
}

async function* capped(
  chunks: AsyncIterable<Buffer>,
  subject: string,
  label: string,
  budget: InflateBudget,
): AsyncGenerator<Buffer> {
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
    yield chunk;
  }
}

async function* bytesOf(source: Readable): AsyncGenerator<Buffer> {
  for await (const chunk of source) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
}

/** Reads `wanted` bytes, or all of a shorter stream, and returns them with an iterable over the whole stream. */
async function peek(
  chunks: AsyncGenerator<Buffer> | AsyncIterable<Buffer>,
  wanted: number,
): Promise<{ head: Buffer; chunks: AsyncIterable<Buffer> }> {
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
  return { head: Buffer.concat(first).subarray(0, wanted), chunks: all() };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
