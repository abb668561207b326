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
 * copied is still in the processor's cache; and after two milliseconds (after one piece, while
 * connections are coming) the rest waits until the event loop has seen to everything else. Within a round nobody is passed over, so a piece that many want does not starve the others.
 */
export class Turns {
  #coming: Sender[] = [];
  #round: Sender[] = [];
  #isScheduled = false;
  #hasNewcomers = false;

  /** A connection came: the event loop takes in one at a time, so the others at the door should not wait for a whole turn. */
  welcome(): void {
    this.#hasNewcomers = true;
  }

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
    const endsAtMs = performance.now() + (this.#hasNewcomers ? 0 : TURN_MS);
    this.#hasNewcomers = false;
    for (let sender = this.#round.pop(); sender !== undefined; sender = this.#round.pop()) {
      sender.send();
      if (performance.now() > endsAtMs) break;
    }
    if (this.#round.length > 0 || this.#coming.length > 0) this.#schedule();
  };
}
