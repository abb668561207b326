import process from 'node:process';
import type { WriteStream } from 'node:tty';

/** A quicker run needs no counter. */
const FIRST_MS = 500;
const FRAME_MS = 100;

/** Shows how far a run without downloads is, and leaves nothing on the screen. */
export interface Counter {
  readonly count: (done: number, of: number) => void;
  /** Removes the line. To be called before anything else is printed. */
  readonly stop: () => void;
}

interface CounterOptions {
  /** How figures are written. Default: as they are. */
  readonly show?: (figure: number) => string;
  readonly quiet?: boolean | undefined;
  /** Default: stderr. */
  readonly stream?: Pick<WriteStream, 'isTTY' | 'columns' | 'write'>;
  readonly env?: NodeJS.ProcessEnv;
}

/** Returns a counter `VERB 34 of 86 NOUN …`, which is silent unless its stream is a terminal that can remove a line. */
export function startCounter(
  verb: string,
  noun: string,
  { show = String, quiet = false, stream = process.stderr, env = process.env }: CounterOptions = {},
): Counter {
  if (quiet || !stream.isTTY || env.TERM === 'dumb') return { count: () => undefined, stop: () => undefined };
  let nextAtMs = performance.now() + FIRST_MS;
  let isShown = false;
  return {
    count: (done, of) => {
      const nowMs = performance.now();
      if (nowMs < nextAtMs) return;
      nextAtMs = nowMs + FRAME_MS;
      isShown = true;
      const line = `${verb} ${show(done)} of ${show(of)} ${noun} …`;
      stream.write(`\r\u001b[2K${line.slice(0, Math.max(1, (stream.columns || 80) - 1))}`);
    },
    stop: () => {
      if (isShown) stream.write('\r\u001b[2K');
      isShown = false;
      nextAtMs = Number.POSITIVE_INFINITY;
    },
  };
}
