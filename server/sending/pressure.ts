import { performance } from 'node:perf_hooks';

/**
 * With this many concurrent downloads, each gets less of half a core's 1 to 1.5 GB/s than BREAK_EVEN_BYTES_PER_MS
 * (docs/performance.md).
 */
const MANY_DOWNLOADS = 8;
/** Clients decompress gzip at about 180 MB/s, so uncompressed bytes are faster for a client that gets more than this. */
const BREAK_EVEN_BYTES_PER_MS = 100_000;
/** Smaller bodies fit into the kernel's buffers, so their duration does not measure the link. */
const MEASURABLE_BYTES = 8 * 1024 * 1024;
/** How long one slow download counts; after that, uncompressed bytes are tried again. */
const MEMORY_MS = 10_000;

/** Estimates whether clients would get compressed bytes faster: many downloads share the processor, or the link is slow. */
export class Pressure {
  readonly #running: () => number;
  #slowUntilMs = 0;
  /** Requests that wait for a file to be hashed; they become downloads. */
  waiting = 0;

  /** `running`: returns the number of downloads that are under way. */
  constructor(running: () => number) {
    this.#running = running;
  }

  get isHigh(): boolean {
    return this.#running() + this.waiting >= MANY_DOWNLOADS || performance.now() < this.#slowUntilMs;
  }

  /** To be called at the end of every download of uncompressed bytes. */
  note(sentBytes: number, durationMs: number): void {
    if (sentBytes >= MEASURABLE_BYTES && sentBytes < durationMs * BREAK_EVEN_BYTES_PER_MS)
      this.#slowUntilMs = performance.now() + MEMORY_MS;
  }
}
