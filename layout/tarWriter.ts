import { Header, Pax } from 'tar';

const BLOCK = 512;
/** The longest name that a ustar header holds without splitting it. */
const MAX_PLAIN_NAME = 100;

/**
 * The header of a regular file in a reproducible tar: owner 0, mode 0644 by default, time 0. Names and sizes that a ustar header
 * cannot hold (sha512 blobs, 8 GiB) get a pax extended header in front (POSIX.1-2017, pax Interchange Format).
 */
export function fileHeader(path: string, size: number, mode = 0o644): Buffer {
  const needsPax = path.length > MAX_PLAIN_NAME || size >= 0o100000000000;
  const blocks: Buffer[] = [];
  if (needsPax) {
    const body = Buffer.from(new Pax({ path, size }).encodeBody());
    blocks.push(header('PaxHeader', body.length, 'ExtendedHeader'), body, Buffer.alloc(paddingOf(body.length)));
  }
  blocks.push(header(path.slice(-MAX_PLAIN_NAME), size, 'File', mode));
  return Buffer.concat(blocks);
}

/** Zero bytes after a file of `size` bytes, up to the next block. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** The end of a tar: two blocks of zeros. */
export const END_OF_TAR = Buffer.alloc(2 * BLOCK);

function header(path: string, size: number, type: 'File' | 'ExtendedHeader', mode = 0o644): Buffer {
  const entry = new Header({ path, size, mode, uid: 0, gid: 0, mtime: new Date(0), type });
  const block = Buffer.alloc(BLOCK);
  entry.encode(block);
  return block;
}
