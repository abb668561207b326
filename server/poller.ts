import { isDeepStrictEqual } from 'node:util';

/**
 * Calls `check` every `pollMs`, and whenever it is requested. Concurrent requests share one call. `check` reports its own
 * failures and never rejects.
 */
export class Poller {
  readonly #check: () => Promise<void>;
  readonly #pollMs: number;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(pollMs: number, check: () => Promise<void>) {
    this.#pollMs = pollMs;
    this.#check = check;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.check().finally(() => this.start());
    }, this.#pollMs);
  }

  /** Checks now, or joins the check that is under way. */
  check(): Promise<void> {
    this.#running ??= this.#check().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Like check(), but joins only a check that begins after this call. */
  checkAgain(): Promise<void> {
    this.#next ??= (this.#running ?? Promise.resolve()).then(() => {
      this.#next = undefined;
      return this.check();
    });
    return this.#next;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await (this.#next ?? this.#running);
  }
}

export interface FollowerSettings<T> {
  readonly pollMs: number;
  readonly read: () => Promise<T>;
  readonly onChange: (found: T, former: T) => void;
  /** `read` or `onChange` has failed: the former value stays. Called once for each error until the value is usable again. */
  readonly onUnusable: (error: unknown) => void;
}

/** Reads plain data again from time to time, such as certificates and secrets that a deployment renews, and reports changes. */
export class Follower<T> {
  readonly #settings: FollowerSettings<T>;
  readonly #poller: Poller;
  #current: T;
  #reported = '';

  constructor(current: T, settings: FollowerSettings<T>) {
    this.#current = current;
    this.#settings = settings;
    this.#poller = new Poller(settings.pollMs, () => this.#check());
    this.#poller.start();
  }

  /** Reads the value now. */
  reload(): Promise<void> {
    return this.#poller.checkAgain();
  }

  stop(): Promise<void> {
    return this.#poller.stop();
  }

  async #check(): Promise<void> {
    const { read, onChange, onUnusable } = this.#settings;
    try {
      const found = await read();
      this.#reported = '';
      if (isDeepStrictEqual(found, this.#current)) return;
      onChange(found, this.#current);
      this.#current = found;
    } catch (error) {
      // Until a renewal is complete, each poll finds the same error.
      if (String(error) !== this.#reported) onUnusable(error);
      this.#reported = String(error);
    }
  }
}
