import { setTimeout as wait } from 'node:timers/promises';
import type { Content } from './content.ts';
import type { ContentStore } from './contentStore.ts';

export interface PatrolSettings {
  /** From the end of one round to the start of the next. */
  readonly roundMs: number;
  /** How old a proof may get before the file is hashed again. */
  readonly proofMaxAgeMs: number;
  /** How fast files are hashed when no request waits for them. */
  readonly bytesPerSecond: number;
}

/** Files looked at before the patrol rests a moment, so that thousands of them do not come as one burst of work. */
const STEP = 64;
const STEP_REST_MS = 50;
/** A damaged file is hashed again every so many rounds; one that was replaced is seen by the reload at once. */
const ROUNDS_PER_RETRY = 6;

/**
 * Goes round all files of the tree, again and again: proves those that nobody has asked for yet, notices those that were
 * written to or replaced, and hashes all of them anew once in a while, for a disk forgets in silence.
 */
export class Patrol {
  readonly #store: ContentStore;
  readonly #settings: PatrolSettings;
  readonly #stop = new AbortController();
  #walking: Promise<void> | undefined;
  #round = 0;

  constructor(store: ContentStore, settings: PatrolSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  start(): void {
    this.#walking ??= this.#walk().catch(() => {}); // only the abort of stop() ends it
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#walking;
  }

  async #walk(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      this.#round++;
      let looked = 0;
      for (const content of [...this.#store.contents]) {
        signal.throwIfAborted();
        const readBytes = await this.#visit(content);
        if (readBytes > 0) await this.#rest((readBytes / this.#settings.bytesPerSecond) * 1000);
        else if (++looked % STEP === 0) await this.#rest(STEP_REST_MS);
      }
      await this.#rest(this.#settings.roundMs);
    }
  }

  /** Answers how many bytes were hashed. */
  async #visit(content: Content): Promise<number> {
    let readBytes = 0;
    if (content.proving !== undefined) return readBytes;
    if (content.state === 'damaged' && this.#round % ROUNDS_PER_RETRY !== 0) return readBytes;
    const aged = Date.now() - content.provenAtMs > this.#settings.proofMaxAgeMs;
    if (content.state !== 'proven' || aged || (await this.#store.hasMoved(content))) {
      await this.#store.prove(content, { thorough: aged });
      readBytes = content.sizeBytes;
    }
    return content.paths.length > 1 ? readBytes + (await this.#store.checkCopies(content, aged)) : readBytes;
  }

  async #rest(ms: number): Promise<void> {
    await wait(ms, undefined, { signal: this.#stop.signal });
  }
}
