/**
 * One piece of work that several callers wait for: it begins with the first, and stops when the last has left before it was
 * done. A caller's abort ends only its own waiting.
 */
export class SharedWork<T> {
  readonly #controller = new AbortController();
  readonly #work: Promise<T>;
  readonly #release: (value: T) => void;
  #callers = 0;
  #settled = false;
  #value: { readonly of: T } | undefined;

  /** @param release told the result when no caller waits for it or uses it any more */
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

  /** True once nobody waits: it is ending, and a new caller begins anew after `ended`. */
  get abandoned(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Settles with the work, whatever came of it. */
  async ended(): Promise<void> {
    await this.#work.catch(() => {});
  }

  /** Waits for the result and hands it to `use`, which must take synchronously what it needs. */
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
    if (!this.#settled) this.#controller.abort(new Error('nobody waits for this any more'));
    else if (this.#value !== undefined) this.#release(this.#value.of);
  }
}
