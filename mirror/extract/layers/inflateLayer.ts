import type { Readable, Transform } from 'node:stream';
import zlib from 'node:zlib';
import { isGzip, isZstd, SNIFF_BYTES } from '../module/moduleContent.ts';
import { LayerCorrupt, LayerHostile, LayerTooLarge } from './layerRefusals.ts';

export interface InflatedLayer {
  readonly compression: 'none' | 'gzip' | 'zstd';
  /** Up to 512 bytes of what is inside. */
  readonly head: Buffer;
  /** Everything inside, `head` included. It must be read to its end before any of it counts. */
  readonly chunks: AsyncIterable<Buffer>;
}

/** How much the layers of one image may still inflate to, all together; inflateLayer counts it down. */
export interface InflateBudget {
  leftBytes: number;
}

/** Bytes that one image's layers may inflate to: room for a plugin of 256 MiB on a base image, too little for a bomb to hurt. */
export const INFLATE_LIMIT_BYTES = 1024 * 1024 * 1024;

/**
 * Looks at a layer's own first bytes and undoes gzip (members in a row included, RFC 1952, 2.2) or zstd (RFC 8878). When the
 * compressed data is bad, the source is read to its end all the same: a wrong digest is the better explanation, and it comes
 * with the source's end. Memory stays flat. The caller destroys the source.
 * @param place names the layer in errors @throws LayerCorrupt, LayerTooLarge, LayerHostile, and whatever the source throws
 */
export async function inflateLayer(
  source: Readable,
  subject: string,
  place: string,
  budget: InflateBudget = { leftBytes: INFLATE_LIMIT_BYTES },
): Promise<InflatedLayer> {
  const stored = await peek(bytesOf(source), 4);
  const compression = isGzip(stored.head) ? 'gzip' : isZstd(stored.head) ? 'zstd' : 'none';
  const inflated = await peek(
    capped(undo(compression, stored.chunks, subject, place), subject, place, budget),
    SNIFF_BYTES,
  );
  return { compression, ...inflated };
}

const CHUNK_BYTES = 256 * 1024;
// One slice of this size can make fzstd put out 128 MiB at worst (64 run-length blocks of 2 MiB).
const ZSTD_SLICE_BYTES = 256;
// A zstd block of next to nothing costs fzstd a move of its whole window, up to 32 MiB.
const MAX_TINY_BLOCKS = 20_000;
const TINY_BLOCK_BYTES = 1024;

function undo(
  compression: InflatedLayer['compression'],
  stored: AsyncIterable<Buffer>,
  subject: string,
  place: string,
): AsyncIterable<Buffer> {
  if (compression === 'none') return stored;
  const corrupt = (cause: unknown) =>
    new LayerCorrupt(`${subject}: ${place} is damaged ${compression} data: ${messageOf(cause)}`, {
      subject,
      expected: `whole ${compression} data`,
      found: messageOf(cause),
      hint: 'The layer was damaged before it was pushed: push the image again.',
      cause,
    });
  if (compression === 'gzip') return through(zlib.createGunzip({ chunkSize: CHUNK_BYTES }), stored, corrupt);
  return unzstd(stored, corrupt, subject, place);
}

/** Pumps by hand: `pipeline` would wait forever for an engine that has stopped at padding after the compressed data. */
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
    await feed.done; // throws the source's own error, if there is one
    throw corrupt(error);
  } finally {
    feed.stop();
  }
}

class Feed {
  /** Settles at the source's end, whatever becomes of the engine. */
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
    this.done.catch(() => {}); // told by whoever awaits it; an abandoned layer has nobody to tell
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
 * fzstd, on every Node: 20 has no zstd, and 24's decoder stops without an error after the first frame, where zstd:chunked
 * layers have many. It works synchronously: small slices keep what one of them can inflate to in bounds.
 */
async function* unzstd(
  stored: AsyncIterable<Buffer>,
  corrupt: (cause: unknown) => LayerCorrupt,
  subject: string,
  place: string,
): AsyncGenerator<Buffer> {
  const { Decompress } = await import('fzstd');
  let ready: Buffer[] = [];
  let tinyBlocks = 0;
  const engine = new Decompress(block => {
    if (block.length < TINY_BLOCK_BYTES && ++tinyBlocks > MAX_TINY_BLOCKS)
      throw new LayerHostile(`${subject}: ${place} is zstd data of more than ${MAX_TINY_BLOCKS} tiny blocks`, {
        subject,
        expected: 'zstd blocks of a useful size',
        found: `more than ${MAX_TINY_BLOCKS} blocks below ${TINY_BLOCK_BYTES} bytes`,
        hint: 'Push the image with gzip layers.',
      });
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
  place: string,
  budget: InflateBudget,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    budget.leftBytes -= chunk.length;
    if (budget.leftBytes < 0)
      throw new LayerTooLarge(
        `${subject}: ${place} inflates beyond ${INFLATE_LIMIT_BYTES} bytes (1 GiB), which is the most for the layers of an image`,
        {
          subject,
          expected: `at most ${INFLATE_LIMIT_BYTES} bytes in the layers that must be read`,
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

/** Reads until `wanted` bytes are there or the end, and gives them back together with everything that follows. */
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
