import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Descriptor } from '../image.ts';
import { algorithmOf } from '../images/digestOf.ts';
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

class FileReader extends Readable {
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
      (error: Error) => this.destroy(error),
    );
  }

  #end(): void {
    const { digest } = this.#descriptor;
    const found = `${algorithmOf(digest)}:${this.#hash.digest('hex')}`;
    if (found === digest) this.push(null);
    else this.#refuse(found);
  }

  #refuse(found: string): void {
    const { digest, size } = this.#descriptor;
    const error = new CacheUnusable('The cache folder returned other bytes of a blob than it was given', {
      subject: `blob ${digest}`,
      expected: `${size} bytes with the digest ${digest}`,
      found,
      hint: 'Run it again: the blob is downloaded again. If it happens again, check the disk, and that only trusted users can write to the cache folder; --cache-dir names another one.',
    });
    this.#onWrong().then(
      () => this.destroy(error),
      () => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#done().then(
      () => callback(error),
      () => callback(error),
    );
  }
}
