import { parentPort } from 'node:worker_threads';
import type { DocumentKind } from './documentParser.ts';
import { renderReadme } from './readme.ts';
import { parseSpec } from './specFile.ts';
import { infoOf } from './specInfo.ts';

/* The thread that parses documents for documentParser.ts: one text at a time, in the order of the messages. */

const PARSERS = { info: infoOf, spec: parseSpec, readme: renderReadme };

parentPort?.on('message', ({ kind, text }: { readonly kind: DocumentKind; readonly text: string }) => {
  parentPort?.postMessage(PARSERS[kind](text));
});
