import type { ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { BytesDiffer, CHUNK_BYTES, type ChunkCache } from '../content/chunkCache.ts';
import { type Chunk, type Content, GRANULE_BYTES } from '../content/content.ts';
import type { OpenFile } from '../content/openFile.ts';
import type { Sender, Turns } from './fairScheduler.ts';

/** A write that took longer than this to leave the process marks its reader as a slow one, until the next write. */
const SLOW_WRITE_MS = 250;

type Done = (sentBytes: number, failure: Error | undefined) => void;

export interface BodyPart {
  readonly content: Content;
  /** Open and proven; sendBody takes a hold of its own. */
  readonly file: OpenFile;
  /** Both ends included. */
  readonly first: number;
  readonly last: number;
}

/**
 * Writes a part of a content as the body of a response whose header is set, and ends it. One piece is under way at a time,
 * and the next is taken when the reader's turn comes, so that no reader keeps another waiting. `done` is called once,
 * when the response is closed, with the bytes that left and, if the file gave in, why.
 */
export function sendBody(response: ServerResponse, part: BodyPart, by: SendingParts, done: Done): void {
  new BodySender(response, part, by, done).start();
}

export interface SendingParts {
  readonly cache: ChunkCache;
  readonly turns: Turns;
}

class BodySender implements Sender {
  readonly #response: ServerResponse;
  readonly #content: Content;
  readonly #file: OpenFile;
  readonly #cache: ChunkCache;
  readonly #turns: Turns;
  readonly #done: Done;
  readonly #first: number;
  readonly #end: number;
  #position: number;
  #sent: number;
  #held: Chunk | undefined;
  /** For a reader who takes little at a time: its own small piece, so that it holds no slot of the cache. */
  #sip: Buffer | undefined;
  #wroteAtMs = 0;
  #slow = false;
  #over = false;
  #failure: Error | undefined;

  constructor(response: ServerResponse, part: BodyPart, { cache, turns }: SendingParts, done: Done) {
    this.#response = response;
    this.#content = part.content;
    this.#file = part.file;
    this.#cache = cache;
    this.#turns = turns;
    this.#done = done;
    this.#first = part.first;
    this.#end = part.last + 1;
    this.#position = part.first;
    this.#sent = part.first;
  }

  start(): void {
    this.#file.retain();
    this.#response.once('close', this.#closed);
    if (this.#response.destroyed) this.#closed();
    else this.send();
    // The header need not wait for the disk.
    if (!this.#over && this.#position === this.#first) this.#response.flushHeaders();
  }

  get pieceKey(): number {
    return this.#content.number + Math.floor(this.#position / CHUNK_BYTES);
  }

  send(): void {
    if (this.#over) return;
    const index = Math.floor(this.#position / CHUNK_BYTES);
    const chunk = this.#cache.acquire(this.#content, index, this.#file, this.#loaded);
    if (chunk !== undefined) this.#take(chunk);
  }

  #loaded = (chunk: Chunk | undefined, error: Error | undefined): void => {
    if (this.#over) {
      if (chunk !== undefined) this.#cache.release(chunk);
    } else if (chunk !== undefined) this.#take(chunk);
    else if (error !== undefined) this.#fail(error);
    else this.#cache.queue.wait(this.pieceKey, this.#woken);
  };

  #woken = (isFree: boolean): void => {
    if (this.#over) return;
    if (isFree) this.#turns.add(this);
    else this.#readSip();
  };

  #take(chunk: Chunk): void {
    const from = this.#position - chunk.index * CHUNK_BYTES;
    if (this.#slow && this.#cache.isTight) {
      this.#sip ??= Buffer.allocUnsafeSlow(GRANULE_BYTES);
      const length = Math.min(GRANULE_BYTES, chunk.bytes.length - from, this.#end - this.#position);
      chunk.bytes.copy(this.#sip, 0, from, from + length);
      this.#cache.release(chunk);
      this.#write(this.#sip.subarray(0, length));
      return;
    }
    this.#held = chunk;
    this.#write(chunk.bytes.subarray(from, Math.min(chunk.bytes.length, from + this.#end - this.#position)));
  }

  /** Every slot is in use, and not let go of soon: reads one granule past the cache. */
  #readSip(): void {
    this.#sip ??= Buffer.allocUnsafeSlow(GRANULE_BYTES);
    const sip = this.#sip;
    const start = this.#position - (this.#position % GRANULE_BYTES);
    const length = Math.min(GRANULE_BYTES, this.#content.sizeBytes - start);
    this.#file.read(sip, length, start, error => {
      if (this.#over) return;
      if (error !== undefined) this.#fail(error);
      else if (!this.#content.matches(sip.subarray(0, length), start)) this.#fail(new BytesDiffer());
      else this.#write(sip.subarray(this.#position - start, Math.min(length, this.#end - start)));
    });
  }

  #write(bytes: Buffer): void {
    this.#position += bytes.length;
    this.#wroteAtMs = performance.now();
    if (this.#position === this.#end) this.#response.end(bytes, this.#flushed);
    else this.#response.write(bytes, this.#flushed);
  }

  #flushed = (error?: Error | null): void => {
    this.#letGo();
    if (this.#over || (error !== undefined && error !== null)) return;
    this.#sent = this.#position;
    this.#slow = performance.now() - this.#wroteAtMs > SLOW_WRITE_MS;
    if (this.#position < this.#end) this.#turns.add(this);
  };

  /** Too late for a status: the connection is cut, so that nobody takes what was sent for the whole. */
  #fail(error: Error): void {
    this.#failure = error;
    this.#response.destroy();
  }

  #closed = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#letGo();
    this.#file.release();
    this.#done(this.#sent - this.#first, this.#failure);
  };

  #letGo(): void {
    if (this.#held === undefined) return;
    this.#cache.release(this.#held);
    this.#held = undefined;
  }
}
