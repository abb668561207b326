/**
 * Sparse files in tar archives: the archive stores the regions with data and a map of them, and leaves out the zeros in between.
 * GNU tar writes them with --sparse, bsdtar on macOS by default. Four forms exist (GNU tar manual, "Storing Sparse Files"): type
 * `S` with the map in the header, and the pax forms 0.0, 0.1 and 1.0. They are read as Go's archive/tar reads them, because
 * that is what gateways use.
 */

/** A map that is inconsistent or does not fit its data. */
export class SparseInvalid extends Error {}

interface Region {
  readonly offset: number;
  readonly length: number;
}

/** A sparse file, as far as its headers describe it. */
export interface SparseFile {
  /** The real name, where the header has an artificial one. */
  readonly path: string | undefined;
  /** The size of the file with its zeros. Undefined: that of its data. */
  readonly sizeBytes: number | undefined;
  /** Undefined in form 1.0, where the map is at the start of the data. */
  readonly regions: Region[] | undefined;
}

/** A module of 256 MiB in alternating blocks of 4 KiB has a third of it. */
const MAX_REGIONS = 100_000;

/**
 * Returns the sparse file that the records of a pax header describe; undefined if they describe none, or one of an unknown
 * version, which Go reads as a regular file. @throws SparseInvalid
 */
export function sparseFromPax(header: Buffer): SparseFile | undefined {
  const { values, pairs } = sparseRecords(header);
  const [major, minor] = [values.get('major'), values.get('minor')];
  const inData = major === '1' && minor === '0';
  if (!inData && (major !== undefined || minor !== undefined) && !(major === '0' && (minor === '0' || minor === '1')))
    return undefined;
  const numbers = values.get('map')?.split(',') ?? pairs;
  if (!inData && numbers.length === 0) return undefined;
  const size = values.get('size') ?? values.get('realsize');
  return {
    path: values.get('name'),
    sizeBytes: size === undefined ? undefined : decimal(size),
    regions: inData ? undefined : toRegions(numbers),
  };
}

/** The records whose keys begin with `GNU.sparse.`; form 0.0 repeats `offset` and `numbytes`, so their order counts. */
function sparseRecords(header: Buffer): { values: Map<string, string>; pairs: string[] } {
  const values = new Map<string, string>();
  const pairs: string[] = [];
  for (let at = 0; at < header.length; ) {
    const space = header.indexOf(0x20, at);
    const length = space < 0 || space - at > 10 ? Number.NaN : Number(header.toString('latin1', at, space));
    // Of a header with other records, node-tar judges what is wrong with them.
    if (!(length > space - at + 1) || at + length > header.length) break;
    const record = header.subarray(space + 1, at + length - 1);
    at += length;
    const equals = record.indexOf(0x3d);
    if (equals < 0 || !record.subarray(0, PREFIX.length).equals(PREFIX)) continue;
    const key = record.toString('latin1', PREFIX.length, equals);
    const value = record.toString('utf8', equals + 1);
    if (key === 'offset' || key === 'numbytes') {
      if ((pairs.length % 2 === 0) !== (key === 'offset')) throw new SparseInvalid('its map is out of order');
      pairs.push(value);
    } else values.set(key, value);
  }
  return { values, pairs };
}

const PREFIX = Buffer.from('GNU.sparse.');

/** The fields of a header of type `S` (GNU tar manual, "Basic Tar Format"). */
const OLD = { map: 386, entries: 4, isExtended: 482, sizeBytes: 483 } as const;
/** The fields of the blocks that continue its map. */
const CONTINUED = { map: 0, entries: 21, isExtended: 504 } as const;

/** Returns the sparse file of a header of type `S`, and whether a block follows that continues its map. @throws SparseInvalid */
export function sparseFromHeader(header: Buffer): { file: SparseFile; isContinued: boolean } {
  if (header.toString('latin1', 257, 265) !== 'ustar  \0') throw new SparseInvalid('its header is not one of GNU tar');
  const regions: Region[] = [];
  addRegions(regions, header, OLD);
  const file = { path: undefined, sizeBytes: fieldNumber(header, OLD.sizeBytes), regions };
  return { file, isContinued: header[OLD.isExtended] !== 0 };
}

/** Adds the map's next block to the regions. Returns whether another one follows. @throws SparseInvalid */
export function continueSparse({ regions }: SparseFile, block: Buffer): boolean {
  addRegions(regions ?? [], block, CONTINUED);
  return block[CONTINUED.isExtended] !== 0;
}

function addRegions(regions: Region[], block: Buffer, { map, entries }: { map: number; entries: number }): void {
  for (let at = map; at < map + entries * 24 && block[at] !== 0 && block[at + 12] !== 0; at += 24)
    regions.push({ offset: fieldNumber(block, at), length: fieldNumber(block, at + 12) });
  if (regions.length > MAX_REGIONS) throw new SparseInvalid(`its map has more than ${MAX_REGIONS} regions`);
}

/** A number in a header's field of 12 bytes: octal, or base-256 with a set top bit. */
function fieldNumber(block: Buffer, at: number): number {
  if (((block[at] ?? 0) & 0x80) !== 0) {
    const value = block.readBigUInt64BE(at + 4);
    const isSmall = block[at] === 0x80 && block.subarray(at + 1, at + 4).every(byte => byte === 0);
    if (!isSmall || value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new SparseInvalid('its map has a number out of range');
    return Number(value);
  }
  const text = block
    .toString('latin1', at, at + 12)
    .replace(/[\0 ]+$/, '')
    .replace(/^ +/, '');
  if (!/^[0-7]*$/.test(text)) throw new SparseInvalid('its map has a damaged number');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function decimal(text: string): number {
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) throw new SparseInvalid('its map has a damaged number');
  return value;
}

function toRegions(numbers: readonly string[]): Region[] {
  if (numbers.length % 2 !== 0) throw new SparseInvalid('its map is cut short');
  if (numbers.length / 2 > MAX_REGIONS) throw new SparseInvalid(`its map has more than ${MAX_REGIONS} regions`);
  const regions: Region[] = [];
  for (let at = 0; at < numbers.length; at += 2)
    regions.push({ offset: decimal(numbers[at] ?? ''), length: decimal(numbers[at + 1] ?? '') });
  return regions;
}

const BLOCK_BYTES = 512;
const ZEROS = Buffer.alloc(64 * 1024);

/** Takes the data of a sparse file as the archive has it, and passes on the file with its zeros. */
export class SparseExpander {
  readonly #sizeBytes: number;
  readonly #take: (piece: Buffer) => void;
  /** Undefined in form 1.0, until the map is complete. */
  #regions: readonly Region[] | undefined;
  readonly #map = new MapReader();
  #leftBytes: number;
  #region = 0;
  #inRegion = 0;
  #written = 0;

  /** @param storedBytes the data in the archive @param take gets the file, piece by piece @throws SparseInvalid */
  constructor({ sizeBytes, regions }: SparseFile, storedBytes: number, take: (piece: Buffer) => void) {
    this.#sizeBytes = sizeBytes ?? storedBytes;
    this.#leftBytes = storedBytes;
    this.#take = take;
    if (regions !== undefined) this.#begin(regions);
  }

  /** @throws SparseInvalid */
  push(piece: Buffer): void {
    let data = piece;
    while (this.#regions === undefined && data.length > 0) {
      const part = data.subarray(0, this.#map.missingBytes);
      data = data.subarray(part.length);
      this.#leftBytes -= part.length;
      const regions = this.#map.push(part);
      if (regions !== undefined) this.#begin(regions);
      else if (this.#leftBytes <= 0) throw new SparseInvalid('its map is cut short');
    }
    while (data.length > 0) {
      const region = this.#regions?.[this.#region];
      if (region === undefined) throw new SparseInvalid('it has data outside of its map');
      const part = data.subarray(0, region.length - this.#inRegion);
      this.#write(part);
      this.#inRegion += part.length;
      data = data.subarray(part.length);
      if (this.#inRegion === region.length) this.#nextRegion(this.#region + 1);
    }
  }

  #begin(regions: readonly Region[]): void {
    let end = 0;
    let dataBytes = 0;
    for (const { offset, length } of regions) {
      if (offset < end || !Number.isSafeInteger(offset + length))
        throw new SparseInvalid('the regions in its map overlap');
      end = offset + length;
      dataBytes += length;
    }
    if (end > this.#sizeBytes) throw new SparseInvalid('its map has a region beyond its size');
    if (dataBytes !== this.#leftBytes)
      throw new SparseInvalid(`its map has ${dataBytes} bytes of data and the archive ${this.#leftBytes}`);
    this.#regions = regions;
    this.#nextRegion(0);
  }

  /** Writes the zeros before the next region that has data, or those at the end of the file. */
  #nextRegion(from: number): void {
    const regions = this.#regions ?? [];
    let next = from;
    while (regions[next]?.length === 0) next++;
    this.#region = next;
    this.#inRegion = 0;
    const until = regions[next]?.offset ?? this.#sizeBytes;
    while (this.#written < until) this.#write(ZEROS.subarray(0, until - this.#written));
  }

  #write(piece: Buffer): void {
    this.#written += piece.length;
    this.#take(piece);
  }
}

/**
 * Reads the map of form 1.0: decimal numbers, each followed by a newline: how many regions, then offset and length of each. It
 * fills whole blocks.
 */
class MapReader {
  #block: Buffer = Buffer.alloc(0);
  /** The start of a number that continues in the next block. */
  #rest = '';
  #count: number | undefined;
  readonly #numbers: string[] = [];

  /** How many bytes the block has yet to get. */
  get missingBytes(): number {
    return BLOCK_BYTES - this.#block.length;
  }

  /** Takes at most `missingBytes`. Returns the regions when the map is complete. @throws SparseInvalid */
  push(part: Buffer): Region[] | undefined {
    this.#block = Buffer.concat([this.#block, part]);
    if (this.#block.length < BLOCK_BYTES) return undefined;
    const lines = (this.#rest + this.#block.toString('latin1')).split('\n');
    this.#block = Buffer.alloc(0);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (this.#count === undefined) this.#count = decimal(line);
      else this.#numbers.push(line);
      if (this.#count > MAX_REGIONS) throw new SparseInvalid(`its map has more than ${MAX_REGIONS} regions`);
      if (this.#numbers.length === this.#count * 2) return toRegions(this.#numbers);
    }
    if (this.#rest.length > 20) throw new SparseInvalid('its map has a damaged number');
    return undefined;
  }
}
