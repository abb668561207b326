import type { ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { BytesDiffer, type ChunkCache } from '../content/chunkCache.ts';
import { CHUNK_BYTES, type Chunk, type Content, GRANULE_BYTES } from '../content/content.ts';
import type { OpenFile } from '../content/openFile.ts';
import type { FairScheduler, Sender } from './fairScheduler.ts';
import type { SocketMemory } from './socketMemory.ts';

/** If a write takes longer than this to leave the process, the client counts as slow until its next write. */
const SLOW_WRITE_MS = 250;

type Done = (sentBytes: number, failure: Error | undefined) => void;

export interface BodyPart {
  readonly content: Content;
  /** Open and proven. sendBody retains it on its own. */
  readonly file: OpenFile;
  readonly first: number;
  /** Inclusive, like `first`. */
  readonly last: number;
}

export interface SendingParts {
  readonly cache: ChunkCache;
  readonly scheduler: FairScheduler;
  readonly memory: SocketMemory;
}

/**
 * Sends a part of a content as the body of a response whose header has been set, and ends the response. Writes one chunk at
 * a time, each when the scheduler grants a turn. Calls `done` once, when the response is closed, with the number of bytes
 * that left the process and the error of the file, if there was one.
 */
export function sendBody(response: ServerResponse, part: BodyPart, parts: SendingParts, done: Done): SentBody {
  const sender = new BodySender(response, part, parts, done);
  sender.start();
  return sender;
}

export interface SentBody {
  /** How long the client has taken no whole write, in milliseconds. */
  readonly stalledMs: number;
}

class BodySender implements Sender, SentBody {
  readonly #response: ServerResponse;
  readonly #content: Content;
  readonly #file: OpenFile;
  readonly #cache: ChunkCache;
  readonly #scheduler: FairScheduler;
  readonly #memory: SocketMemory;
  readonly #done: Done;
  readonly #first: number;
  readonly #end: number;
  #position: number;
  #sent: number;
  #held: Chunk | undefined;
  /** A granule of this sender's own: a slow client then occupies no slot of the cache. */
  #smallRead: Buffer | undefined;
  #wroteAtMs = 0;
  #isWriting = false;
  /** Of the write that is under way. */
  #pendingBytes = 0;
  /** The most bytes of a write. Where the kernel's memory is limited, a client proves first that it reads. */
  #mostBytes: number;
  #isSlow = false;
  #isOver = false;
  #failure: Error | undefined;

  constructor(response: ServerResponse, part: BodyPart, { cache, scheduler, memory }: SendingParts, done: Done) {
    this.#response = response;
    this.#content = part.content;
    this.#file = part.file;
    this.#cache = cache;
    this.#scheduler = scheduler;
    this.#memory = memory;
    this.#done = done;
    this.#first = part.first;
    this.#end = part.last + 1;
    this.#position = part.first;
    this.#sent = part.first;
    this.#mostBytes = memory.isLimited ? GRANULE_BYTES : CHUNK_BYTES;
  }

  start(): void {
    this.#file.retain();
    this.#response.once('close', this.#closed);
    if (this.#response.destroyed) this.#closed();
    else if (this.#memory.hasRoom()) this.send();
    else this.#scheduler.add(this);
    // The header does not wait for the disk.
    if (!this.#isOver && this.#position === this.#first) this.#response.flushHeaders();
  }

  get stalledMs(): number {
    return this.#isWriting ? performance.now() - this.#wroteAtMs : 0;
  }

  get chunkKey(): number {
    return this.#content.number + Math.floor(this.#position / CHUNK_BYTES);
  }

  send(): void {
    if (this.#isOver) return;
    const index = Math.floor(this.#position / CHUNK_BYTES);
    const chunk = this.#cache.acquire(this.#content, index, this.#file, this.#loaded);
    if (chunk !== undefined) this.#sendFrom(chunk);
  }

  #loaded = (chunk: Chunk | undefined, error: Error | undefined): void => {
    if (this.#isOver) {
      if (chunk !== undefined) this.#cache.release(chunk);
    } else if (chunk !== undefined) this.#sendFrom(chunk);
    else if (error !== undefined) this.#fail(error);
    else this.#cache.queue.wait(this.chunkKey, this.#woken);
  };

  #woken = (isFree: boolean): void => {
    if (this.#isOver) return;
    if (isFree) this.#scheduler.add(this);
    else this.#readGranule();
  };

  #sendFrom(chunk: Chunk): void {
    const from = this.#position - chunk.index * CHUNK_BYTES;
    if (this.#isSlow && this.#cache.isTight) {
      this.#smallRead ??= Buffer.allocUnsafeSlow(GRANULE_BYTES);
      const length = Math.min(GRANULE_BYTES, chunk.bytes.length - from, this.#end - this.#position);
      chunk.bytes.copy(this.#smallRead, 0, from, from + length);
      this.#cache.release(chunk);
      this.#write(this.#smallRead.subarray(0, length));
      return;
    }
    this.#held = chunk;
    const length = Math.min(this.#mostBytes, this.#end - this.#position);
    this.#write(chunk.bytes.subarray(from, Math.min(chunk.bytes.length, from + length)));
  }

  /** All slots of the cache are in use: reads one granule without it. */
  #readGranule(): void {
    this.#smallRead ??= Buffer.allocUnsafeSlow(GRANULE_BYTES);
    const granule = this.#smallRead;
    const start = this.#position - (this.#position % GRANULE_BYTES);
    const length = Math.min(GRANULE_BYTES, this.#content.sizeBytes - start);
    this.#file.read(granule, length, start, error => {
      if (this.#isOver) return;
      if (error !== undefined) this.#fail(error);
      else if (!this.#content.matches(granule.subarray(0, length), start)) this.#fail(new BytesDiffer());
      else this.#write(granule.subarray(this.#position - start, Math.min(length, this.#end - start)));
    });
  }

  #write(bytes: Buffer): void {
    this.#position += bytes.length;
    this.#pendingBytes = bytes.length;
    this.#memory.write(bytes.length);
    this.#wroteAtMs = performance.now();
    this.#isWriting = true;
    if (this.#position === this.#end) this.#response.end(bytes, this.#flushed);
    else this.#response.write(bytes, this.#flushed);
  }

  #flushed = (error?: Error | null): void => {
    this.#releaseChunk();
    this.#taken();
    this.#isWriting = false;
    if (this.#isOver || (error !== undefined && error !== null)) return;
    this.#sent = this.#position;
    this.#isSlow = performance.now() - this.#wroteAtMs > SLOW_WRITE_MS;
    if (this.#memory.isLimited)
      this.#mostBytes = this.#isSlow ? GRANULE_BYTES : Math.min(2 * this.#mostBytes, CHUNK_BYTES);
    if (this.#position < this.#end) this.#scheduler.add(this);
  };

  /** The status has been sent, so only a cut connection shows the client that the body is incomplete. */
  #fail(error: Error): void {
    this.#failure = error;
    this.#response.destroy();
  }

  #closed = (): void => {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#releaseChunk();
    this.#taken();
    this.#file.release();
    this.#done(this.#sent - this.#first, this.#failure);
  };

  #taken(): void {
    this.#memory.taken(this.#pendingBytes);
    this.#pendingBytes = 0;
  }

  #releaseChunk(): void {
    if (this.#held === undefined) return;
    this.#cache.release(this.#held);
    this.#held = undefined;
  }
}
