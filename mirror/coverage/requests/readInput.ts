import { startThread } from '../../../base/thread.ts';
import type { RequestsRead } from './pluginRequest.ts';
import { readSettings, type SettingsFile } from './settings.ts';
import { readWasmPlugins } from './wasmPlugins.ts';

/** Characters that are read in less than a fifth of a second, whatever they are. */
const SMALL_CHARACTERS = 64 * 1024;
/** A resource of 4 MiB, the largest that is read, needs up to 1.1 GiB. */
const MOST_HEAP_MB = 2048;

export const READERS = {
  resources: ({ file, text }: SettingsFile): RequestsRead => readWasmPlugins(text, file),
  settings: readSettings,
};

export type InputKind = keyof typeof READERS;
type Reader<Kind extends InputKind> = (typeof READERS)[Kind];

/**
 * Runs a reader, for large inputs on a thread of its own: the parser of YAML takes seconds for a megabyte and cannot be
 * interrupted, and signals and deadlines must not wait for it. Returns undefined if it needs more than 2 GiB.
 * @throws the signal's reason
 */
export async function readInput<Kind extends InputKind>(
  kind: Kind,
  input: Parameters<Reader<Kind>>[0],
  signal: AbortSignal,
): Promise<ReturnType<Reader<Kind>> | undefined> {
  const files: readonly SettingsFile[] = 'text' in input ? [input] : input;
  const characters = files.reduce((sum, { text }) => sum + text.length, 0);
  const readHere = () => READERS[kind](input as never) as ReturnType<Reader<Kind>>;
  if (characters <= SMALL_CHARACTERS) return readHere();
  signal.throwIfAborted();
  const url = new URL(import.meta.url.replace(/readInput(?=\.[jt]s$)/, 'inputWorker'));
  const worker = startThread(url, { resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP_MB } });
  if (worker === undefined) return readHere();
  let onAbort = (): void => {};
  try {
    return await new Promise((resolve, reject) => {
      onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      worker.once('message', resolve).once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') resolve(undefined);
        else reject(error);
      });
      worker.postMessage({ kind, input });
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
    void worker.terminate();
  }
}
