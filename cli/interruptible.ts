import { setMaxListeners } from 'node:events';
import process from 'node:process';

/** The abort reason of a run that Ctrl-C or SIGTERM ended. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/**
 * Runs work that can be stopped. A first Ctrl-C or SIGTERM aborts the signal: the work completes the files that it is
 * publishing and reports what it finished. A second one ends the process immediately, which publishing survives as well. A
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
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(alarm);
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}
