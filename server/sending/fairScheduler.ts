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
 * Divides the event loop between pages, downloads and everything else.
 *
 * Downloads send in rounds; within a round each sends once, so none starves. Those that send the same chunk go one after the
 * other, because its bytes are then still in the processor's cache. After two milliseconds the rest of the round waits until
 * the event loop has handled everything else. Pages, and requests that clients send ahead, get one action per turn.
 *
 * The event loop accepts one connection per turn. While connections arrive, a turn has only one action or one chunk, so that
 * health checks do not wait for all that the connections before them request.
 */
export class FairScheduler {
  readonly #actions: (() => void)[] = [];
  #next: Sender[] = [];
  #round: Sender[] = [];
  #isScheduled = false;
  #hasArrivals = false;
  #ranAction = false;

  connectionArrived(): void {
    this.#hasArrivals = true;
  }

  add(sender: Sender): void {
    this.#next.push(sender);
    this.#schedule();
  }

  /** Actions run in their order. */
  addAction(action: () => void): void {
    this.#actions.push(action);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#run);
  }

  #run = (): void => {
    this.#isScheduled = false;
    const hasArrivals = this.#hasArrivals;
    this.#hasArrivals = false;
    if (this.#round.length === 0) {
      // In descending order, because senders are taken from the end.
      this.#round = this.#next.sort((a, b) => b.chunkKey - a.chunkKey);
      this.#next = [];
    }
    const isSendersTurn = hasArrivals && this.#ranAction && this.#round.length > 0;
    const action = isSendersTurn ? undefined : this.#actions.shift();
    this.#ranAction = action !== undefined;
    if (!hasArrivals || action === undefined) this.#send(hasArrivals ? 0 : TURN_MS);
    if (this.#round.length > 0 || this.#next.length > 0 || this.#actions.length > 0) this.#schedule();
    action?.();
  };

  #send(ms: number): void {
    const endsAtMs = performance.now() + ms;
    for (let sender = this.#round.pop(); sender !== undefined; sender = this.#round.pop()) {
      sender.send();
      if (performance.now() > endsAtMs) break;
    }
  }
}
