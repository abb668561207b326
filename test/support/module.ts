import { createCipheriv, createHash } from 'node:crypto';

export interface ModuleOptions {
  /** Which `proxy_abi_version_…` function the module exports; null for none. Default `0.2.1`. */
  readonly abi?: '0.1.0' | '0.2.0' | '0.2.1' | null;
  /** Exact size of the module. Default and least: about 150 bytes. */
  readonly sizeBytes?: number;
  /** Same seed, same bytes; another seed, other bytes. Default `plugin`. */
  readonly seed?: string;
}

const MAGIC = Buffer.from('\0asm');
const NOP_BODY = Buffer.from([0x02, 0x00, 0x0b]);

/**
 * A valid Wasm module that looks like a Proxy-Wasm plugin: a memory, an `_initialize`, the ABI marker, and a custom section
 * of deterministic bytes that gzip shrinks to about 0.3, as it does with real plugins.
 */
export function buildModule(options: ModuleOptions = {}): Buffer {
  const { abi = '0.2.1', sizeBytes = 0, seed = 'plugin' } = options;
  const functions = ['_initialize', ...(abi === null ? [] : [`proxy_abi_version_${abi.replaceAll('.', '_')}`])];
  const exports = [
    Buffer.concat([name('memory'), Buffer.from([0x02, 0x00])]),
    ...functions.map((text, index) => Buffer.concat([name(text), Buffer.from([0x00, index])])),
  ];
  const head = Buffer.concat([
    MAGIC,
    Buffer.from([1, 0, 0, 0]),
    section(1, vector([Buffer.from([0x60, 0x00, 0x00])])),
    section(3, vector(functions.map(() => Buffer.from([0x00])))),
    section(5, vector([Buffer.from([0x00, 0x01])])),
    section(7, vector(exports)),
    section(10, vector(functions.map(() => NOP_BODY))),
  ]);
  const title = name('filler');
  const fillerBytes = Math.max(48, sizeBytes - head.length - 6 - title.length);
  return Buffer.concat([head, section(0, Buffer.concat([title, filler(fillerBytes, seed)]))]);
}

/** The preamble of a Wasm component (version 0x0d, layer 1): Wasm, but not a module, and no gateway can load it. */
export function buildComponent(): Buffer {
  return Buffer.concat([MAGIC, Buffer.from([0x0d, 0x00, 0x01, 0x00])]);
}

// Of each 64 bytes 16 are random, the rest is text that deflate knows already.
function filler(sizeBytes: number, seed: string): Buffer {
  const key = createHash('sha256').update(seed).digest();
  const random = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(
    Buffer.alloc(Math.ceil(sizeBytes / 4) + 64),
  );
  const filled = Buffer.alloc(sizeBytes, 'local.get 0 i32.const 16 i32.add call 7 br_if 0 end drop return');
  for (let at = 0, from = 0; at < sizeBytes; at += 64, from += 16) random.copy(filled, at, from, from + 16);
  return filled;
}

function section(id: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([id]), fixedLength(body.length), body]);
}

function vector(items: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([items.length]), ...items]);
}

function name(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
}

// LEB128 padded to five bytes, so that a section's size does not depend on how its length is written.
function fixedLength(value: number): Buffer {
  return Buffer.from([0, 7, 14, 21, 28].map(shift => ((value >>> shift) & 0x7f) | (shift === 28 ? 0 : 0x80)));
}
