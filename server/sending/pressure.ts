import { performance } from 'node:perf_hooks';

/**
 * So many bodies under way at once share half a core's 1 to 1.5 GB/s in portions below what pays (docs/performance.md).
 */
const CROWD = 8;
/** A client inflates gzip at about 180 MB/s, so that plain bytes win for whoever gets more of them than about this. */
const BREAK_EVEN_BYTES_PER_MS = 100_000;
/** Bodies that fit into the kernel's buffers say nothing of the way behind them. */
const TELLING_BYTES = 8 * 1024 * 1024;
/** How long one slow body speaks for the link; then plain bytes get another chance to be fast. */
const MEMORY_MS = 10_000;

/** Whether plain bytes are what clients wait for: many of them share the processor, or the way to them is narrow. */
export class Pressure {
  readonly #running: () => number;
  #narrowUntilMs = 0;

  constructor(running: () => number) {
    this.#running = running;
  }

  get isHigh(): boolean {
    return this.#running() >= CROWD || performance.now() < this.#narrowUntilMs;
  }

  /** To be told of every body that was sent plain, once it is over. */
  note(sentBytes: number, durationMs: number): void {
    if (sentBytes >= TELLING_BYTES && sentBytes < durationMs * BREAK_EVEN_BYTES_PER_MS)
      this.#narrowUntilMs = performance.now() + MEMORY_MS;
  }
}
