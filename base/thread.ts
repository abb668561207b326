import { Worker, type WorkerOptions } from 'node:worker_threads';
import { errno } from './errno.ts';

/**
 * Starts a thread; undefined if the system gives this process no further one (a limit of processes). Its caller then does the
 * work itself.
 */
export function startThread(script: URL, options: WorkerOptions): Worker | undefined {
  try {
    return new Worker(script, options);
  } catch (error) {
    if (errno(error) === 'ERR_WORKER_INIT_FAILED') return undefined;
    throw error;
  }
}
