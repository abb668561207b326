import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { algorithmOf } from '../../base/digest.ts';
import { errnoWords } from '../../base/errno.ts';
import { asError } from '../../base/refusal.ts';
import type { CopyStream } from '../../layout/writeLayout.ts';
import type { Descriptor } from '../image.ts';
import { CacheUnusable } from './cache.ts';

const READ_BYTES = 512 * 1024;

/** A verified blob, for any number of readers. */
export interface StoredBlob {
  openReader(): Readable;
  /** Ends the creator's use; open readers continue. */
  release(): void;
}

/** A blob that stays in memory until it is read. */
export class MemoryBlob implements StoredBlob {
  readonly #chunks: readonly Buffer[];

  constructor(chunks: readonly Buffer[]) {
    this.#chunks = chunks;
  }

  openReader(): Readable {
    return Readable.from(this.#chunks, { objectMode: false });
  }

  release(): void {}
}

/**
 * A blob in a file. The file stays open until the last reader has finished, even if its name is removed meanwhile. Every reader
 * hashes what it reads: the disk may return other bytes than it was given, and others may write to a shared cache folder.
 */
export class FileBlob implements StoredBlob {
  readonly #file: FileHandle;
  readonly #descriptor: Descriptor;
  readonly #onWrong: () => Promise<void>;
  #users = 1;
  #closing: Promise<void> = Promise.resolve();

  /** @param onWrong called if a reader gets other bytes than the verified ones */
  constructor(file: FileHandle, descriptor: Descriptor, onWrong: () => Promise<void>) {
    this.#file = file;
    this.#descriptor = descriptor;
    this.#onWrong = onWrong;
  }

  openReader(): Readable {
    this.#users++;
    return new FileReader(this.#file, this.#descriptor, this.#onWrong, () => this.#leave());
  }

  release(): void {
    this.#leave().catch(() => {}); // the file was only read, so a failed close loses nothing
  }

  #leave(): Promise<void> {
    if (--this.#users === 0) this.#closing = this.#file.close();
    return this.#closing;
  }
}

class FileReader extends Readable implements CopyStream {
  readonly #file: FileHandle;
  readonly #descriptor: Descriptor;
  readonly #onWrong: () => Promise<void>;
  readonly #done: () => Promise<void>;
  readonly #hash: Hash;
  #position = 0;

  constructor(file: FileHandle, descriptor: Descriptor, onWrong: () => Promise<void>, done: () => Promise<void>) {
    super({ highWaterMark: READ_BYTES });
    this.#file = file;
    this.#descriptor = descriptor;
    this.#onWrong = onWrong;
    this.#done = done;
    this.#hash = createHash(algorithmOf(descriptor.digest));
  }

  /** Part of layout/writeLayout.ts, `CopyStream`. */
  async copyTo(take: (piece: Buffer) => Promise<void>, buffers: readonly [Buffer, Buffer]): Promise<void> {
    let taken: Promise<void> = Promise.resolve();
    try {
      const { size } = this.#descriptor;
      for (let at = 0; this.#position < size; at = 1 - at) {
        const buffer = buffers[at as 0 | 1];
        const length = Math.min(buffer.length, size - this.#position);
        const { bytesRead } = await this.#file.read(buffer, 0, length, this.#position).catch(async (error: unknown) => {
          throw await this.#unreadable(error);
        });
        if (this.destroyed) throw this.errored ?? new Error('the stream was closed');
        if (bytesRead === 0) throw await this.#wrong(`${this.#position} bytes`);
        this.#position += bytesRead;
        const piece = buffer.subarray(0, bytesRead);
        this.#hash.update(piece);
        await taken;
        taken = take(piece);
        taken.catch(() => undefined); // the next round reports the error
      }
      await taken;
      const found = this.#found();
      if (found !== this.#descriptor.digest) throw await this.#wrong(found);
    } catch (error) {
      throw this.errored ?? error;
    } finally {
      await taken.catch(() => undefined); // it uses a buffer
      this.destroy();
    }
  }

  override _read(): void {
    const length = Math.min(READ_BYTES, this.#descriptor.size - this.#position);
    if (length === 0) {
      this.#end();
      return;
    }
    this.#file.read(Buffer.allocUnsafe(length), 0, length, this.#position).then(
      ({ bytesRead, buffer }) => {
        if (bytesRead === 0) {
          this.#refuse(`${this.#position} bytes`);
          return;
        }
        const bytes = buffer.subarray(0, bytesRead);
        this.#position += bytesRead;
        this.#hash.update(bytes);
        this.push(bytes);
      },
      (error: unknown) => this.#unreadable(error).then(refusal => this.destroy(refusal)),
    );
  }

  #end(): void {
    const found = this.#found();
    if (found === this.#descriptor.digest) this.push(null);
    else this.#refuse(found);
  }

  #found(): string {
    return `${algorithmOf(this.#descriptor.digest)}:${this.#hash.digest('hex')}`;
  }

  #refuse(found: string): void {
    this.#wrong(found).then(error => this.destroy(error));
  }

  /** Removes the blob from the cache. Returns the error. */
  async #unreadable(cause: unknown): Promise<CacheUnusable> {
    await this.#onWrong().catch(() => undefined);
    return new CacheUnusable('The cache folder does not return a blob that it was given', {
      subject: `blob ${this.#descriptor.digest}`,
      expected: 'a file that can be read',
      found: errnoWords(cause) ?? asError(cause).message,
      hint: 'Run it again: the blob is downloaded again. If it happens again, check the disk; --cache-dir names another folder.',
      cause,
    });
  }

  /** Removes the blob from the cache. Returns the error. */
  async #wrong(found: string): Promise<CacheUnusable> {
    const { digest, size } = this.#descriptor;
    await this.#onWrong().catch(() => undefined);
    return new CacheUnusable('The cache folder returned other bytes of a blob than it was given', {
      subject: `blob ${digest}`,
      expected: `${size} bytes with the digest ${digest}`,
      found,
      hint: 'Run it again: the blob is downloaded again. If it happens again, check the disk, and that only trusted users can write to the cache folder; --cache-dir names another one.',
    });
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#done().then(
      () => callback(error),
      () => callback(error),
    );
  }
}
