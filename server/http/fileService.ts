import { performance } from 'node:perf_hooks';
import type { ChunkCache } from '../content/chunkCache.ts';
import { Content } from '../content/content.ts';
import type { ContentStore } from '../content/contentStore.ts';
import type { ServerEvent } from '../events.ts';
import type { Download, DownloadLimit } from '../sending/downloadLimit.ts';
import type { FairScheduler } from '../sending/fairScheduler.ts';
import type { Pressure } from '../sending/pressure.ts';
import { type SentBody, sendBody } from '../sending/sendBody.ts';
import type { SocketMemory } from '../sending/socketMemory.ts';
import type { FileHeaders, ServedFile } from '../view/treeView.ts';
import type { Answer } from './answer.ts';
import { parseByteRange, rangeApplies } from './byteRange.ts';
import { acceptableForms } from './contentCoding.ts';
import { evaluatePreconditions, formatHttpDate } from './preconditions.ts';
import type { RequestHead } from './requestHead.ts';

/** Bodies up to this size need one write and do not count as downloads. */
const SMALL_BYTES = 64 * 1024;
/** More than a file has forms: a proven one may be closed again before it is sent, if few files may be open. */
const MAX_PROOFS = 8;
const VARY: readonly string[] = ['Vary', 'Accept-Encoding'];

export interface FileServiceParts {
  readonly store: ContentStore;
  readonly cache: ChunkCache;
  readonly scheduler: FairScheduler;
  readonly memory: SocketMemory;
  readonly downloads: DownloadLimit;
  /** Returns the key under which a client's downloads are counted: see clientAddress.ts. */
  readonly shareOf: (client: string) => string | undefined;
  /** Looks for a newer catalog where a file is not what it should be. */
  readonly follower: {
    readonly check: () => Promise<void>;
    readonly view: { readonly files: ReadonlyMap<string, ServedFile> } | undefined;
  };
  /** Whether compressed forms are preferred: always, under pressure, or never. */
  readonly encoding: 'off' | 'auto' | 'on';
  readonly pressure: Pressure;
  readonly onEvent: (event: ServerEvent) => void;
}

/** Answers GET and HEAD for files of the view: validators and ranges by RFC 9110, digests by RFC 9530. */
export class FileService {
  readonly #parts: FileServiceParts;

  constructor(parts: FileServiceParts) {
    this.#parts = parts;
  }

  /** `path`: the key of `file` in the view, to look it up again if the tree turns out to have changed. */
  serve(answer: Answer, head: RequestHead, path: string, file: ServedFile): void {
    const { variants, body } = file;
    if (variants.length === 0 && (!(body instanceof Content) || this.#parts.store.isReady(body)))
      this.#send(answer, head, file);
    else if (!this.#serveIfReady(answer, head, this.#formsOf(file, head)[0]))
      this.#serveLater(answer, head, path, file).catch((error: unknown) => {
        this.#parts.onEvent({ kind: 'failure', url: path, error });
        answer.response.destroy();
      });
  }

  #formsOf(file: ServedFile, head: RequestHead): readonly ServedFile[] {
    const { encoding, pressure } = this.#parts;
    if (file.variants.length === 0) return [file];
    return acceptableForms(file, head, encoding === 'on' || pressure.isHigh);
  }

  /** Returns false if `form` has yet to be hashed. `form` is undefined if the client accepts none. */
  #serveIfReady(answer: Answer, head: RequestHead, form: ServedFile | undefined): boolean {
    if (form === undefined) answer.text(406, 'Accept-Encoding refuses every form of this file.\n', VARY);
    else if (form.body instanceof Content && !this.#parts.store.isReady(form.body)) return false;
    else this.#send(answer, head, form);
    return true;
  }

  async #serveLater(answer: Answer, head: RequestHead, path: string, file: ServedFile): Promise<void> {
    const { follower } = this.#parts;
    let current: ServedFile | undefined = file;
    for (let attempt = 0; attempt < 2 && current !== undefined; attempt++) {
      if (await this.#serveProven(answer, head, current)) return;
      // The files are not what the catalog lists: there may be a newer catalog.
      await follower.check();
      current = follower.view?.files.get(path);
    }
    answer.file = file;
    answer.unavailable('The file is being replaced, or it is damaged on this server. Try again shortly.');
  }

  /**
   * Proves the forms of a file until one can be served. Which one is best is decided again after each proof: clients that
   * arrived in the meantime, and wait for the same file, count as well.
   */
  async #serveProven(answer: Answer, head: RequestHead, file: ServedFile): Promise<boolean> {
    const { store, pressure } = this.#parts;
    const failed = new Set<ServedFile>();
    pressure.waiting++;
    try {
      for (let proofs = 0; proofs < MAX_PROOFS; proofs++) {
        const forms = this.#formsOf(file, head);
        const form = forms.find(candidate => !failed.has(candidate));
        if (form === undefined && forms.length > 0) return false;
        if (this.#serveIfReady(answer, head, form)) return true;
        if (form?.body instanceof Content && !(await store.prove(form.body, { urgent: true }))) failed.add(form);
      }
    } finally {
      pressure.waiting--;
    }
    return false;
  }

  #send(answer: Answer, head: RequestHead, file: ServedFile): void {
    if (answer.response.destroyed) return;
    answer.file = file;
    file.headers ??= makeHeaders(file);
    const { headers } = file;
    const outcome = evaluatePreconditions(head, headers);
    if (outcome === 'unchanged') answer.send(304, headers.unchanged);
    else if (outcome === 'failed')
      answer.error(412, 'A precondition of the request is false.', [
        'ETag',
        headers.etag,
        ...(file.varies ? VARY : []),
      ]);
    else if (answer.request.method === 'HEAD') answer.send(200, headers.whole);
    else this.#sendRepresentation(answer, head, file, headers);
  }

  #sendRepresentation(answer: Answer, head: RequestHead, file: ServedFile, headers: FileHeaders): void {
    const { body } = file;
    const sizeBytes = body instanceof Content ? body.sizeBytes : body.length;
    const range =
      head.range === undefined || file.coding !== undefined || !rangeApplies(head.ifRange, headers)
        ? undefined
        : parseByteRange(head.range, sizeBytes);
    if (range === 'unsatisfiable') {
      const lines = ['Content-Range', `bytes */${sizeBytes}`, 'ETag', headers.etag];
      answer.error(416, `The range is outside of the ${sizeBytes} bytes.`, [...lines, ...(file.varies ? VARY : [])]);
      return;
    }
    const status = range === undefined ? 200 : 206;
    const { first, last } = range ?? { first: 0, last: sizeBytes - 1 };
    const lines = range === undefined ? headers.whole : partHeaders(headers, first, last, sizeBytes);
    if (!(body instanceof Content)) this.#sendBytes(answer, status, lines, body.subarray(first, last + 1));
    else if (sizeBytes === 0) answer.send(status, lines);
    else this.#whenAdmitted(answer, last - first + 1, () => this.#sendContent(answer, status, lines, first, last));
  }

  /** Sends bytes that are in memory. */
  #sendBytes(answer: Answer, status: number, lines: readonly string[], bytes: Buffer): void {
    const { scheduler, memory } = this.#parts;
    const send = (): void => {
      if (answer.response.destroyed) return;
      memory.spend(bytes.length);
      answer.send(status, lines, bytes);
    };
    if (memory.hasRoom()) send();
    else scheduler.addAction(send);
  }

  #whenAdmitted(answer: Answer, lengthBytes: number, send: () => SentBody | undefined): void {
    const { downloads, shareOf } = this.#parts;
    if (lengthBytes <= SMALL_BYTES) {
      send();
      return;
    }
    const { response } = answer;
    let body: SentBody | undefined;
    const download: Download = {
      client: shareOf(answer.client),
      stalledMs: () => body?.stalledMs ?? 0,
      cut: () => response.destroy(),
    };
    const start = (): void => {
      response.once('close', () => downloads.leave(download));
      body = send();
    };
    const refuse = (): void => answer.unavailable('Too many downloads are running. Try again shortly.');
    const entered = downloads.enter(download, isAdmitted => {
      response.off('close', withdraw);
      if (isAdmitted) start();
      else refuse();
    });
    const withdraw = (): void => {
      if (typeof entered === 'object') entered.withdraw();
    };
    if (entered === true) start();
    else if (entered === false) refuse();
    else response.once('close', withdraw);
  }

  #sendContent(
    answer: Answer,
    status: number,
    lines: readonly string[],
    first: number,
    last: number,
  ): SentBody | undefined {
    const { store, onEvent, pressure } = this.#parts;
    const content = answer.file?.body;
    const isCompressed = answer.file?.coding !== undefined;
    if (!(content instanceof Content) || content.file === undefined) {
      answer.unavailable('The file has just been replaced. Try again shortly.');
      return undefined;
    }
    answer.begin(status, lines);
    const startedAtMs = performance.now();
    return sendBody(
      answer.response,
      { content, file: content.file, first, last },
      this.#parts,
      (sentBytes, failure) => {
        answer.end(sentBytes, sentBytes === last - first + 1);
        if (!isCompressed) pressure.note(sentBytes, performance.now() - startedAtMs);
        if (failure === undefined) return;
        store.distrust(content, failure);
        onEvent({ kind: 'failure', url: answer.request.url ?? '', error: failure });
      },
    );
  }
}

function makeHeaders(file: ServedFile): FileHeaders {
  const { body } = file;
  const isContent = body instanceof Content;
  const arrivedAtMs = Math.max(isContent ? body.arrivedAtMs : 0, file.changedAtMs);
  // Never later than the Date of the answer (RFC 9110, section 8.8.2.1).
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
    `${file.sha256.length === 64 ? 'sha-256' : 'sha-512'}=:${Buffer.from(file.sha256, 'hex').toString('base64')}:`,
    ...(file.digest === undefined ? [] : ['Docker-Content-Digest', file.digest]),
    'X-Content-Type-Options',
    'nosniff',
  ];
  return { etag, lastModifiedMs, lastModified, whole, unchanged };
}

/** The header lines of a 206: the digest is still that of the whole representation (RFC 9530, section 3.1). */
function partHeaders({ whole }: FileHeaders, first: number, last: number, sizeBytes: number): string[] {
  const lines = [...whole, 'Content-Range', `bytes ${first}-${last}/${sizeBytes}`];
  lines[3] = String(last - first + 1);
  return lines;
}
