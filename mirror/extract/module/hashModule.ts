import { Worker } from 'node:worker_threads';

export interface ModuleHashes {
  /** Bare lower-case hex. */
  readonly sha256: string;
  readonly md5: string;
  /** CRC-32, to be compared with that of the bytes that were written. */
  readonly crc: number;
}

interface Waiting {
  readonly resolve: (hashes: ModuleHashes) => void;
  readonly reject: (error: Error) => void;
}

type Reply = { readonly id: number } & ({ readonly hashes: ModuleHashes } | { readonly error: Error });

let worker: Worker | undefined;
let serial = 0;
const waiting = new Map<number, Waiting>();

/**
 * Returns sha256 and md5 of a file that was just written, computed on a worker thread: on the main thread they would be half
 * of a sync's work. The thread starts at the first call, serves all further calls and does not keep the process alive.
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
  started.on('message', ({ id, ...reply }: Reply) => {
    const caller = waiting.get(id);
    waiting.delete(id);
    if ('hashes' in reply) caller?.resolve(reply.hashes);
    else caller?.reject(reply.error);
  });
  started.on('error', error => {
    worker = undefined;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  });
  started.unref();
  return started;
}
