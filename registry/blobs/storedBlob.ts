import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';

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

/** A blob in a file. The file stays open until the last reader has finished, even if its name is removed meanwhile. */
export class FileBlob implements StoredBlob {
  readonly #file: FileHandle;
  readonly #sizeBytes: number;
  #users = 1;
  #closing: Promise<void> = Promise.resolve();

  constructor(file: FileHandle, sizeBytes: number) {
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  openReader(): Readable {
    this.#users++;
    return new FileReader(this.#file, this.#sizeBytes, () => this.#leave());
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
  readonly #sizeBytes: number;
  readonly #done: () => Promise<void>;
  #position = 0;

  constructor(file: FileHandle, sizeBytes: number, done: () => Promise<void>) {
    super({ highWaterMark: READ_BYTES });
    this.#file = file;
    this.#sizeBytes = sizeBytes;
    this.#done = done;
  }

  override _read(): void {
    const length = Math.min(READ_BYTES, this.#sizeBytes - this.#position);
    if (length === 0) {
      this.push(null);
      return;
    }
    this.#file.read(Buffer.allocUnsafe(length), 0, length, this.#position).then(
      ({ bytesRead, buffer }) => {
        if (bytesRead === 0) {
          this.destroy(new Error('a blob in the cache folder shrank while it was read'));
          return;
        }
        this.#position += bytesRead;
        this.push(buffer.subarray(0, bytesRead));
      },
      (error: Error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#done().then(
      () => callback(error),
      () => callback(error),
    );
  }
}
