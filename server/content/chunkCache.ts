import { type Chunk, type Content, GRANULE_BYTES } from './content.ts';
import type { OpenFile } from './openFile.ts';
import { SlotQueue } from './slotQueue.ts';

export const CHUNK_BYTES = 512 * 1024;
/** The share of slots that newcomers pass through; the others are for what was asked for more often than what it replaces. */
const NEWCOMERS_SHARE = 0.25;

type Waiter = (chunk: Chunk | undefined, error: Error | undefined) => void;

/**
 * A memory of at most `maxBytes` for pieces of files, in slots of one size that are never given back to the allocator, so
 * that neither fragments nor the garbage collector decide how much there is.
 *
 * What goes when a slot is needed: newcomers queue in a quarter of the slots. The oldest of them takes the place of the
 * longest unused settled chunk only if it was asked for more often lately; otherwise it goes itself. A walk through more
 * than fits thus costs newcomers, not what is asked for again and again.
 */
export class ChunkCache {
  /** For readers whom acquire() had no slot for. */
  readonly queue = new SlotQueue();
  readonly #maxSlots: number;
  readonly #free: Buffer[] = [];
  /** In order of last use (a Map keeps the order of insertion). */
  readonly #newcomers = new Map<Chunk, true>();
  readonly #settled = new Map<Chunk, true>();
  readonly #loading = new Map<Chunk, Waiter[]>();
  #slots = 0;
  /** Chunks with a holder. */
  #held = 0;
  #asked = 0;
  #age = 0;
  hits = 0;
  misses = 0;

  constructor(maxBytes: number) {
    this.#maxSlots = Math.max(2, Math.floor(maxBytes / CHUNK_BYTES));
  }

  get sizeBytes(): number {
    return this.#slots * CHUNK_BYTES;
  }

  /**
   * Takes hold of a chunk. Answers it if it is in memory; otherwise undefined, and `waiter` is called when it has been
   * read, with undefined and no error if every slot is held by someone (the caller waits in `queue`, or reads a little for
   * itself).
   */
  acquire(content: Content, index: number, file: OpenFile, waiter: Waiter): Chunk | undefined {
    this.#count(content, index);
    const known = content.chunks[index];
    if (known === undefined) {
      this.misses++;
      this.#load(content, index, file, waiter);
      return undefined;
    }
    this.hits++;
    if (known.holders++ === 0) this.#held++;
    const waiters = this.#loading.get(known);
    if (waiters !== undefined) {
      waiters.push(waiter);
      return undefined;
    }
    const home = known.settled ? this.#settled : this.#newcomers;
    home.delete(known);
    home.set(known, true);
    return known;
  }

  release(chunk: Chunk): void {
    if (--chunk.holders > 0) return;
    this.#held--;
    if (chunk.content.chunks[chunk.index] !== chunk) this.#free.push(chunk.slot);
    this.queue.free();
  }

  /** True if readers hold so much that a slow one should take a copy of what it can use soon, and let go of the rest. */
  get isTight(): boolean {
    return this.#held > this.#maxSlots / 4;
  }

  /** Drops what is cached of a content that is no longer served. Whoever reads it keeps it until then. */
  forget(content: Content): void {
    for (const chunk of content.chunks) if (chunk !== undefined) this.#drop(chunk);
    content.chunks.length = 0;
  }

  #load(content: Content, index: number, file: OpenFile, waiter: Waiter): void {
    const slot = this.#slot();
    if (slot === undefined) {
      queueMicrotask(() => waiter(undefined, undefined));
      return;
    }
    this.#held++;
    const position = index * CHUNK_BYTES;
    const length = Math.min(CHUNK_BYTES, content.sizeBytes - position);
    const chunk: Chunk = { content, index, slot, bytes: slot.subarray(0, length), holders: 1, settled: false };
    const waiters = [waiter];
    content.chunks[index] = chunk;
    this.#newcomers.set(chunk, true);
    this.#loading.set(chunk, waiters);
    file.read(slot, length, position, error => {
      this.#loading.delete(chunk);
      const failure = error ?? (content.matches(chunk.bytes, position) ? undefined : new BytesDiffer());
      if (failure === undefined) {
        for (const waiting of waiters) waiting(chunk, undefined);
        return;
      }
      this.#drop(chunk);
      for (const waiting of waiters) {
        this.release(chunk);
        waiting(undefined, failure);
      }
    });
  }

  #slot(): Buffer | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#slots < this.#maxSlots) {
      this.#slots++;
      return Buffer.allocUnsafeSlow(CHUNK_BYTES);
    }
    const victim = this.#victim();
    if (victim === undefined) return undefined;
    this.#drop(victim);
    return this.#free.pop();
  }

  #victim(): Chunk | undefined {
    const settled = oldestIdle(this.#settled);
    const newcomer = oldestIdle(this.#newcomers);
    if (newcomer === undefined || this.#newcomers.size <= this.#maxSlots * NEWCOMERS_SHARE) return settled ?? newcomer;
    if (this.#settled.size < this.#maxSlots * (1 - NEWCOMERS_SHARE)) {
      this.#settle(newcomer);
      return oldestIdle(this.#newcomers) ?? oldestIdle(this.#settled);
    }
    if (settled === undefined || usesOf(newcomer) <= usesOf(settled)) return newcomer;
    this.#settle(newcomer);
    return settled;
  }

  #settle(chunk: Chunk): void {
    this.#newcomers.delete(chunk);
    this.#settled.set(chunk, true);
    chunk.settled = true;
  }

  #drop(chunk: Chunk): void {
    this.#newcomers.delete(chunk);
    this.#settled.delete(chunk);
    if (chunk.content.chunks[chunk.index] !== chunk) return;
    chunk.content.chunks[chunk.index] = undefined;
    if (chunk.holders === 0) this.#free.push(chunk.slot);
  }

  /** Counts a use. All counts are halved now and then (each content's when it is next met), so that yesterday's fade. */
  #count(content: Content, index: number): void {
    if (++this.#asked >= this.#maxSlots * 16) {
      this.#asked = 0;
      this.#age++;
    }
    const { uses } = content;
    const halvings = Math.min(8, this.#age - content.age);
    if (halvings > 0) for (let at = 0; at < uses.length; at++) uses[at] = (uses[at] ?? 0) >> halvings;
    content.age = this.#age;
    if ((uses[index] ?? 0) < 255) uses[index] = (uses[index] ?? 0) + 1;
  }
}

/** What was read from the disk is not what was proven to be there. */
export class BytesDiffer extends Error {
  constructor() {
    super(`A part of the file has changed since its sha256 was proven (in steps of ${GRANULE_BYTES} bytes)`);
  }
}

function oldestIdle(home: ReadonlyMap<Chunk, true>): Chunk | undefined {
  for (const chunk of home.keys()) if (chunk.holders === 0) return chunk;
  return undefined;
}

function usesOf(chunk: Chunk): number {
  return chunk.content.uses[chunk.index] ?? 0;
}
