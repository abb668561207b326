import { setMaxListeners } from 'node:events';
import process from 'node:process';

/** The abort reason of a run that Ctrl-C, SIGTERM or SIGHUP ended. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs work that can be stopped. A first Ctrl-C, SIGTERM or SIGHUP (the terminal was closed) aborts the signal: the work
 * completes the files that it is publishing and reports what it finished. A second one ends the process immediately, which publishing survives as well. A
 * deadline aborts the signal in the same way, with itself as the reason.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  deadline?: Error & { readonly deadlineMs: number },
): Promise<T> {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // every request of a run adds a listener
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted('interrupted'));
  };
  const alarm = deadline === undefined ? undefined : setTimeout(() => controller.abort(deadline), deadline.deadlineMs);
  for (const name of STOPPING) process.on(name, stop);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(alarm);
    for (const name of STOPPING) process.off(name, stop);
  }
}
