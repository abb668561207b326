/**
 * Limits the number of concurrent downloads to `most`. Further ones wait in a queue for at most `maxWaitMs`, the first to
 * come first; when `mostWaiting` downloads wait, the next one is refused immediately.
 */
export class DownloadLimit {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #maxWaitMs: number;
  readonly #queue = new Set<(isAdmitted: boolean) => void>();
  running = 0;

  constructor(most: number, mostWaiting: number, maxWaitMs: number) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
    this.#maxWaitMs = maxWaitMs;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /**
   * Returns true if the download may start (the caller calls leave() at its end) and false if it is refused. Otherwise the
   * download waits: `decided` is called later, unless the caller withdraws.
   */
  enter(decided: (isAdmitted: boolean) => void): boolean | { withdraw(): void } {
    if (this.running < this.#most) {
      this.running++;
      return true;
    }
    if (this.#queue.size >= this.#mostWaiting) return false;
    const entry = (isAdmitted: boolean): void => {
      clearTimeout(timer);
      this.#queue.delete(entry);
      decided(isAdmitted);
    };
    const timer = setTimeout(entry, this.#maxWaitMs, false);
    this.#queue.add(entry);
    return {
      withdraw: () => {
        clearTimeout(timer);
        this.#queue.delete(entry);
      },
    };
  }

  leave(): void {
    const [next] = this.#queue;
    if (next === undefined) this.running--;
    else next(true); // `running` stays the same: `next` takes the place
  }
}
