import type { FileHandle } from 'node:fs/promises';
import type { Digest } from '../reference.ts';
import type { CacheFolder } from './cacheFolder.ts';
import { DiskFault, ifThere, onDisk } from './diskFault.ts';

/** Bytes gathered before they are written: few, large writes cost the least. */
const BATCH_BYTES = 512 * 1024;
/** A slow line's bytes are written at least this often, so that a killed process loses little. */
const IDLE_FLUSH_MS = 500;
const READ_BYTES = 1024 * 1024;

/**
 * A part of a blob on its way to the cache. Chunks are written as they are, several at a time, while the next ones gather;
 * the file is made with the first batch, so that a small blob costs one write.
 */
export class PartialFile {
  readonly #folder: CacheFolder;
  readonly #digest: Digest;
  #path: string | undefined;
  #file: FileHandle | undefined;
  #writtenBytes = 0;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #fault: DiskFault | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(folder: CacheFolder, digest: Digest) {
    this.#folder = folder;
    this.#digest = digest;
  }

  /** Takes over what an earlier run left; how many bytes that is. @throws DiskFault */
  async adopt(): Promise<number> {
    const found = await this.#folder.adoptPart(this.#digest);
    if (found === undefined) return 0;
    this.#path = found.path;
    this.#file = found.file;
    this.#writtenBytes = found.sizeBytes;
    return found.sizeBytes;
  }

  /** The bytes written so far, in order. @throws DiskFault */
  async *readBack(): AsyncGenerator<Buffer> {
    const file = this.#file;
    for (let position = 0; file !== undefined && position < this.#writtenBytes; ) {
      const { bytesRead, buffer } = await onDisk(() =>
        file.read(Buffer.allocUnsafe(Math.min(READ_BYTES, this.#writtenBytes - position)), 0, undefined, position),
      );
      if (bytesRead === 0) throw new DiskFault(new Error('a part of a blob shrank while it was read'));
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /** Takes a chunk; what it returns must be awaited before the next one. @throws DiskFault */
  append(chunk: Buffer): Promise<void> | undefined {
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes >= BATCH_BYTES) return this.#flush();
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush().catch(() => {}); // kept in #fault, told at the next append or at the end
    }, IDLE_FLUSH_MS).unref();
    return undefined;
  }

  /** Makes it the whole blob, and hands its open file over. @throws DiskFault */
  async commit(): Promise<FileHandle> {
    await this.#drain();
    const path = this.#path;
    const file = this.#file;
    if (path === undefined || file === undefined) throw new DiskFault(new Error('nothing was written'));
    await this.#folder.commit(this.#digest, path);
    this.#path = undefined;
    this.#file = undefined;
    return file;
  }

  /** Leaves it for a later run, or for a later try of this one. Never throws. */
  async keep(): Promise<void> {
    try {
      await this.#drain();
    } catch {
      // what was written before is as good a part as any
    }
    await this.#close();
    if (this.#path !== undefined) await this.#folder.leavePart(this.#digest, this.#path);
    this.#path = undefined;
  }

  /** Throws it away; it can be begun anew. Never throws. */
  async discard(): Promise<void> {
    this.#gathered = [];
    this.#gatheredBytes = 0;
    await this.#writing;
    await this.#close();
    const path = this.#path;
    this.#path = undefined;
    this.#writtenBytes = 0;
    this.#fault = undefined;
    if (path !== undefined) await this.#folder.remove(path).catch(() => {});
  }

  async #drain(): Promise<void> {
    await this.#flush();
    await this.#writing;
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Puts what has gathered in line to be written, and waits for the write before it. */
  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const before = this.#writing;
    if (this.#gatheredBytes > 0) {
      const batch = this.#gathered;
      this.#gathered = [];
      this.#gatheredBytes = 0;
      this.#writing = before.then(async () => {
        try {
          if (this.#fault === undefined) await this.#write(batch);
        } catch (error) {
          this.#fault = error instanceof DiskFault ? error : new DiskFault(error);
        }
      });
    }
    await before;
    if (this.#fault !== undefined) throw this.#fault;
  }

  async #write(batch: Buffer[]): Promise<void> {
    if (this.#file === undefined) {
      const { path, file } = await this.#folder.createPart(this.#digest);
      this.#path = path;
      this.#file = file;
    }
    const file = this.#file;
    let rest = batch;
    while (rest.length > 0) {
      const chunks = rest;
      const { bytesWritten } = await onDisk(() => file.writev(chunks, this.#writtenBytes));
      this.#writtenBytes += bytesWritten;
      rest = after(chunks, bytesWritten);
    }
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const file = this.#file;
    this.#file = undefined;
    await ifThere(async () => file?.close()).catch(() => {});
  }
}

/** What is left to write: a disk may take less than it was given, just before it is full. */
function after(chunks: readonly Buffer[], bytesWritten: number): Buffer[] {
  let skipBytes = bytesWritten;
  const rest: Buffer[] = [];
  for (const chunk of chunks) {
    if (skipBytes >= chunk.length) skipBytes -= chunk.length;
    else {
      rest.push(skipBytes === 0 ? chunk : chunk.subarray(skipBytes));
      skipBytes = 0;
    }
  }
  return rest;
}
