import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import { SharedWork } from '../concurrency/sharedWork.ts';
import type { Descriptor } from '../image.ts';
import { formatReference, type Reference } from '../reference.ts';
import type { CacheProof } from '../registry.ts';
import { BlobVerifier } from './blobVerifier.ts';
import { evict } from './cache.ts';
import { CacheFolder } from './cacheFolder.ts';
import { DiskFault } from './diskFault.ts';
import { type BlobSource, obtainBlob, obtainInMemory } from './obtainBlob.ts';
import { MemoryBlob, type StoredBlob } from './storedBlob.ts';

const CACHE_SIZE_BYTES = 2 * 1024 ** 3;
/** Content embedded in a descriptor is meant for small configs; a larger blob is downloaded. */
const INLINE_BYTES = 64 * 1024;

export interface BlobStoreOptions {
  readonly cacheDir?: string | undefined;
  readonly cacheSizeBytes?: number | undefined;
}

interface Running {
  readonly repository: string;
  readonly work: SharedWork<StoredBlob>;
}

/**
 * All blobs of a run. Each is downloaded once, verified, and kept for further callers: in the cache folder, or, if that fails,
 * in a temporary folder that is removed with the run, or, if that fails too, in memory.
 */
export class BlobStore {
  readonly #source: BlobSource;
  readonly #cacheSizeBytes: number;
  readonly #running = new Map<string, Running>();
  readonly #readers = new Set<Readable>();
  readonly #closing = new AbortController();
  readonly #failed = new Set<CacheFolder>();
  readonly #cache: CacheFolder | undefined;
  #temporary: Promise<CacheFolder | undefined> | undefined;

  constructor(source: BlobSource, options: BlobStoreOptions) {
    this.#source = source;
    this.#cache = options.cacheDir === undefined ? undefined : new CacheFolder(options.cacheDir);
    this.#cacheSizeBytes = options.cacheSizeBytes ?? CACHE_SIZE_BYTES;
  }

  /** Returns the blob's bytes, once all of them are here and verified. @throws this room's refusals, or the signal's reason */
  async open(
    reference: Reference,
    descriptor: Descriptor,
    signal?: AbortSignal,
    proof: CacheProof = 'first',
  ): Promise<Readable> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const reader = this.#inline(reference, descriptor) ?? (await this.#join(reference, descriptor, signal, proof));
    this.#readers.add(reader);
    reader.once('close', () => this.#readers.delete(reader));
    reader.on('error', () => {}); // an abort before the caller reads must not end the process
    return signal === undefined ? reader : addAbortSignal(signal, reader);
  }

  /** Ends all transfers and readers, then trims the cache folder to its size. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the registry was closed'));
    for (const reader of this.#readers) reader.destroy(new Error('the registry was closed'));
    await Promise.all([...this.#running.values()].map(({ work }) => work.ended()));
    const temporary = await this.#temporary;
    if (temporary !== undefined) await rm(temporary.dir, { recursive: true, force: true });
    const cache = this.#cache;
    if (cache !== undefined)
      await evict(cache, this.#cacheSizeBytes).catch(error => this.#failed.has(cache) || this.#warn(error));
  }

  async #join(
    reference: Reference,
    descriptor: Descriptor,
    signal: AbortSignal | undefined,
    proof: CacheProof,
  ): Promise<Readable> {
    // Two manifests may claim different sizes for one digest: the wrong one must not affect the other.
    const key = `${descriptor.digest}/${descriptor.size}/${proof}`;
    const repository = `${reference.registry}/${reference.repository}`;
    for (;;) {
      const found = this.#running.get(key);
      if (found?.work.abandoned) {
        await found.work.ended();
        if (this.#running.get(key) === found) this.#running.delete(key);
        continue;
      }
      const running = found ?? this.#start(key, repository, reference, descriptor, proof);
      try {
        return await running.work.join(signal, blob => blob.openReader());
      } catch (error) {
        signal?.throwIfAborted();
        this.#closing.signal.throwIfAborted();
        // It was requested from another repository; this caller's may still have it.
        if (found === undefined || running.repository === repository) throw error;
      }
    }
  }

  #start(key: string, repository: string, reference: Reference, descriptor: Descriptor, proof: CacheProof): Running {
    const forget = () => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    const work = new SharedWork<StoredBlob>(
      async signal => {
        try {
          return await this.#obtain(reference, descriptor, AbortSignal.any([signal, this.#closing.signal]), proof);
        } catch (error) {
          forget();
          throw error;
        }
      },
      blob => {
        forget();
        blob.release();
      },
    );
    const running = { repository, work };
    this.#running.set(key, running);
    return running;
  }

  async #obtain(
    reference: Reference,
    descriptor: Descriptor,
    signal: AbortSignal,
    proof: CacheProof,
  ): Promise<StoredBlob> {
    for (;;) {
      const folder = await this.#folder();
      if (folder === undefined) return obtainInMemory(this.#source, reference, descriptor, signal);
      try {
        return await obtainBlob(this.#source, reference, descriptor, folder, signal, proof);
      } catch (error) {
        if (!(error instanceof DiskFault)) throw error;
        this.#giveUp(folder, error);
      }
    }
  }

  /** Returns the cache folder; after it failed, a temporary one; after that failed too, undefined. */
  async #folder(): Promise<CacheFolder | undefined> {
    if (this.#cache !== undefined && !this.#failed.has(this.#cache)) return this.#cache;
    this.#temporary ??= mkdtemp(join(tmpdir(), 'plugin-mirror-')).then(
      dir => new CacheFolder(dir),
      () => undefined,
    );
    const temporary = await this.#temporary;
    return temporary === undefined || this.#failed.has(temporary) ? undefined : temporary;
  }

  #giveUp(folder: CacheFolder, error: DiskFault): void {
    if (this.#failed.has(folder)) return;
    this.#failed.add(folder);
    this.#source.verified.clear();
    if (folder === this.#cache) this.#warn(error);
  }

  #warn(error: unknown): void {
    const message = `The cache folder cannot be used, the run continues without it: ${error instanceof Error ? error.message : String(error)}`;
    this.#source.transfer.onEvent?.({ type: 'warning', subject: 'cache', message });
  }

  /** Content that needs no request: an empty blob, or one embedded in the descriptor (image-spec, descriptor.md, data). */
  #inline(reference: Reference, descriptor: Descriptor): Readable | undefined {
    const { size, data } = descriptor;
    if (size > 0 && (data === undefined || size > INLINE_BYTES)) return undefined;
    const bytes = size === 0 ? Buffer.alloc(0) : Buffer.from(data ?? '', 'base64');
    const verifier = new BlobVerifier(descriptor, formatReference(reference));
    verifier.update(bytes);
    try {
      verifier.verify();
    } catch (error) {
      if (size === 0) throw error;
      return undefined; // wrong data: download the blob
    }
    return new MemoryBlob(size === 0 ? [] : [bytes]).openReader();
  }
}
