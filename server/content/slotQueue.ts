import { performance } from 'node:perf_hooks';

/** Longer than a chunk needs to reach a fast client, too short to be noticed. */
const PATIENCE_MS = 30;

/** Called once: with true when a slot may be free, with false when the wait was too long. */
type Wake = (isFree: boolean) => void;

/**
 * Downloads that wait for a slot of the chunk cache, grouped by the chunk they need: all that wait for one chunk are woken
 * together and share it. Waiting helps only while other downloads release slots. If none has been released lately, a
 * download reads from disk without the cache.
 */
export class SlotQueue {
  /** By chunk, the longest waiting first. */
  readonly #waiting = new Map<number, { readonly sinceMs: number; readonly wakes: Wake[] }>();
  #freedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  wait(chunkKey: number, wake: Wake): void {
    const nowMs = performance.now();
    if (nowMs - this.#freedAtMs > PATIENCE_MS) {
      wake(false);
      return;
    }
    const known = this.#waiting.get(chunkKey);
    if (known === undefined) this.#waiting.set(chunkKey, { sinceMs: nowMs, wakes: [wake] });
    else known.wakes.push(wake);
    this.#timer ??= setTimeout(this.#expire, PATIENCE_MS);
  }

  /** To be called when a chunk has lost its last holder. Wakes the downloads that have waited longest. */
  free(): void {
    this.#freedAtMs = performance.now();
    for (const [chunkKey, { wakes }] of this.#waiting) {
      this.#waiting.delete(chunkKey);
      for (const wake of wakes) wake(true);
      return;
    }
  }

  #expire = (): void => {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const [chunkKey, { sinceMs, wakes }] of this.#waiting) {
      const leftMs = PATIENCE_MS - (nowMs - sinceMs);
      if (leftMs > 1) {
        this.#timer = setTimeout(this.#expire, leftMs);
        return;
      }
      this.#waiting.delete(chunkKey);
      for (const wake of wakes) wake(false);
    }
  };
}
