import { performance } from 'node:perf_hooks';
import type { Gate } from '../connections/downloadLimit.ts';
import type { ChunkCache } from '../content/chunkCache.ts';
import { Content } from '../content/content.ts';
import type { ContentStore } from '../content/contentStore.ts';
import type { ServerEvent } from '../events.ts';
import type { Turns } from '../sending/fairScheduler.ts';
import type { Pressure } from '../sending/pressure.ts';
import { sendBody } from '../sending/sendBody.ts';
import type { TreeFollower } from '../view/treeFollower.ts';
import type { FileHeaders, ServedFile } from '../view/treeView.ts';
import type { Exchange } from './answer.ts';
import { parseByteRange } from './byteRange.ts';
import { evaluatePreconditions, formatHttpDate, rangeApplies } from './preconditions.ts';
import { representationsFor } from './representations.ts';
import type { RequestHead } from './requestHead.ts';

/** Bodies up to this size are over in one write and need no place among the running ones. */
const SMALL_BYTES = 64 * 1024;
const VARY: readonly string[] = ['Vary', 'Accept-Encoding'];

export interface FileServiceParts {
  readonly store: ContentStore;
  readonly cache: ChunkCache;
  readonly turns: Turns;
  readonly gate: Gate;
  readonly follower: TreeFollower;
  /** Whether compressed forms are sent, where the client takes them and there are any: always, or under pressure. */
  readonly encoding: 'off' | 'auto' | 'on';
  readonly pressure: Pressure;
  readonly onEvent: (event: ServerEvent) => void;
}

/** Answers GET and HEAD for a file of the view: RFC 9110 on validators and ranges, RFC 9530 on digests. */
export class FileService {
  readonly #parts: FileServiceParts;

  constructor(parts: FileServiceParts) {
    this.#parts = parts;
  }

  /** `path` is what led to the file, to look it up again should the tree turn out to have changed. */
  answer(exchange: Exchange, head: RequestHead, path: string, file: ServedFile): void {
    const { variants, body } = file;
    if (variants.length === 0 && (!(body instanceof Content) || this.#parts.store.isReady(body)))
      this.#send(exchange, head, file);
    else if (!this.#answerNow(exchange, head, this.#formsOf(file, head)))
      this.#answerLater(exchange, head, path, file).catch((error: unknown) => {
        this.#parts.onEvent({ kind: 'failure', url: path, error });
        exchange.response.destroy();
      });
  }

  #formsOf(file: ServedFile, head: RequestHead): readonly ServedFile[] {
    const { encoding, pressure } = this.#parts;
    if (file.variants.length === 0) return [file];
    return representationsFor(file, head, encoding === 'on' || pressure.isHigh);
  }

  /** False if the form to send has not been proven yet. */
  #answerNow(exchange: Exchange, head: RequestHead, [form]: readonly ServedFile[]): boolean {
    if (form === undefined) exchange.text(406, 'Every form of this file is one that Accept-Encoding refuses.\n', VARY);
    else if (form.body instanceof Content && !this.#parts.store.isReady(form.body)) return false;
    else this.#send(exchange, head, form);
    return true;
  }

  async #answerLater(exchange: Exchange, head: RequestHead, path: string, file: ServedFile): Promise<void> {
    const { store, follower } = this.#parts;
    let current: ServedFile | undefined = file;
    for (let attempt = 0; attempt < 2 && current !== undefined; attempt++) {
      for (const form of this.#formsOf(current, head)) {
        if (form.body instanceof Content && !store.isReady(form.body)) await store.prove(form.body, { urgent: true });
        if (this.#answerNow(exchange, head, [form])) return;
      }
      // Not the bytes that the catalog names: perhaps there is a newer one.
      await follower.check();
      current = follower.view?.files.get(path);
    }
    exchange.file = file;
    exchange.unavailable('The file is being replaced, or it is damaged on this server. Try again shortly.');
  }

  #send(exchange: Exchange, head: RequestHead, file: ServedFile): void {
    if (exchange.response.destroyed) return;
    exchange.file = file;
    file.headers ??= makeHeaders(file);
    const has = file.headers;
    const outcome = evaluatePreconditions(head, has);
    if (outcome === 'unchanged') exchange.finish(304, has.unchanged);
    else if (outcome === 'failed')
      exchange.finish(412, ['ETag', has.etag, 'Content-Length', '0', ...(file.varies ? VARY : [])]);
    else if (exchange.request.method === 'HEAD') exchange.finish(200, has.whole);
    else this.#sendRepresentation(exchange, head, file, has);
  }

  #sendRepresentation(exchange: Exchange, head: RequestHead, file: ServedFile, has: FileHeaders): void {
    const { body } = file;
    const sizeBytes = body instanceof Content ? body.sizeBytes : body.length;
    const wanted =
      head.range === undefined || file.coding !== undefined || !rangeApplies(head.ifRange, has)
        ? undefined
        : parseByteRange(head.range, sizeBytes);
    if (wanted === 'unsatisfiable') {
      const about = ['Content-Range', `bytes */${sizeBytes}`, 'ETag', has.etag, 'Content-Length', '0'];
      exchange.finish(416, [...about, ...(file.varies ? VARY : [])]);
      return;
    }
    const status = wanted === undefined ? 200 : 206;
    const { first, last } = wanted ?? { first: 0, last: sizeBytes - 1 };
    const headers = wanted === undefined ? has.whole : partHeaders(has, first, last, sizeBytes);
    if (!(body instanceof Content)) exchange.finish(status, headers, body.subarray(first, last + 1));
    else if (sizeBytes === 0) exchange.finish(status, headers);
    else this.#admit(exchange, last - first + 1, () => this.#sendContent(exchange, status, headers, first, last));
  }

  #admit(exchange: Exchange, lengthBytes: number, go: () => void): void {
    const { gate } = this.#parts;
    if (lengthBytes <= SMALL_BYTES) {
      go();
      return;
    }
    const { response } = exchange;
    const run = (): void => {
      response.once('close', () => gate.leave());
      go();
    };
    const refuse = (): void => exchange.unavailable('Too many downloads are running. Try again shortly.');
    const entered = gate.enter(admitted => {
      response.off('close', withdraw);
      if (admitted) run();
      else refuse();
    });
    const withdraw = (): void => {
      if (typeof entered === 'object') entered.withdraw();
    };
    if (entered === true) run();
    else if (entered === false) refuse();
    else response.once('close', withdraw);
  }

  #sendContent(exchange: Exchange, status: number, headers: readonly string[], first: number, last: number): void {
    const { store, onEvent, pressure } = this.#parts;
    const content = exchange.file?.body;
    const isPlain = exchange.file?.coding === undefined;
    if (!(content instanceof Content) || content.file === undefined) {
      exchange.unavailable('The file was replaced just now. Try again shortly.');
      return;
    }
    exchange.begin(status, headers);
    const startedAtMs = performance.now();
    sendBody(exchange.response, { content, file: content.file, first, last }, this.#parts, (sentBytes, failure) => {
      exchange.end(sentBytes, sentBytes === last - first + 1);
      if (isPlain) pressure.note(sentBytes, performance.now() - startedAtMs);
      if (failure === undefined) return;
      store.distrust(content, failure);
      onEvent({ kind: 'failure', url: exchange.request.url ?? '', error: failure });
    });
  }
}

function makeHeaders(file: ServedFile): FileHeaders {
  const { body } = file;
  const isContent = body instanceof Content;
  const arrivedAtMs = Math.max(isContent ? body.arrivedAtMs : 0, file.changedAtMs);
  // Never later than the Date of the answer (RFC 9110, 8.8.2.1).
  const lastModifiedMs = Math.floor(Math.min(arrivedAtMs, Date.now()) / 1000) * 1000;
  const etag = `"${file.sha256}"`;
  const lastModified = formatHttpDate(lastModifiedMs);
  const unchanged = ['ETag', etag, 'Cache-Control', file.cacheControl, ...(file.varies ? VARY : [])];
  const whole = [
    'Content-Type',
    file.mediaType,
    'Content-Length',
    String(isContent ? body.sizeBytes : body.length),
    ...unchanged,
    'Last-Modified',
    lastModified,
    'Accept-Ranges',
    file.coding === undefined ? 'bytes' : 'none',
    ...(file.coding === undefined ? [] : ['Content-Encoding', file.coding]),
    'Repr-Digest',
    `sha-256=:${Buffer.from(file.sha256, 'hex').toString('base64')}:`,
    'X-Content-Type-Options',
    'nosniff',
  ];
  return { etag, lastModifiedMs, lastModified, whole, unchanged };
}

/** As the whole's, but for the length; the digest is of the whole representation (RFC 9530, 3.1). */
function partHeaders(has: FileHeaders, first: number, last: number, sizeBytes: number): string[] {
  const headers = [...has.whole, 'Content-Range', `bytes ${first}-${last}/${sizeBytes}`];
  headers[3] = String(last - first + 1);
  return headers;
}
