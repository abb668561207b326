import { setMaxListeners } from 'node:events';
import process from 'node:process';

/** The reason of a run that Ctrl-C or a SIGTERM ended. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/**
 * Runs work that a first Ctrl-C (or SIGTERM) asks to stop: it ends what must not be torn and says what it finished. A
 * second Ctrl-C ends the process at once; publishing survives that too. A deadline asks
 * in the same way, with itself as the signal's reason.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  deadline?: Error & { readonly deadlineMs: number },
): Promise<T> {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // every request of a run listens to it
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
