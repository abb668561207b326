/** One of the requests that may be under way at a host. */
export interface Slot {
  /** The host answered: the limit may grow. */
  succeed(): void;
  /** The host sent 429 or 503: fewer requests at the same time from now on, and none for `pauseMs`. */
  throttle(pauseMs: number): void;
  /** The host did not answer in time: fewer requests at the same time, but at least four, since each may take long. */
  slowDown(): void;
  /** The reply's body has ended or is not read. Later calls do nothing. */
  release(): void;
}

const LEAST_AFTER_TIMEOUT = 4;

/**
 * Limits the requests under way at one host: additive increase, multiplicative decrease (as RFC 5681 does for TCP). Requests
 * sent before the limit was lowered do not lower it again, because they say nothing about the new limit.
 */
export class HostLimit {
  readonly #ceiling: number;
  readonly #waiting: (() => void)[] = [];
  #limit: number;
  #underWay = 0;
  #cuts = 0;
  #successes = 0;
  #pausedUntilMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(ceiling: number) {
    this.#ceiling = Math.max(1, ceiling);
    this.#limit = this.#ceiling;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Waits for a slot, first come first served. @throws the signal's reason */
  async acquire(signal: AbortSignal): Promise<Slot> {
    signal.throwIfAborted();
    if (this.#waiting.length === 0 && this.#underWay < this.#limit && performance.now() >= this.#pausedUntilMs) {
      this.#underWay += 1;
      return this.#slot();
    }
    await new Promise<void>((resolve, reject) => {
      const admit = (): void => {
        signal.removeEventListener('abort', leaveQueue);
        resolve();
      };
      const leaveQueue = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1);
        if (this.#waiting.length === 0) this.#stopTimer();
        reject(signal.reason);
      };
      signal.addEventListener('abort', leaveQueue, { once: true });
      this.#waiting.push(admit);
      this.#admit();
    });
    return this.#slot();
  }

  #slot(): Slot {
    const cuts = this.#cuts;
    const cut = (least: number): void => {
      this.#successes = 0;
      if (cuts !== this.#cuts) return;
      this.#cuts += 1;
      this.#limit = Math.max(least, Math.floor(Math.min(this.#limit, this.#underWay) / 2));
    };
    let isReleased = false;
    return {
      succeed: () => {
        this.#successes += 1;
        if (this.#limit >= this.#ceiling || this.#successes < this.#limit) return;
        this.#successes = 0;
        this.#limit += 1;
        this.#admit();
      },
      throttle: pauseMs => {
        this.#pausedUntilMs = Math.max(this.#pausedUntilMs, performance.now() + pauseMs);
        cut(1);
      },
      slowDown: () => cut(Math.min(LEAST_AFTER_TIMEOUT, this.#limit)),
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#underWay -= 1;
        this.#admit();
      },
    };
  }

  #admit(): void {
    if (this.#waiting.length === 0) return;
    const pauseMs = this.#pausedUntilMs - performance.now();
    if (pauseMs > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#admit();
      }, Math.ceil(pauseMs));
      return;
    }
    while (this.#underWay < this.#limit) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#underWay += 1;
      next();
    }
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
