import { setImmediate } from 'node:timers/promises';

/** How long work may go on before timers and signals are served. */
const TURN_MS = 20;

/** Interrupts long work. Streams and promises that are always ready would keep timers, signals and other work waiting. */
export class LoopTurn {
  #beganMs = performance.now();
  readonly #signal: AbortSignal | undefined;

  /** @param signal ends the work: once it is aborted, `rest` throws its reason */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * To be awaited between pieces of work: lets the event loop turn if the last turn was more than 20 ms ago.
   * @throws the signal's reason
   */
  rest(): Promise<void> | undefined {
    return performance.now() - this.#beganMs < TURN_MS ? undefined : this.#turn();
  }

  async #turn(): Promise<void> {
    await setImmediate();
    this.#beganMs = performance.now();
    this.#signal?.throwIfAborted();
  }
}
