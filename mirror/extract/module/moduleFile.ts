import { type FileHandle, open } from 'node:fs/promises';
import { LayerTooLarge } from '../layers/layerRefusals.ts';
import { hashModule } from './hashModule.ts';

/** What Envoy's host reads of a module at most (256 MiB). */
export const MODULE_LIMIT_BYTES = 268_435_456;
/** What Alibaba's managed gateway takes at most. */
const MANAGED_LIMIT_BYTES = 50_000_000;

export interface WrittenModule {
  readonly sha256: string;
  readonly md5: string;
  readonly sizeBytes: number;
}

/** plugin.wasm as it is being written: pieces are gathered into large writes, what was written is hashed at the end. */
export class ModuleFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #subject: string;
  #sizeBytes = 0;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #truncate = false;

  private constructor(path: string, file: FileHandle, subject: string) {
    this.path = path;
    this.#file = file;
    this.#subject = subject;
  }

  /** Creates the file; one that is there already is an error. */
  static async create(path: string, subject: string): Promise<ModuleFile> {
    return new ModuleFile(path, await open(path, 'wx', 0o644), subject);
  }

  /** Forgets everything written so far: a better candidate has come. */
  restart(): void {
    this.#truncate ||= this.#sizeBytes > 0;
    this.#sizeBytes = 0;
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Takes the next bytes, which must not change afterwards. @throws LayerTooLarge */
  push(chunk: Buffer): void {
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > MODULE_LIMIT_BYTES) throw refuseSize(this.#subject, 'more');
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
  }

  /** Writes what has gathered, once that is worth a write. */
  async flush(least = WRITE_BYTES): Promise<void> {
    if (this.#truncate) await this.#file.truncate(0);
    const start = this.#sizeBytes - this.#queuedBytes;
    this.#truncate = false;
    if (this.#queuedBytes === 0 || this.#queuedBytes < least) return;
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    await writeAll(this.#file, queue, start);
  }

  async finish(): Promise<WrittenModule> {
    await this.flush(0);
    return { ...(await hashModule(this.path)), sizeBytes: this.#sizeBytes };
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

export function refuseSize(subject: string, found: string): LayerTooLarge {
  return new LayerTooLarge(
    `${subject}: plugin.wasm is larger than ${MODULE_LIMIT_BYTES} bytes (256 MiB): the gateway truncates a module beyond that`,
    {
      subject,
      expected: `at most ${MODULE_LIMIT_BYTES} bytes, which is all that Envoy's Wasm fetcher reads`,
      found,
      hint: 'Strip debug information from the module (wasm-opt --strip-debug, -ldflags "-s -w"), or leave out what it does not need.',
    },
  );
}

/** A warning where a module is too large for some gateways, else undefined. */
export function sizeWarning(subject: string, sizeBytes: number): string | undefined {
  if (sizeBytes <= MANAGED_LIMIT_BYTES) return undefined;
  return `${subject}: plugin.wasm has ${sizeBytes} bytes: Alibaba's managed gateway takes at most 50 MB`;
}

const WRITE_BYTES = 256 * 1024;
// A gather list may not grow without end (IOV_MAX is 1024 on Linux; libuv splits, but in one synchronous go).
const MAX_PIECES = 512;

async function writeAll(file: FileHandle, pieces: readonly Buffer[], start: number): Promise<void> {
  let position = start;
  for (let from = 0; from < pieces.length; from += MAX_PIECES) {
    const some = pieces.slice(from, from + MAX_PIECES);
    const length = some.reduce((sum, piece) => sum + piece.length, 0);
    const { bytesWritten } = await file.writev(some, position);
    // A short write is legal; what is left goes on, byte-exact.
    if (bytesWritten < length) {
      const rest = Buffer.concat(some).subarray(bytesWritten);
      for (let at = 0; at < rest.length; ) {
        const { bytesWritten: more } = await file.write(rest, at, rest.length - at, position + bytesWritten + at);
        at += more;
      }
    }
    position += length;
  }
}
