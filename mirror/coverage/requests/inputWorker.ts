import { parentPort } from 'node:worker_threads';
import { type InputKind, READERS } from './readInput.ts';

/* The thread that reads large inputs for readInput.ts: one input, then it ends. */

parentPort?.once('message', ({ kind, input }: { readonly kind: InputKind; readonly input: never }) => {
  parentPort?.postMessage(READERS[kind](input));
});
