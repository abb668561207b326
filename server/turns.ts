import { performance } from 'node:perf_hooks';

/** How long senders may keep the event loop before requests, timers and other sockets get their turn. */
const TURN_MS = 2;

/** Something that has a piece to send. */
export interface Sender {
  /** Senders of one piece have one key. */
  readonly pieceKey: number;
  send(): void;
}

/**
 * Takes senders in turns. Those that are at the same piece of the same file go one after the other, for what was just
 * copied is still in the processor's cache; and after two milliseconds the rest waits until the event loop has seen to
 * everything else. Within a round nobody is passed over, so a piece that many want does not starve the others.
 */
export class Turns {
  #coming: Sender[] = [];
  #round: Sender[] = [];
  #isScheduled = false;

  add(sender: Sender): void {
    this.#coming.push(sender);
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
      // Taken from the end, so sorted backwards; sort is stable, which keeps equals in their order of arrival reversed.
      this.#round = this.#coming.sort((a, b) => b.pieceKey - a.pieceKey);
      this.#coming = [];
    }
    const endsAtMs = performance.now() + TURN_MS;
    for (let sender = this.#round.pop(); sender !== undefined; sender = this.#round.pop()) {
      sender.send();
      if (performance.now() > endsAtMs) break;
    }
    if (this.#round.length > 0 || this.#coming.length > 0) this.#schedule();
  };
}
