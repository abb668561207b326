import type { FileHandle } from 'node:fs/promises';
import { LoopTurn } from '../../base/eventLoop.ts';

export const EXPORT_SECTION = 7;
/** A section of 16 MiB may have five million exports. */
const EXPORTS_IN_A_TURN = 10_000;

/** Returns the error to throw for a module that is malformed; `found` says how. */
export type Malformed = (found: string) => Error;

export interface ModuleSection {
  readonly id: number;
  /** Where the section's header is, and where its content is, in bytes from the beginning of the file. */
  readonly offset: number;
  readonly start: number;
  readonly length: number;
}

/**
 * Reads the headers of a module's sections (core spec 5.5.2), which follow the eight bytes of the preamble and end exactly with
 * the file. The contents of sections are not read, but for the length of a custom section's name.
 * @param mostSections a module with more is malformed @throws what `malformed` returns
 */
export async function* readSections(
  file: FileHandle,
  sizeBytes: number,
  mostSections: number,
  malformed: Malformed,
): AsyncGenerator<ModuleSection> {
  let offset = 8;
  for (let count = 0; offset < sizeBytes; count++) {
    if (count === mostSections) throw malformed(`it has more than ${mostSections} sections`);
    const header = new Cursor(
      await readAt(file, offset, Math.min(11, sizeBytes - offset)),
      'section header',
      malformed,
    );
    const id = header.byte();
    const length = header.u32();
    const start = offset + header.at;
    if (length > sizeBytes - start)
      throw malformed(`section ${id} at byte ${offset} claims ${length} bytes where ${sizeBytes - start} are left`);
    if (id === 0) {
      // A custom section starts with its name (5.5.3); zero padding after a module looks like sections without a name.
      const name = length === 0 ? 0 : header.u32();
      if (length === 0 || header.at - (start - offset) + name > length)
        throw malformed(`the custom section at byte ${offset} has no room for its name`);
    }
    yield { id, offset, start, length };
    offset = start + length;
  }
}

/**
 * Reads the content of an export section (core spec 5.5.10) and calls `visit` with the name and the kind of each export, in
 * their order. @throws what `malformed` returns
 */
export async function readExports(
  section: Buffer,
  malformed: Malformed,
  visit: (name: Buffer, kind: number) => void,
): Promise<void> {
  const cursor = new Cursor(section, 'export section', malformed);
  // Each export has at least 3 bytes, so the section's length bounds a wrong count.
  const turn = new LoopTurn();
  for (let left = cursor.u32(); left > 0; left--) {
    if (left % EXPORTS_IN_A_TURN === 0) await turn.rest();
    const name = cursor.take(cursor.u32());
    const kind = cursor.byte();
    cursor.u32();
    visit(name, kind);
  }
  if (cursor.left > 0) throw malformed(`its export section has ${cursor.left} bytes too many`);
}

/** Returns the bytes at a position of a file; fewer if the file ends before. */
export async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** Reads numbers and bytes; reading beyond the end throws. */
class Cursor {
  at = 0;
  readonly #bytes: Buffer;
  readonly #part: string;
  readonly #malformed: Malformed;

  constructor(bytes: Buffer, part: string, malformed: Malformed) {
    this.#bytes = bytes;
    this.#part = part;
    this.#malformed = malformed;
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  byte(): number {
    const value = this.#bytes[this.at];
    if (value === undefined) throw this.#malformed(`its ${this.#part} is cut short`);
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
    throw this.#malformed(`a number in its ${this.#part} does not fit 32 bits`);
  }

  take(length: number): Buffer {
    if (length > this.left) throw this.#malformed(`a name in its ${this.#part} runs past the end`);
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
}
