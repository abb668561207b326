import { Worker } from 'node:worker_threads';

export interface ModuleHashes {
  /** Bare lower-case hex. */
  readonly sha256: string;
  readonly md5: string;
}

interface Waiting {
  readonly resolve: (hashes: ModuleHashes) => void;
  readonly reject: (error: Error) => void;
}

type Answer = { readonly id: number } & ({ readonly hashes: ModuleHashes } | { readonly error: Error });

let worker: Worker | undefined;
let serial = 0;
const waiting = new Map<number, Waiting>();

/**
 * sha256 and md5 of a file that was just written, on a thread of its own: half of what a sync's own thread would have to
 * compute. The thread is made at the first call, stays for the next ones and keeps no process alive.
 */
export function hashModule(path: string): Promise<ModuleHashes> {
  worker ??= startWorker();
  const current = worker;
  current.ref();
  const id = serial++;
  return new Promise<ModuleHashes>((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    current.postMessage({ id, path });
  }).finally(() => {
    if (waiting.size === 0) current.unref();
  });
}

function startWorker(): Worker {
  const started = new Worker(new URL('./hashWorker.js', import.meta.url), { execArgv: [] });
  started.on('message', ({ id, ...answer }: Answer) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if ('hashes' in answer) asked?.resolve(answer.hashes);
    else asked?.reject(answer.error);
  });
  started.on('error', error => {
    worker = undefined;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  });
  started.unref();
  return started;
}
