import { CHUNK_BYTES, type Chunk, type Content, GRANULE_BYTES } from './content.ts';
import type { OpenFile } from './openFile.ts';
import { SlotQueue } from './slotQueue.ts';

/** The share of slots in the probation segment. */
const PROBATION_SHARE = 0.25;

type Waiter = (chunk: Chunk | undefined, error: Error | undefined) => void;

/**
 * Keeps chunks of files in at most `maxBytes` of memory. The memory consists of slots of one size that are never returned to
 * the allocator, so that neither fragmentation nor the garbage collector decides how much is used.
 *
 * Eviction is a segmented LRU with counts of recent requests: a new chunk enters the probation segment, a quarter of the
 * slots. When its oldest chunk has to leave, it replaces the least recently used protected chunk if it was requested more
 * often lately, and is evicted otherwise. A scan over more files than fit therefore evicts only the chunks of that scan.
 */
export class ChunkCache {
  /** For downloads that got no slot from acquire(). */
  readonly queue = new SlotQueue();
  readonly #maxSlots: number;
  readonly #free: Buffer[] = [];
  /** Both segments in order of last use (a Map keeps the order of insertion). */
  readonly #probation = new Map<Chunk, true>();
  readonly #protected = new Map<Chunk, true>();
  readonly #loading = new Map<Chunk, Waiter[]>();
  #slots = 0;
  /** Number of chunks with at least one holder. */
  #held = 0;
  #requests = 0;
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
   * Returns the chunk, with one more holder, if it is in memory. Otherwise returns undefined, reads the chunk and passes it
   * to `waiter`. `waiter` gets neither chunk nor error if all slots have holders: the caller then waits in `queue` or reads
   * a granule without the cache.
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
    const segment = known.isProtected ? this.#protected : this.#probation;
    segment.delete(known);
    segment.set(known, true);
    return known;
  }

  release(chunk: Chunk): void {
    if (--chunk.holders > 0) return;
    this.#held--;
    if (chunk.content.chunks[chunk.index] !== chunk) this.#free.push(chunk.slot);
    this.queue.free();
  }

  /** Whether holders occupy so many slots that a slow client should copy the bytes it can take soon and release the chunk. */
  get isTight(): boolean {
    return this.#held > this.#maxSlots / 4;
  }

  /** Drops the chunks of a content that is no longer served. Holders keep theirs until they release them. */
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
    const chunk: Chunk = { content, index, slot, bytes: slot.subarray(0, length), holders: 1, isProtected: false };
    const waiters = [waiter];
    content.chunks[index] = chunk;
    this.#probation.set(chunk, true);
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
    const leastRecent = oldestIdle(this.#protected);
    const newcomer = oldestIdle(this.#probation);
    if (newcomer === undefined || this.#probation.size <= this.#maxSlots * PROBATION_SHARE)
      return leastRecent ?? newcomer;
    if (this.#protected.size < this.#maxSlots * (1 - PROBATION_SHARE)) {
      this.#protect(newcomer);
      return oldestIdle(this.#probation) ?? oldestIdle(this.#protected);
    }
    if (leastRecent === undefined || usesOf(newcomer) <= usesOf(leastRecent)) return newcomer;
    this.#protect(newcomer);
    return leastRecent;
  }

  #protect(chunk: Chunk): void {
    this.#probation.delete(chunk);
    this.#protected.set(chunk, true);
    chunk.isProtected = true;
  }

  #drop(chunk: Chunk): void {
    this.#probation.delete(chunk);
    this.#protected.delete(chunk);
    if (chunk.content.chunks[chunk.index] !== chunk) return;
    chunk.content.chunks[chunk.index] = undefined;
    if (chunk.holders === 0) this.#free.push(chunk.slot);
  }

  /** Counts a request. All counts are halved from time to time (each content's at its next request), so that old requests fade. */
  #count(content: Content, index: number): void {
    if (++this.#requests >= this.#maxSlots * 16) {
      this.#requests = 0;
      this.#age++;
    }
    const { uses } = content;
    const halvings = Math.min(8, this.#age - content.age);
    if (halvings > 0) for (let at = 0; at < uses.length; at++) uses[at] = (uses[at] ?? 0) >> halvings;
    content.age = this.#age;
    if ((uses[index] ?? 0) < 255) uses[index] = (uses[index] ?? 0) + 1;
  }
}

/** The bytes read from disk are not the bytes that were hashed. */
export class BytesDiffer extends Error {
  constructor() {
    super(`A part of the file has changed since its sha256 was proven (in steps of ${GRANULE_BYTES} bytes)`);
  }
}

function oldestIdle(segment: ReadonlyMap<Chunk, true>): Chunk | undefined {
  for (const chunk of segment.keys()) if (chunk.holders === 0) return chunk;
  return undefined;
}

function usesOf(chunk: Chunk): number {
  return chunk.content.uses[chunk.index] ?? 0;
}
