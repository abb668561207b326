import { Transform } from 'node:stream';
import zlib from 'node:zlib';
import { LoopTurn } from '../../../base/eventLoop.ts';
import { asError } from '../../../base/refusal.ts';
import { LayerHostile } from '../layers/errors.ts';
import { LayerTooLarge } from '../module/moduleFile.ts';
import { ZstdDamaged, type ZstdUnit, zstdUnits } from './zstdFrames.ts';

const MIB = 1024 * 1024;
/** The limit of the zstd command (ZSTD_WINDOWLOG_LIMIT_DEFAULT, 27) and of containerd's decoder. */
const MAX_WINDOW_BYTES = 128 * MIB;
const MAX_WINDOW_LOG = 27;
/** Larger windows, which need `zstd --ultra` or `--long`, are decoded one at a time. RFC 8878 asks decoders for 8 MiB. */
const SHARED_WINDOW_BYTES = 8 * MIB;
/** ZSTD_d_windowLogMax (zstd.h); a constant that Node 20 has no name for. */
const WINDOW_LOG_MAX = 100;
const BATCH_BYTES = 64 * 1024;
const CHUNK_BYTES = 256 * 1024;
/** Blocks of at most 128 KiB of content that are decoded within one turn of the event loop. */
const SMALL_BLOCKS = 8;

/** The least cost of a block and of a frame, in bytes of the window that fzstd moves in the same time. */
const BLOCK_WORK = MIB;
const FRAME_WORK = 2 * MIB;
/** Some seconds: 32,768 frames, 65,536 blocks. A plugin of 256 MiB in a window of 8 MiB takes a quarter of it. */
export const ZSTD_WORK = 64 * 1024 * MIB;

/**
 * Decodes zstd data (RFC 8878), any number of frames. Node's decoder is used where it exists (22.15), otherwise fzstd. Node's
 * stops without an error after the first frame, and neither limits what a header may ask for, so the frames are split here, and
 * a window is judged before a decoder sees its frame.
 * @param label names the layer in errors @throws LayerTooLarge, LayerHostile, ZstdDamaged, the decoder's errors, those of `stored`
 */
export async function* inflateZstd(
  stored: AsyncIterable<Buffer>,
  subject: string,
  label: string,
  budget: { leftWork: number },
): AsyncGenerator<Buffer> {
  const units = zstdUnits(stored);
  const turn = new LoopTurn();
  const create = await decoder();
  try {
    for (let next = await units.next(); next.done !== true; next = await units.next()) {
      const frame = next.value;
      spend(FRAME_WORK);
      await turn.rest();
      if (frame.kind !== 'frame') continue;
      const { windowBytes } = frame;
      if (windowBytes > MAX_WINDOW_BYTES) throw windowError(subject, label, windowBytes);
      const leave = windowBytes > SHARED_WINDOW_BYTES ? await largeWindow() : undefined;
      try {
        yield* create(unitsOfFrame(frame, windowBytes));
      } finally {
        leave?.();
      }
    }
  } finally {
    await units.return(undefined);
  }

  async function* unitsOfFrame(frame: ZstdUnit, windowBytes: number): AsyncGenerator<ZstdUnit> {
    yield frame;
    for (;;) {
      // Here, because many blocks may have no content.
      await turn.rest();
      const { value: unit } = await units.next();
      if (unit === undefined) return;
      if (unit.kind === 'block') spend(Math.max(BLOCK_WORK, isNative() ? 0 : windowBytes));
      yield unit;
      if (unit.kind === 'end') return;
    }
  }

  function spend(work: number): void {
    budget.leftWork -= work;
    if (budget.leftWork < 0) throw workError(subject, label);
  }
}

type Decode = (units: AsyncIterable<ZstdUnit>) => AsyncGenerator<Buffer>;

function isNative(): boolean {
  return typeof Reflect.get(zlib, 'createZstdDecompress') === 'function';
}

async function decoder(): Promise<Decode> {
  if (isNative()) return decodeNatively;
  const { Decompress } = await import('fzstd');
  return units => decodeInScript(units, Decompress);
}

/** A frame of few blocks is decoded by one synchronous call; a longer one in zlib's threads. */
async function* decodeNatively(units: AsyncIterable<ZstdUnit>): AsyncGenerator<Buffer> {
  const start: Buffer[] = [];
  const iterator = units[Symbol.asyncIterator]();
  try {
    for (let blocks = 0; blocks <= SMALL_BLOCKS; ) {
      const { value: unit } = await iterator.next();
      if (unit === undefined) return;
      start.push(unit.bytes);
      if (unit.kind === 'block') blocks++;
      if (unit.kind !== 'end') continue;
      const decode: unknown = Reflect.get(zlib, 'zstdDecompressSync');
      const bytes: unknown =
        typeof decode === 'function'
          ? decode(Buffer.concat(start), { params: { [WINDOW_LOG_MAX]: MAX_WINDOW_LOG } })
          : undefined;
      if (Buffer.isBuffer(bytes)) yield bytes;
      return;
    }
    const make: unknown = Reflect.get(zlib, 'createZstdDecompress');
    const engine: unknown =
      typeof make === 'function'
        ? make({ params: { [WINDOW_LOG_MAX]: MAX_WINDOW_LOG }, chunkSize: CHUNK_BYTES })
        : undefined;
    if (engine instanceof Transform) yield* through(engine, batches(start, iterator));
  } finally {
    await iterator.return?.();
  }
}

/** Joins the units of a frame, because every write to a decoder costs a turn of the event loop. */
async function* batches(start: readonly Buffer[], units: AsyncIterator<ZstdUnit>): AsyncGenerator<Buffer> {
  let batch = [...start];
  let length = 0;
  for (let next = await units.next(); next.done !== true; next = await units.next()) {
    batch.push(next.value.bytes);
    length += next.value.bytes.length;
    if (length < BATCH_BYTES) continue;
    yield Buffer.concat(batch);
    batch = [];
    length = 0;
  }
  if (batch.length > 0) yield Buffer.concat(batch);
}

/** One block for each call: fzstd is synchronous, and moves its whole window after every block. */
async function* decodeInScript(
  units: AsyncIterable<ZstdUnit>,
  Decompress: typeof import('fzstd').Decompress,
): AsyncGenerator<Buffer> {
  let ready: Buffer[] = [];
  const engine = new Decompress(block => {
    if (block.length > 0) ready.push(Buffer.from(block.buffer, block.byteOffset, block.byteLength));
  });
  for await (const { kind, bytes } of units) {
    try {
      engine.push(bytes, kind === 'end');
    } catch (error) {
      // fzstd checks some numbers only by the errors of the engine.
      const isNamed = error instanceof Error && !(error instanceof RangeError || error instanceof TypeError);
      throw isNamed ? error : new ZstdDamaged('it has a block that cannot be decoded', { cause: error });
    }
    yield* ready;
    ready = [];
  }
}

let largeWindows: Promise<void> = Promise.resolve();

/** Waits for the frames before that have a large window. Returns the function that lets the next one in. */
async function largeWindow(): Promise<() => void> {
  const before = largeWindows;
  let leave: () => void = () => undefined;
  largeWindows = new Promise<void>(resolve => {
    leave = resolve;
  });
  await before;
  return leave;
}

/** The largest window of the format is a little less; without a window, a header can declare up to 2^64 bytes. */
const MOST_SHOWN_MIB = 4096 * 1024;

function windowError(subject: string, label: string, windowBytes: number): LayerTooLarge {
  const mebibytes = windowBytes / MIB;
  const size =
    mebibytes >= MOST_SHOWN_MIB
      ? `more than ${MOST_SHOWN_MIB / 1024} GiB`
      : mebibytes >= 1024
        ? `${round(mebibytes / 1024)} GiB`
        : `${round(mebibytes)} MiB`;
  return new LayerTooLarge(`${subject}: ${label} is zstd data that needs ${size} of memory (its window) to be read`, {
    subject,
    expected: 'a window of at most 128 MiB, the limit of the zstd command',
    found: size,
    hint: 'Compress the layer without --long (or with --long=27 at most), or with gzip, and push the image again.',
  });
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function workError(subject: string, label: string): LayerHostile {
  return new LayerHostile(
    `${subject}: ${label} is zstd data with so many small blocks or such a large window that it takes too long to inflate`,
    {
      subject,
      expected: 'blocks of about 128 KiB in a window of at most 8 MiB, as zstd makes them by default',
      found: 'much more work for its size',
      hint: 'Compress the layer with gzip, or with zstd without --long, and push the image again.',
    },
  );
}

/**
 * Yields what an engine makes of the stored bytes. An error of the source comes before one of the engine, and the source is read to
 * its end in either case. Not `pipeline`: it would wait forever for an engine that has stopped at padding after the compressed data.
 */
export async function* through(engine: Transform, stored: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const feed = new Feed(engine, stored);
  try {
    for await (const chunk of engine) yield chunk as Buffer;
    await feed.done;
  } catch (error) {
    await feed.done; // throws the error of the source, if there is one
    throw error;
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
      this.#engine.destroy(asError(error));
      throw error;
    }
  }
}
