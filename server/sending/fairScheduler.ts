import { performance } from 'node:perf_hooks';

/** How long downloads may keep the event loop before requests, timers and other sockets get it. */
const TURN_MS = 2;

/** A download that has its next bytes ready to send. */
export interface Sender {
  /** Downloads of the same chunk have the same key. */
  readonly chunkKey: number;
  send(): void;
}

/**
 * Lets downloads send in rounds; within a round each sends once, so none starves. Those that send the same chunk go one
 * after the other, because its bytes are then still in the processor's cache. After two milliseconds (after one chunk, while
 * connections arrive) the rest of the round waits until the event loop has handled everything else.
 */
export class FairScheduler {
  #next: Sender[] = [];
  #round: Sender[] = [];
  #isScheduled = false;
  #hasArrivals = false;

  /** A connection arrived. The event loop accepts one at a time, so further ones should not wait for a whole turn each. */
  connectionArrived(): void {
    this.#hasArrivals = true;
  }

  add(sender: Sender): void {
    this.#next.push(sender);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#run);
  }

  #run = (): void => {
    this.#isScheduled = false;
    if (this.#round.length === 0) {
      // In descending order, because senders are taken from the end.
      this.#round = this.#next.sort((a, b) => b.chunkKey - a.chunkKey);
      this.#next = [];
    }
    const endsAtMs = performance.now() + (this.#hasArrivals ? 0 : TURN_MS);
    this.#hasArrivals = false;
    for (let sender = this.#round.pop(); sender !== undefined; sender = this.#round.pop()) {
      sender.send();
      if (performance.now() > endsAtMs) break;
    }
    if (this.#round.length > 0 || this.#next.length > 0) this.#schedule();
  };
}
