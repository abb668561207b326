import { Worker } from 'node:worker_threads';
import type { RenderedReadme } from './readme.ts';
import type { SpecFile } from './specFile.ts';
import type { SpecInfo } from './specInfo.ts';

/** Real documents need less than 100 ms. */
const MOST_MS = 20_000;
const IDLE_MS = 10_000;
const MOST_HEAP_MB = 128;

interface Parsed {
  readonly info: SpecInfo;
  readonly spec: SpecFile;
  readonly readme: RenderedReadme;
}

export type DocumentKind = keyof Parsed;

/**
 * Parses documents of images on a thread of their own: a small text can keep a parser busy for seconds, and downloads must not
 * wait for it. The thread starts with the first document, ends after ten idle seconds, and does not keep the process alive.
 */
export class DocumentParser {
  #worker: Worker | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  readonly #startWorker: () => Worker;

  constructor(startWorker = startDocumentWorker) {
    this.#startWorker = startWorker;
  }

  /**
   * Returns undefined if no thread can be started (a limit of processes), or if the parser fails on the text or needs more than
   * twenty seconds or 128 MB.
   */
  parse<Kind extends DocumentKind>(kind: Kind, text: string): Promise<Parsed[Kind] | undefined> {
    const parsed = this.#last.then(() => this.#run(kind, text)).catch(() => undefined);
    this.#last = parsed;
    return parsed;
  }

  async #run<Kind extends DocumentKind>(kind: Kind, text: string): Promise<Parsed[Kind] | undefined> {
    clearTimeout(this.#idle);
    const worker = this.#worker ?? this.#startWorker();
    this.#worker = worker;
    const parsed = await answerOf<Parsed[Kind]>(worker, { kind, text });
    if (parsed === undefined) this.#end();
    else this.#idle = setTimeout(() => this.#end(), IDLE_MS).unref();
    return parsed;
  }

  #end(): void {
    void this.#worker?.terminate();
    this.#worker = undefined;
  }
}

/** Returns undefined if the worker fails or takes too long. */
function answerOf<Answer>(worker: Worker, task: unknown): Promise<Answer | undefined> {
  return new Promise(resolve => {
    const finish = (answer?: Answer): void => {
      clearTimeout(timer);
      worker.off('message', finish).off('error', fail).off('exit', fail);
      resolve(answer);
    };
    const fail = (): void => finish();
    const timer = setTimeout(fail, MOST_MS);
    worker.once('message', finish).once('error', fail).once('exit', fail);
    worker.postMessage(task);
  });
}

function startDocumentWorker(): Worker {
  const url = new URL(import.meta.url.replace(/documentParser(?=\.[jt]s$)/, 'documentWorker'));
  const worker = new Worker(url, { resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP_MB } });
  // An error ends the thread; answerOf() notices it.
  worker.on('error', () => {}).unref();
  return worker;
}
