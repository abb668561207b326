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
/** Blocks of a short frame, which is decoded within one turn of the event loop. */
const SMALL_BLOCKS = 8;
const MAX_BLOCK_LOG = 17;

/** The least cost of a block and of a frame, in bytes of the window that fzstd moves in the same time. */
const BLOCK_WORK = MIB;
const FRAME_WORK = 2 * MIB;
/** The cost of a frame's ninth block, in windows: fzstd then makes a window and moves it once for each block before. */
const LONG_FRAME_WINDOWS = 2 * SMALL_BLOCKS;
/** Some seconds: 32,768 frames, 65,536 blocks. A plugin of 256 MiB in a window of 8 MiB takes a quarter of it. */
export const ZSTD_WORK = 64 * 1024 * MIB;

/**
 * Decodes zstd data (RFC 8878), any number of frames. Node's decoder is used where it exists (22.15), otherwise fzstd. Node's
 * stops without an error after the first frame, and neither limits what a header may ask for, so the frames are split here, and
 * a window is judged before a decoder sees its frame.
 * @param label names the layer in errors
 * @throws LayerTooLarge, LayerHostile, ZstdDamaged, the signal's reason, the decoder's errors, those of `stored`
 */
export async function* inflateZstd(
  stored: AsyncIterable<Buffer>,
  subject: string,
  label: string,
  signal: AbortSignal,
  budget: { leftWork: number },
): AsyncGenerator<Buffer> {
  const units = zstdUnits(stored);
  const turn = new LoopTurn(signal);
  const create = await decoder(turn);
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
    for (let blocks = 0; ; ) {
      // Here, because many blocks may have no content.
      await turn.rest();
      const { value: unit } = await units.next();
      if (unit === undefined) return;
      if (unit.kind === 'block')
        spend(isNative() ? BLOCK_WORK : Math.max(BLOCK_WORK, windowsMoved(++blocks) * windowBytes));
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

/** How many windows fzstd moves for a block of a frame, counted from 1. A short frame has no window of its own. */
function windowsMoved(block: number): number {
  if (block <= SMALL_BLOCKS) return 0;
  return block === SMALL_BLOCKS + 1 ? LONG_FRAME_WINDOWS : 1;
}

function isNative(): boolean {
  return typeof Reflect.get(zlib, 'createZstdDecompress') === 'function';
}

async function decoder(turn: LoopTurn): Promise<Decode> {
  if (isNative()) return decodeNatively;
  const { Decompress } = await import('fzstd');
  return units => decodeInScript(units, Decompress, turn);
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

/**
 * One block for each call: fzstd is synchronous, makes a window for every frame, and moves all of it after every block. A short
 * frame gets a window of its content's size, which no match can reach beyond.
 */
async function* decodeInScript(
  units: AsyncIterable<ZstdUnit>,
  Decompress: typeof import('fzstd').Decompress,
  turn: LoopTurn,
): AsyncGenerator<Buffer> {
  let ready: Buffer[] = [];
  const engine = new Decompress(block => {
    if (block.length > 0) ready.push(Buffer.from(block.buffer, block.byteOffset, block.byteLength));
  });
  let start: ZstdUnit[] | undefined = [];
  for await (const unit of units) {
    start?.push(unit);
    if (start !== undefined && start.length <= SMALL_BLOCKS + 1 && unit.kind !== 'end') continue;
    const due = start === undefined ? [unit] : unit.kind === 'end' ? inSmallWindow(start) : start;
    start = undefined;
    for (const { kind, bytes } of due) {
      await turn.rest();
      push(bytes, kind === 'end');
      yield* ready;
      ready = [];
    }
  }

  function push(bytes: Buffer, isLast: boolean): void {
    try {
      engine.push(bytes, isLast);
    } catch (error) {
      // fzstd checks some numbers only by the errors of the engine.
      const isNamed = error instanceof Error && !(error instanceof RangeError || error instanceof TypeError);
      throw isNamed ? error : new ZstdDamaged('it has a block that cannot be decoded', { cause: error });
    }
  }
}

/**
 * Returns the units of a whole frame with a smaller window descriptor (RFC 8878, 3.1.1.1.2) in its header: what its blocks can hold.
 * @throws ZstdDamaged if the header has the content's size in its place, and that is more
 */
function inSmallWindow(units: readonly ZstdUnit[]): readonly ZstdUnit[] {
  const [frame, ...rest] = units;
  const blocks = Math.max(1, rest.length - 1);
  const contentLog = MAX_BLOCK_LOG + Math.ceil(Math.log2(blocks));
  if (frame?.kind !== 'frame' || frame.windowBytes <= 2 ** contentLog) return units;
  const bytes = Buffer.from(frame.bytes);
  if (((bytes[DESCRIPTOR_AT] ?? 0) & SINGLE_SEGMENT) !== 0)
    throw new ZstdDamaged('its content is shorter than its frame header says');
  bytes[DESCRIPTOR_AT + 1] = (contentLog - 10) << 3;
  return [{ ...frame, bytes }, ...rest];
}

/** In a frame, the descriptor comes after the magic number, and the window after the descriptor (RFC 8878, 3.1.1.1). */
const DESCRIPTOR_AT = 4;
const SINGLE_SEGMENT = 0x20;

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
