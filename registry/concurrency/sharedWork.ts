/**
 * Work that several callers share. It starts with the object and is aborted when the last caller leaves before its end. A
 * caller's abort ends only its own waiting.
 */
export class SharedWork<T> {
  readonly #controller = new AbortController();
  readonly #work: Promise<T>;
  readonly #release: (value: T) => void;
  #callers = 0;
  #settled = false;
  #value: { readonly of: T } | undefined;

  /** @param release called with the result when no caller waits for it or uses it any longer */
  constructor(work: (signal: AbortSignal) => Promise<T>, release: (value: T) => void = () => {}) {
    this.#release = release;
    this.#work = work(this.#controller.signal);
    this.#work.then(
      value => {
        this.#settled = true;
        this.#value = { of: value };
        if (this.#callers === 0) this.#release(value);
      },
      () => {
        this.#settled = true;
      },
    );
  }

  /** True once the last caller has left early: the work is ending, and a new caller starts new work after `ended`. */
  get abandoned(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Resolves when the work has ended, even if it failed. */
  async ended(): Promise<void> {
    await this.#work.catch(() => {});
  }

  /** Waits for the result and returns `use` of it; `use` must be synchronous. @throws the work's error, or the signal's reason */
  async join<U>(signal: AbortSignal | undefined, use: (value: T) => U): Promise<U> {
    signal?.throwIfAborted();
    this.#callers++;
    let stop = () => {};
    try {
      const aborted = new Promise<never>((_, reject) => {
        const onAbort = () => reject(signal?.reason);
        signal?.addEventListener('abort', onAbort, { once: true });
        stop = () => signal?.removeEventListener('abort', onAbort);
      });
      return use(await (signal === undefined ? this.#work : Promise.race([this.#work, aborted])));
    } finally {
      stop();
      this.#leave();
    }
  }

  #leave(): void {
    this.#callers--;
    if (this.#callers > 0) return;
    if (!this.#settled) this.#controller.abort(new Error('no caller waits for this any longer'));
    else if (this.#value !== undefined) this.#release(this.#value.of);
  }
}
