import { performance } from 'node:perf_hooks';
import { type SocketMemory, UNLIMITED } from './socketMemory.ts';

/** How long downloads may keep the event loop before requests, timers and other sockets get it. */
const TURN_MS = 2;

/** While connections arrive, actions pause this many times as long as one takes. */
const ACTION_PAUSE = 4;
/** While the kernel holds too much for slow clients, so often it is asked again. */
const FULL_PAUSE_MS = 50;
/** Most pages and small answers have fewer bytes. */
const ACTION_BYTES = 64 * 1024;

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
 * The event loop accepts one connection per turn. While connections arrive, a turn has only one action or one chunk, and actions
 * take at most a fifth of the time, so that health checks do not wait for all that the connections before them request.
 *
 * While the kernel holds too many bytes for slow clients (socketMemory.ts), nothing is sent.
 */
export class FairScheduler {
  readonly #memory: SocketMemory;
  readonly #onFull: () => void;
  readonly #actions: (() => void)[] = [];
  #next: Sender[] = [];
  #round: Sender[] = [];
  #isScheduled = false;
  #hasArrivals = false;
  #ranAction = false;
  /** While connections arrive, no action runs before. */
  #nextActionAtMs = 0;

  /** @param onFull called every 50 ms while nothing can be sent */
  constructor(memory: SocketMemory = UNLIMITED, onFull: () => void = () => undefined) {
    this.#memory = memory;
    this.#onFull = onFull;
  }

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
    if (!this.#memory.hasRoom()) {
      this.#onFull();
      setTimeout(this.#run, FULL_PAUSE_MS);
      return;
    }
    this.#isScheduled = false;
    const hasArrivals = this.#hasArrivals;
    this.#hasArrivals = false;
    if (this.#round.length === 0) {
      // In descending order, because senders are taken from the end.
      this.#round = this.#next.sort((a, b) => b.chunkKey - a.chunkKey);
      this.#next = [];
    }
    const startedAtMs = performance.now();
    const isSendersTurn =
      hasArrivals && (startedAtMs < this.#nextActionAtMs || (this.#ranAction && this.#round.length > 0));
    const action = isSendersTurn ? undefined : this.#actions.shift();
    this.#ranAction = action !== undefined;
    if (!hasArrivals || action === undefined) this.#send(hasArrivals ? 0 : TURN_MS);
    if (this.#round.length > 0 || this.#next.length > 0 || this.#actions.length > 0) this.#schedule();
    if (action === undefined) return;
    this.#memory.spend(ACTION_BYTES);
    action();
    this.#nextActionAtMs = performance.now() + ACTION_PAUSE * (performance.now() - startedAtMs);
  };

  #send(ms: number): void {
    const endsAtMs = performance.now() + ms;
    for (let sender = this.#round.pop(); sender !== undefined; sender = this.#round.pop()) {
      sender.send();
      if (performance.now() > endsAtMs || !this.#memory.hasRoom()) break;
    }
  }
}
