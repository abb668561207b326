import { performance } from 'node:perf_hooks';

/** Longer than a piece takes to leave for a quick reader, shorter than anybody notices. */
const PATIENCE_MS = 30;

/** Told once: true when a slot may be free, false when the wait was too long. */
type Wake = (isFree: boolean) => void;

/**
 * Readers that wait for a slot of the cache, by the piece they want: whoever waits for one piece is woken together, and they
 * share it. Waiting pays only while others let go of theirs; where nobody does, or not soon, a reader is sent away to read
 * for itself.
 */
export class SlotQueue {
  /** By piece, the one that waits longest first. */
  readonly #waiting = new Map<number, { readonly sinceMs: number; readonly wakes: Wake[] }>();
  #freedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  wait(pieceKey: number, wake: Wake): void {
    const nowMs = performance.now();
    if (nowMs - this.#freedAtMs > PATIENCE_MS) {
      wake(false);
      return;
    }
    const known = this.#waiting.get(pieceKey);
    if (known === undefined) this.#waiting.set(pieceKey, { sinceMs: nowMs, wakes: [wake] });
    else known.wakes.push(wake);
    this.#timer ??= setTimeout(this.#sendAway, PATIENCE_MS);
  }

  /** A slot has no reader any more. */
  free(): void {
    this.#freedAtMs = performance.now();
    for (const [pieceKey, { wakes }] of this.#waiting) {
      this.#waiting.delete(pieceKey);
      for (const wake of wakes) wake(true);
      return;
    }
  }

  #sendAway = (): void => {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const [pieceKey, { sinceMs, wakes }] of this.#waiting) {
      const leftMs = PATIENCE_MS - (nowMs - sinceMs);
      if (leftMs > 1) {
        this.#timer = setTimeout(this.#sendAway, leftMs);
        return;
      }
      this.#waiting.delete(pieceKey);
      for (const wake of wakes) wake(false);
    }
  };
}
