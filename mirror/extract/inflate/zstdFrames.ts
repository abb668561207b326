/** zstd data that breaks RFC 8878. */
export class ZstdDamaged extends Error {}

/** A part of zstd data that is decoded as a whole. */
export type ZstdUnit =
  /** A skippable frame, without its content. */
  | { readonly kind: 'skipped'; readonly bytes: Buffer }
  /** The header of a frame. */
  | { readonly kind: 'frame'; readonly bytes: Buffer; readonly windowBytes: number }
  /** A block with its header, at most 128 KiB of content. */
  | { readonly kind: 'block'; readonly bytes: Buffer }
  /** The end of a frame, with its checksum if it has one. */
  | { readonly kind: 'end'; readonly bytes: Buffer };

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
/** RFC 8878, 3.1.1.2.3. */
const MAX_BLOCK_BYTES = 128 * 1024;
const RLE_BLOCK = 1;
const RESERVED_BLOCK = 3;

/**
 * Splits zstd data into frames and blocks (RFC 8878, 3.1) without decoding it: a decoder then gets no header that was not looked
 * at before, and its work between two units is bounded. @throws ZstdDamaged
 */
export async function* zstdUnits(data: AsyncIterable<Buffer>): AsyncGenerator<ZstdUnit> {
  const reader = new ByteReader(data);
  for (;;) {
    const magic = await reader.take(4, true);
    if (magic === undefined) return;
    const number = magic.readUInt32LE(0);
    if ((number & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      await reader.skip((await reader.need(4)).readUInt32LE(0));
      yield { kind: 'skipped', bytes: magic };
      continue;
    }
    if (number !== FRAME_MAGIC) throw new ZstdDamaged('it has data that is no frame');
    const descriptor = await reader.need(1);
    const flags = descriptor[0] ?? 0;
    const rest = await reader.need(headerBytes(flags));
    const windowBytes = windowOf(flags, rest);
    yield { kind: 'frame', bytes: Buffer.concat([magic, descriptor, rest]), windowBytes };
    for (let isLast = false; !isLast; ) {
      const header = await reader.need(3);
      const value = header.readUIntLE(0, 3);
      const [type, size] = [(value >> 1) & 3, value >> 3];
      if (type === RESERVED_BLOCK) throw new ZstdDamaged('it has a block of a reserved type');
      if (size > Math.min(MAX_BLOCK_BYTES, windowBytes)) throw new ZstdDamaged(`it has a block of ${size} bytes`);
      isLast = (value & 1) === 1;
      const body = await reader.need(type === RLE_BLOCK ? 1 : size);
      yield { kind: 'block', bytes: Buffer.concat([header, body]) };
    }
    const hasChecksum = (flags & 4) !== 0;
    yield { kind: 'end', bytes: hasChecksum ? await reader.need(4) : Buffer.alloc(0) };
  }
}

const isSingleSegment = (flags: number): boolean => (flags & 0x20) !== 0;
const contentSizeBytes = (flags: number): number => [isSingleSegment(flags) ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;

/** The length of a frame's header after its descriptor. @throws ZstdDamaged */
function headerBytes(flags: number): number {
  if ((flags & 8) !== 0) throw new ZstdDamaged('its frame header has a reserved bit');
  return (isSingleSegment(flags) ? 0 : 1) + ([0, 1, 2, 4][flags & 3] ?? 0) + contentSizeBytes(flags);
}

/** RFC 8878, 3.1.1.1.2: the window that the header asks for; the content's size if that is one segment. */
function windowOf(flags: number, rest: Buffer): number {
  if (!isSingleSegment(flags)) {
    const descriptor = rest[0] ?? 0;
    const base = 2 ** (10 + (descriptor >> 3));
    return base + (base / 8) * (descriptor & 7);
  }
  const size = rest.subarray(rest.length - contentSizeBytes(flags));
  if (size.length === 8) return Number(size.readBigUInt64LE(0));
  return size.readUIntLE(0, size.length) + (size.length === 2 ? 256 : 0);
}

/** Takes bytes from a stream of chunks. */
class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(data: AsyncIterable<Buffer>) {
    this.#chunks = data[Symbol.asyncIterator]();
  }

  /** @throws ZstdDamaged if there are fewer bytes */
  async need(count: number): Promise<Buffer> {
    return (await this.take(count, false)) ?? Buffer.alloc(0);
  }

  /** Undefined at the end of the data, if that is allowed here. @throws ZstdDamaged */
  async take(count: number, mayEnd: boolean): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let missing = count;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) {
        if (mayEnd && missing === count) return undefined;
        throw new ZstdDamaged('it ends within a frame');
      }
      const part = this.#rest.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  async skip(count: number): Promise<void> {
    let left = count;
    while (left > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) throw new ZstdDamaged('it ends within a skippable frame');
      const part = Math.min(left, this.#rest.length);
      this.#rest = this.#rest.subarray(part);
      left -= part;
    }
  }

  async #more(): Promise<boolean> {
    const next = await this.#chunks.next();
    if (next.done === true) return false;
    this.#rest = next.value;
    return true;
  }
}
