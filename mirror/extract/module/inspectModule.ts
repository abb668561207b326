import { type FileHandle, open } from 'node:fs/promises';
import { LoopTurn } from '../../../base/eventLoop.ts';
import { Refusal } from '../../../base/refusal.ts';
import { nameContent, SNIFF_BYTES } from './moduleContent.ts';

export class ModuleInvalid extends Refusal {
  readonly code = 'MODULE_INVALID';
}

export interface ModuleInspection {
  readonly sizeBytes: number;
  /** `0.1.0`, `0.2.0` or `0.2.1`; null if the module exports none of these Proxy-Wasm ABI versions. */
  readonly abi: string | null;
  readonly warnings: readonly string[];
}

/**
 * Checks that a file is a Wasm core module and finds its Proxy-Wasm ABI version, without compiling it: the preamble, the chain
 * of sections (core spec 5.5.2), which must end exactly with the file, and the names in the export section (5.5.10). Only
 * section headers and the export section are read.
 * @param way where the module comes from, an image or a local build, for the hint @throws ModuleInvalid
 */
export async function inspectModule(
  path: string,
  subject: string,
  way: 'pushed' | 'built' = 'pushed',
): Promise<ModuleInspection> {
  const file = await open(path, 'r');
  try {
    return await inspect(file, subject, way);
  } finally {
    await file.close();
  }
}

const MAX_SECTIONS = 10_000;
const MAX_EXPORT_SECTION_BYTES = 16 * 1024 * 1024;
/** A section of 16 MiB may have five million exports. */
const EXPORTS_IN_A_TURN = 10_000;
const EXPORT_SECTION = 7;
const DATA_SECTION = 11;
const FUNCTION_KIND = 0;
// The order of sections, each at most once; custom sections (0) may be anywhere. 13 is the tag section, 12 the data count.
const SECTION_ORDER = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, DATA_SECTION];
// The versions that Envoy's host knows; it uses the first one among the exports.
const ABI_EXPORTS: ReadonlyMap<string, string> = new Map([
  ['proxy_abi_version_0_1_0', '0.1.0'],
  ['proxy_abi_version_0_2_0', '0.2.0'],
  ['proxy_abi_version_0_2_1', '0.2.1'],
]);

type Damaged = (found: string) => ModuleInvalid;

async function inspect(file: FileHandle, subject: string, way: 'pushed' | 'built'): Promise<ModuleInspection> {
  const damaged: Damaged = found =>
    new ModuleInvalid(`${subject}: plugin.wasm is a damaged Wasm module: ${found}`, {
      subject,
      expected: 'a chain of sections that ends exactly with the file',
      found,
      hint:
        way === 'pushed'
          ? 'The image has the module like this: build the module and push it again.'
          : 'The built file is damaged: build the module again.',
    });
  const sizeBytes = (await file.stat()).size;
  const head = await readAt(file, 0, Math.min(SNIFF_BYTES, sizeBytes));
  const kind = nameContent(head);
  if (kind !== 'a Wasm module')
    throw new ModuleInvalid(`${subject}: plugin.wasm is ${kind}, not a Wasm module`, {
      subject,
      expected: 'a Wasm core module (00 61 73 6d 01 00 00 00)',
      found: kind,
      hint:
        kind === 'a Wasm component'
          ? 'The gateway runs core modules only: build the plugin for wasm32-wasip1 (or wasm32-unknown-unknown), not as a component.'
          : way === 'pushed'
            ? 'Check what was pushed: build the plugin to Wasm and push the module itself.'
            : 'Check what was built: the file must be the Wasm module itself, not an archive of it.',
    });
  let exported: Buffer | undefined;
  let rank = -1;
  let offset = 8;
  for (let count = 0; offset < sizeBytes; count++) {
    if (count === MAX_SECTIONS) throw damaged(`it has more than ${MAX_SECTIONS} sections`);
    const header = new Cursor(await readAt(file, offset, Math.min(11, sizeBytes - offset)), 'section header', damaged);
    const id = header.byte();
    const length = header.u32();
    const start = offset + header.at;
    if (length > sizeBytes - start)
      throw damaged(`section ${id} at byte ${offset} claims ${length} bytes where ${sizeBytes - start} are left`);
    if (id === 0) {
      // A custom section starts with its name (5.5.3); zero padding after a module looks like sections without a name.
      const name = length === 0 ? 0 : header.u32();
      if (length === 0 || header.at - (start - offset) + name > length)
        throw damaged(`the custom section at byte ${offset} has no room for its name`);
    } else {
      const next = SECTION_ORDER.indexOf(id);
      if (next < 0) throw damaged(`the section at byte ${offset} has the unknown id ${id}`);
      if (next <= rank) throw damaged(`section ${id} at byte ${offset} is out of order or repeated`);
      rank = next;
    }
    if (id === EXPORT_SECTION) {
      if (length > MAX_EXPORT_SECTION_BYTES)
        throw damaged(`its export section claims ${length} bytes; ${MAX_EXPORT_SECTION_BYTES} are the most`);
      exported = await readAt(file, start, length);
    }
    offset = start + length;
  }
  return { sizeBytes, ...(await readAbi(exported, subject, damaged)) };
}

async function readAbi(
  exported: Buffer | undefined,
  subject: string,
  damaged: Damaged,
): Promise<{ abi: string | null; warnings: string[] }> {
  let abi: string | null = null;
  let unknown: string | undefined;
  if (exported !== undefined) {
    const cursor = new Cursor(exported, 'export section', damaged);
    // Each export has at least 3 bytes, so the section's length bounds a wrong count.
    const turn = new LoopTurn();
    for (let left = cursor.u32(); left > 0; left--) {
      if (left % EXPORTS_IN_A_TURN === 0) await turn.rest();
      const name = cursor.take(cursor.u32());
      const kind = cursor.byte();
      cursor.u32();
      if (kind !== FUNCTION_KIND || name.length > 64) continue;
      const text = name.toString('latin1');
      abi ??= ABI_EXPORTS.get(text) ?? null;
      if (/^proxy_abi_version_\d+_\d+_\d+$/.test(text) && !ABI_EXPORTS.has(text)) unknown ??= text;
    }
    if (cursor.left > 0) throw damaged(`its export section has ${cursor.left} bytes too many`);
  }
  if (abi !== null) return { abi, warnings: [] };
  const found =
    unknown === undefined ? 'exports no proxy_abi_version_…' : `exports ${unknown}, which Envoy does not know`;
  return { abi, warnings: [`${subject}: plugin.wasm ${found}: a gateway may refuse to load it`] };
}

/** Reads numbers and bytes; reading beyond the end throws ModuleInvalid. */
class Cursor {
  at = 0;
  readonly #bytes: Buffer;
  readonly #part: string;
  readonly #damaged: Damaged;

  constructor(bytes: Buffer, part: string, damaged: Damaged) {
    this.#bytes = bytes;
    this.#part = part;
    this.#damaged = damaged;
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  byte(): number {
    const value = this.#bytes[this.at];
    if (value === undefined) throw this.#damaged(`its ${this.#part} is cut short`);
    this.at += 1;
    return value;
  }

  /** Unsigned LEB128 of at most 32 bits (core spec 5.2.2): five bytes, the last of them below 16. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      if (shift === 28 && byte > 0x0f) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw this.#damaged(`a number in its ${this.#part} does not fit 32 bits`);
  }

  take(length: number): Buffer {
    if (length > this.left) throw this.#damaged(`a name in its ${this.#part} runs past the end`);
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
