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
    await this.#running;
  }
}
