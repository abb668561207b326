import type { FileHandle } from 'node:fs/promises';
import type { Digest } from '../reference.ts';
import type { CacheFolder } from './cacheFolder.ts';
import { DiskFault, ifExists, onDisk } from './diskFault.ts';

/** Bytes gathered before they are written: few, large writes cost the least. */
const BATCH_BYTES = 512 * 1024;
/** Bytes of a slow connection are written at least this often, so that a killed process loses little. */
const IDLE_FLUSH_MS = 500;
const READ_BYTES = 1024 * 1024;

/**
 * A part of a blob that is being downloaded into the cache. Chunks are gathered and written in batches while the next ones
 * arrive. The file is created with the first batch, so that a small blob costs one write.
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

  /** Takes over the part that an earlier run left, and returns its size in bytes. @throws DiskFault */
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

  /** Appends a chunk. The promise, if there is one, must be awaited before the next call. @throws DiskFault */
  append(chunk: Buffer): Promise<void> | undefined {
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes >= BATCH_BYTES) return this.#flush();
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush().catch(() => {}); // kept in #fault, and thrown by the next append or at the end
    }, IDLE_FLUSH_MS).unref();
    return undefined;
  }

  /** Makes the part the whole blob and returns its open file. @throws DiskFault */
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

  /** Keeps the part for a later run or attempt. Never throws. */
  async keep(): Promise<void> {
    try {
      await this.#drain();
    } catch {
      // what was written before the fault is kept
    }
    await this.#close();
    if (this.#path !== undefined) await this.#folder.leavePart(this.#digest, this.#path);
    this.#path = undefined;
  }

  /** Removes the part; it can be started again. Never throws. */
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

  /** Queues the gathered bytes for writing, and waits for the write before them. */
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
    await ifExists(async () => file?.close()).catch(() => {});
  }
}

/** Returns the chunks that are left to write: an almost full disk may write fewer bytes than it was given. */
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
