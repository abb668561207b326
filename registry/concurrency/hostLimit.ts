/** A place among the requests under way at one host. */
export interface Pass {
  /** The host answered: room for more may grow. */
  succeed(): void;
  /** The host said 429 or 503: fewer at once from now on, and none for `pauseMs`. */
  throttle(pauseMs: number): void;
  /** The host said nothing in time: fewer at once, but still some, since each of them may wait long. */
  slowDown(): void;
  /** The exchange is over, its body included. Later calls do nothing. */
  leave(): void;
}

const LEAST_IN_SILENCE = 4;

/**
 * How many requests may be under way at one host: additive increase, multiplicative decrease (RFC 5681's idea). Requests
 * that were sent before a cut do not cut again, since they say nothing about the new limit.
 */
export class HostGate {
  readonly #ceiling: number;
  readonly #waiting: (() => void)[] = [];
  #limit: number;
  #underWay = 0;
  #cuts = 0;
  #successes = 0;
  #pausedUntilMs = 0;
  #alarm: NodeJS.Timeout | undefined;

  constructor(ceiling: number) {
    this.#ceiling = Math.max(1, ceiling);
    this.#limit = this.#ceiling;
  }

  get limit(): number {
    return this.#limit;
  }

  async enter(signal: AbortSignal): Promise<Pass> {
    signal.throwIfAborted();
    if (this.#waiting.length === 0 && this.#underWay < this.#limit && performance.now() >= this.#pausedUntilMs) {
      this.#underWay += 1;
      return this.#pass();
    }
    await new Promise<void>((resolve, reject) => {
      const admit = (): void => {
        signal.removeEventListener('abort', leaveQueue);
        resolve();
      };
      const leaveQueue = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1);
        if (this.#waiting.length === 0) this.#stopAlarm();
        reject(signal.reason);
      };
      signal.addEventListener('abort', leaveQueue, { once: true });
      this.#waiting.push(admit);
      this.#admit();
    });
    return this.#pass();
  }

  #pass(): Pass {
    const cuts = this.#cuts;
    const cut = (least: number): void => {
      this.#successes = 0;
      if (cuts !== this.#cuts) return;
      this.#cuts += 1;
      this.#limit = Math.max(least, Math.floor(Math.min(this.#limit, this.#underWay) / 2));
    };
    let left = false;
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
      slowDown: () => cut(Math.min(LEAST_IN_SILENCE, this.#limit)),
      leave: () => {
        if (left) return;
        left = true;
        this.#underWay -= 1;
        this.#admit();
      },
    };
  }

  #admit(): void {
    if (this.#waiting.length === 0) return;
    const pauseMs = this.#pausedUntilMs - performance.now();
    if (pauseMs > 0) {
      this.#alarm ??= setTimeout(() => {
        this.#alarm = undefined;
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

  #stopAlarm(): void {
    clearTimeout(this.#alarm);
    this.#alarm = undefined;
  }
}
