/** A request of which no answer came, as far as its fault is told by it. */
export interface Attempted {
  readonly method: string;
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly timeoutMs: number;
}
