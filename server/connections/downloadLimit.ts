/**
 * Lets at most `maxBodies` bodies run. Who comes then waits in line, first come first served, for at most `maxWaitMs`;
 * when the line is as long as `maxWaiting`, too, the answer is no at once.
 */
export class Gate {
  readonly #maxBodies: number;
  readonly #maxWaiting: number;
  readonly #maxWaitMs: number;
  readonly #line = new Set<(admitted: boolean) => void>();
  running = 0;

  constructor(maxBodies: number, maxWaiting: number, maxWaitMs: number) {
    this.#maxBodies = maxBodies;
    this.#maxWaiting = maxWaiting;
    this.#maxWaitMs = maxWaitMs;
  }

  get waiting(): number {
    return this.#line.size;
  }

  /** True: come in (and leave() later). False: there are too many. Otherwise `decided` is called later, unless withdrawn. */
  enter(decided: (admitted: boolean) => void): boolean | { withdraw(): void } {
    if (this.running < this.#maxBodies) {
      this.running++;
      return true;
    }
    if (this.#line.size >= this.#maxWaiting) return false;
    const entry = (admitted: boolean): void => {
      clearTimeout(timer);
      this.#line.delete(entry);
      decided(admitted);
    };
    const timer = setTimeout(entry, this.#maxWaitMs, false);
    this.#line.add(entry);
    return {
      withdraw: () => {
        clearTimeout(timer);
        this.#line.delete(entry);
      },
    };
  }

  leave(): void {
    const [next] = this.#line;
    if (next === undefined) this.running--;
    else next(true); // takes over the place
  }
}
