/** Blobs up to this size have slots of their own, so that they do not wait behind modules that take seconds. */
const SMALL_BYTES = 1024 * 1024;

interface Waiting {
  readonly sizeBytes: number;
  readonly start: () => void;
}

/**
 * Decides which transfer starts next. At most `limit` run at the same time. The largest goes first, so that the run does not
 * end with one large blob on an otherwise idle connection; a quarter of the slots (at least one, if there are two) prefers
 * small blobs.
 */
export class TransferQueue {
  readonly #limit: number;
  readonly #lane: number;
  readonly #waiting: Waiting[] = [];
  #running = 0;
  #runningSmall = 0;

  constructor(limit: number) {
    this.#limit = Math.max(1, Math.floor(limit));
    this.#lane = this.#limit === 1 ? 0 : Math.max(1, Math.floor(this.#limit / 4));
  }

  /** Waits for a slot; the function returned gives it back. @throws the signal's reason */
  async acquire(sizeBytes: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#running < this.#limit) return this.#enter(sizeBytes);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason);
      };
      const waiting = {
        sizeBytes,
        start: () => {
          signal.removeEventListener('abort', onAbort);
          resolve(this.#enter(sizeBytes));
        },
      };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #enter(sizeBytes: number): () => void {
    const small = sizeBytes <= SMALL_BYTES ? 1 : 0;
    this.#running++;
    this.#runningSmall += small;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#running--;
      this.#runningSmall -= small;
      this.#next()?.start();
    };
  }

  #next(): Waiting | undefined {
    let chosen: number | undefined;
    const smallFirst = this.#runningSmall < this.#lane;
    for (const [index, { sizeBytes }] of this.#waiting.entries()) {
      const best = chosen === undefined ? undefined : this.#waiting[chosen];
      if (best === undefined || goesBefore(sizeBytes, best.sizeBytes, smallFirst)) chosen = index;
    }
    return chosen === undefined ? undefined : this.#waiting.splice(chosen, 1)[0];
  }
}

function goesBefore(size: number, other: number, smallFirst: boolean): boolean {
  if (smallFirst && size <= SMALL_BYTES !== other <= SMALL_BYTES) return size <= SMALL_BYTES;
  return size > other;
}
