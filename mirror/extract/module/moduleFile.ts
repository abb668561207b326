import { type FileHandle, open } from 'node:fs/promises';
import type { Worker } from 'node:worker_threads';
import { crc32 } from 'node:zlib';
import { Refusal } from '../../../base/refusal.ts';
import { startThread } from '../../../base/thread.ts';
import { TreeFault } from '../../../tree/errors.ts';

export class LayerTooLarge extends Refusal {
  readonly code = 'LAYER_TOO_LARGE';
}

/** The most that Envoy's Wasm fetcher reads of a module (256 MiB). */
export const MODULE_LIMIT_BYTES = 268_435_456;
/** The most that Alibaba's managed gateway accepts. */
const MANAGED_LIMIT_BYTES = 50_000_000;

export interface WrittenModule {
  readonly sha256: string;
  readonly md5: string;
  readonly sizeBytes: number;
}

/** Writes plugin.wasm: collects pieces into large writes, and hashes the file at the end. */
export class ModuleFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #subject: string;
  #sizeBytes = 0;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #truncate = false;
  /** CRC-32 of all bytes pushed: zlib computes it at a small part of the time that sha256 takes. */
  #crc = 0;

  private constructor(path: string, file: FileHandle, subject: string) {
    this.path = path;
    this.#file = file;
    this.#subject = subject;
  }

  /** Creates the file. An existing file is an error. */
  static async create(path: string, subject: string): Promise<ModuleFile> {
    return new ModuleFile(path, await open(path, 'wx', 0o644), subject);
  }

  /** Drops everything written so far: a better candidate was found. */
  restart(): void {
    this.#truncate ||= this.#sizeBytes > 0;
    this.#sizeBytes = 0;
    this.#crc = 0;
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Adds the next bytes, which must not change afterwards. @throws LayerTooLarge */
  push(chunk: Buffer): void {
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > MODULE_LIMIT_BYTES) throw moduleTooLarge(this.#subject, 'more');
    this.#crc = crc32(chunk, this.#crc);
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
  }

  /** Writes the collected bytes if there are at least `least`. Default 256 KiB. */
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

  /** Hashes the file as the disk returns it. @throws TreeFault if that is not what was written */
  async finish(): Promise<WrittenModule> {
    await this.flush(0);
    const { sha256, md5, crc } = await hashModule(this.path);
    if (crc !== this.#crc)
      throw new TreeFault(`${this.#subject}: the disk returned other bytes of plugin.wasm than were written`, {
        subject: this.#subject,
        expected: `CRC-32 ${this.#crc.toString(16)}`,
        found: crc.toString(16),
        hint: 'Run it again. If it happens again, check the disk, or choose another folder with --tree.',
      });
    return { sha256, md5, sizeBytes: this.#sizeBytes };
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

export function moduleTooLarge(subject: string, found: string): LayerTooLarge {
  return new LayerTooLarge(
    `${subject}: plugin.wasm is larger than ${MODULE_LIMIT_BYTES} bytes (256 MiB): gateways truncate a larger module`,
    {
      subject,
      expected: `at most ${MODULE_LIMIT_BYTES} bytes, the limit of Envoy's Wasm fetcher`,
      found,
      hint: 'Strip debug information from the module (wasm-opt --strip-debug, -ldflags "-s -w"), or remove what it does not need.',
    },
  );
}

/** Returns a warning if a module is too large for some gateways. */
export function sizeWarning(subject: string, sizeBytes: number): string | undefined {
  if (sizeBytes <= MANAGED_LIMIT_BYTES) return undefined;
  return `${subject}: plugin.wasm has ${sizeBytes} bytes: Alibaba's managed gateway accepts at most 50 MB`;
}

const WRITE_BYTES = 256 * 1024;
// IOV_MAX is 1024 on Linux; libuv would split a longer list, but synchronously.
const MAX_PIECES = 512;

async function writeAll(file: FileHandle, pieces: readonly Buffer[], start: number): Promise<void> {
  let position = start;
  for (let from = 0; from < pieces.length; from += MAX_PIECES) {
    const some = pieces.slice(from, from + MAX_PIECES);
    const length = some.reduce((sum, piece) => sum + piece.length, 0);
    const { bytesWritten } = await file.writev(some, position);
    // writev may write less than asked: write the rest.
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

export interface ModuleHashes {
  /** Bare lower-case hex. */
  readonly sha256: string;
  readonly md5: string;
  /** CRC-32, to be compared with that of the bytes that were written. */
  readonly crc: number;
}

interface Waiting {
  readonly resolve: (hashes: ModuleHashes) => void;
  readonly reject: (error: Error) => void;
}

/** The error is a plain object, because an Error loses its code on the way between threads. */
type Reply = { readonly id: number } & ({ readonly hashes: ModuleHashes } | { readonly error: NodeJS.ErrnoException });

const HASH_WORKER = new URL('./hashWorker.js', import.meta.url);

interface HashWorker {
  hash(path: string): ModuleHashes;
}

let worker: Worker | undefined;
let serial = 0;
const waiting = new Map<number, Waiting>();

/**
 * Returns sha256 and md5 of a file that was just written, computed on a worker thread: on the main thread they would be half
 * of a sync's work. The thread starts at the first call, serves all further calls and does not keep the process alive.
 */
export async function hashModule(path: string): Promise<ModuleHashes> {
  worker ??= startWorker();
  const current = worker;
  if (current === undefined) return ((await import(HASH_WORKER.href)) as HashWorker).hash(path);
  current.ref();
  const id = serial++;
  return new Promise<ModuleHashes>((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    current.postMessage({ id, path });
  }).finally(() => {
    if (waiting.size === 0) current.unref();
  });
}

function startWorker(): Worker | undefined {
  const started = startThread(HASH_WORKER, { execArgv: [] });
  if (started === undefined) return undefined;
  started.on('message', ({ id, ...reply }: Reply) => {
    const caller = waiting.get(id);
    waiting.delete(id);
    if ('hashes' in reply) caller?.resolve(reply.hashes);
    else caller?.reject(Object.assign(new Error(reply.error.message), reply.error));
  });
  started.on('error', error => {
    worker = undefined;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  });
  started.unref();
  return started;
}
