import { gzipSync } from 'node:zlib';

/** One entry of a forged tar. Nothing is checked: an entry may lie in every field. */
export interface TarEntry {
  readonly name: string | Buffer;
  readonly body?: Buffer | string;
  /** Default `file`. A single character is written as the type flag itself. */
  readonly type?: keyof typeof TYPE_FLAGS | (string & {});
  /** Target of a link or symlink. */
  readonly linkTo?: string;
  /** Permission bits. Default 0o644. */
  readonly mode?: number;
  /** Seconds since 1970. Default 0. */
  readonly mtimeSeconds?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** What the header claims; the body is written as it is. Default: the truth. */
  readonly sizeBytes?: number;
  /** Writes the size in GNU's base-256 form instead of octal digits. */
  readonly binarySize?: boolean;
  /** How a name (or link target) of more than 100 bytes is written. Default `pax`. */
  readonly longNames?: 'pax' | 'gnu';
  /** Further pax records for this entry, e.g. `path`, `size`, `linkpath`. */
  readonly pax?: Readonly<Record<string, string>>;
  /** Default false. True writes a checksum that does not fit. */
  readonly badChecksum?: boolean;
}

export interface TarOptions {
  /** The two zero blocks at the end. Default true. */
  readonly end?: boolean;
}

const TYPE_FLAGS = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
} as const;
const BLOCK_BYTES = 512;

/** A tar archive (POSIX.1-2001 pax, ustar headers) of exactly these entries, in this order. */
export function tarOf(entries: readonly TarEntry[], options: TarOptions = {}): Buffer {
  const parts: Buffer[] = entries.flatMap(entryBlocks);
  if (options.end !== false) parts.push(Buffer.alloc(2 * BLOCK_BYTES));
  return Buffer.concat(parts);
}

/** gzip with the same bytes on every machine: no time, no name, no operating system. `level` 0–9, default 6. */
export function gzip(body: Buffer, level = 6): Buffer {
  const zipped = gzipSync(body, { level });
  zipped[9] = 255;
  return zipped;
}

/** A valid zstd frame of raw blocks (RFC 8878, 3.1.1): nothing is compressed, every decoder reads it. */
export function zstd(body: Buffer): Buffer {
  // Frame header: magic, 8-byte content size, no single segment, no checksum; a window of 128 KiB.
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x38, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeBigUInt64LE(BigInt(body.length), 6);
  const parts: Buffer[] = [head];
  let at = 0;
  do {
    const block = body.subarray(at, at + 131_072);
    at += block.length;
    const blockHead = Buffer.alloc(3);
    blockHead.writeUIntLE((block.length << 3) | (at >= body.length ? 1 : 0), 0, 3);
    parts.push(blockHead, block);
  } while (at < body.length);
  return Buffer.concat(parts);
}

function entryBlocks(entry: TarEntry): Buffer[] {
  const body = Buffer.from(entry.body ?? '');
  const name = Buffer.from(entry.name);
  const link = Buffer.from(entry.linkTo ?? '');
  const blocks: Buffer[] = [];
  const records: Record<string, string> = { ...entry.pax };
  if (entry.longNames === 'gnu') {
    if (name.length > 100) blocks.push(...extension('L', '././@LongLink', Buffer.concat([name, Buffer.alloc(1)])));
    if (link.length > 100) blocks.push(...extension('K', '././@LongLink', Buffer.concat([link, Buffer.alloc(1)])));
  } else {
    if (name.length > 100) records.path ??= name.toString();
    if (link.length > 100) records.linkpath ??= link.toString();
  }
  const pax = Object.entries(records).map(([key, value]) => paxRecord(key, value));
  if (pax.length > 0) blocks.push(...extension('x', 'PaxHeaders/0', Buffer.concat(pax)));
  blocks.push(header(entry, name, link, entry.sizeBytes ?? body.length), body, padding(body.length));
  return blocks;
}

function extension(type: string, name: string, body: Buffer): Buffer[] {
  return [header({ name, type }, Buffer.from(name), Buffer.alloc(0), body.length), body, padding(body.length)];
}

function header(entry: TarEntry, name: Buffer, link: Buffer, sizeBytes: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const type = entry.type ?? 'file';
  name.copy(block, 0, 0, 100);
  octal(block, 100, 8, entry.mode ?? 0o644);
  octal(block, 108, 8, entry.uid ?? 0);
  octal(block, 116, 8, entry.gid ?? 0);
  if (entry.binarySize === true || sizeBytes > 0o77777777777) {
    block[124] = 0x80;
    block.writeBigUInt64BE(BigInt(sizeBytes), 128);
  } else octal(block, 124, 12, sizeBytes);
  octal(block, 136, 12, entry.mtimeSeconds ?? 0);
  block.write(type in TYPE_FLAGS ? TYPE_FLAGS[type as keyof typeof TYPE_FLAGS] : type, 156, 1, 'latin1');
  link.copy(block, 157, 0, 100);
  block.write('ustar\x0000', 257, 'latin1');
  block.fill(' ', 148, 156);
  let sum = entry.badChecksum === true ? 1 : 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function octal(block: Buffer, at: number, width: number, value: number): void {
  block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, width, 'latin1');
}

// "%d %s=%s\n": the length counts its own digits.
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function padding(length: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (length % BLOCK_BYTES)) % BLOCK_BYTES);
}
