import { setTimeout as wait } from 'node:timers/promises';
import type { Content } from './content.ts';
import type { ContentStore } from './contentStore.ts';

export interface ScrubberSettings {
  /** The pause between two rounds. */
  readonly pauseMs: number;
  /** The age at which a hash is taken again. */
  readonly maxHashAgeMs: number;
  readonly bytesPerSecond: number;
}

/** After so many files that needed no hash, the scrubber pauses, so that a large tree does not block the event loop. */
const FILES_PER_STEP = 64;
const STEP_PAUSE_MS = 50;
/** A damaged file is hashed again in every sixth round. (A sync that replaces it causes a reload, which hashes it immediately.) */
const ROUNDS_PER_RETRY = 6;

/**
 * Checks all files of the tree, round after round. Hashes those that no client has requested yet and those that were changed
 * or replaced, and hashes every file again after `maxHashAgeMs`, because a disk can lose bits without an error.
 */
export class Scrubber {
  readonly #store: ContentStore;
  readonly #settings: ScrubberSettings;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #round = 0;

  constructor(store: ContentStore, settings: ScrubberSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  start(): void {
    this.#running ??= this.#run().catch(() => {}); // only the abort of stop() ends it
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      this.#round++;
      let unhashed = 0;
      for (const content of [...this.#store.contents]) {
        signal.throwIfAborted();
        const hashedBytes = await this.#check(content);
        if (hashedBytes > 0) await this.#pause((hashedBytes / this.#settings.bytesPerSecond) * 1000);
        else if (++unhashed % FILES_PER_STEP === 0) await this.#pause(STEP_PAUSE_MS);
      }
      await this.#pause(this.#settings.pauseMs);
    }
  }

  /** Returns the number of hashed bytes. */
  async #check(content: Content): Promise<number> {
    let hashedBytes = 0;
    if (content.proving !== undefined) return hashedBytes;
    if (content.state === 'damaged' && this.#round % ROUNDS_PER_RETRY !== 0) return hashedBytes;
    const isAged = Date.now() - content.provenAtMs > this.#settings.maxHashAgeMs;
    if (content.state !== 'proven' || isAged || (await this.#store.hasMoved(content))) {
      await this.#store.prove(content, { thorough: isAged });
      hashedBytes = content.sizeBytes;
    }
    return content.faults.size > 0 ? hashedBytes + (await this.#store.recheckFaults(content)) : hashedBytes;
  }

  async #pause(ms: number): Promise<void> {
    await wait(ms, undefined, { signal: this.#stop.signal });
  }
}
