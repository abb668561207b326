import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { ServedFile } from '../view/treeView.ts';

/** What is known of an answer when it is over. */
export interface Answered {
  readonly request: IncomingMessage;
  /** As the request had it, without a query: nothing here reads one, and it may hold what is not for logs. */
  readonly path: string;
  /** The address of whoever asked, as far as the proxies that are trusted tell. */
  readonly client: string;
  readonly file: ServedFile | undefined;
  readonly status: number;
  readonly sentBytes: number;
  readonly durationMs: number;
  /** False if the client went away, or was cut, before the end. */
  readonly complete: boolean;
}

export interface ExchangeRules {
  /** True while the server is about to stop: whoever asks now should come back over a new connection, to another one. */
  readonly isDraining: () => boolean;
  readonly retryAfterSeconds: number;
  readonly onAnswered: (answered: Answered) => void;
}

/** One request and its answer outside Express: the few ways in which an answer can be given, each reported once. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  file: ServedFile | undefined;
  readonly #rules: ExchangeRules;
  readonly #closes: boolean;
  readonly #client: string;
  readonly #path: string;
  readonly #startedAtMs = performance.now();
  #status = 0;

  /** `about.closes`: the connection is not to be used again (a request body that nobody reads would be in the way). */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    rules: ExchangeRules,
    about: { readonly closes: boolean; readonly client: string },
  ) {
    this.request = request;
    this.response = response;
    this.#rules = rules;
    this.#closes = about.closes;
    this.#client = about.client;
    this.#path = pathOf(request.url ?? '/');
  }

  /** Sets status and header; the body follows, then end(). */
  begin(status: number, headers: readonly string[]): void {
    this.#status = status;
    const closes = this.#closes || this.#rules.isDraining();
    this.response.writeHead(status, closes ? [...headers, 'Connection', 'close'] : (headers as string[]));
  }

  end(sentBytes: number, complete: boolean): void {
    const { request, file } = this;
    const durationMs = performance.now() - this.#startedAtMs;
    this.#rules.onAnswered({
      request,
      path: this.#path,
      client: this.#client,
      file,
      status: this.#status,
      sentBytes,
      durationMs,
      complete,
    });
  }

  /** An answer that is over in one go. */
  finish(status: number, headers: readonly string[], body?: string | Buffer): void {
    this.begin(status, headers);
    const sent = body === undefined || this.request.method === 'HEAD' ? undefined : body;
    this.response.end(sent);
    this.end(sent === undefined ? 0 : Buffer.byteLength(sent), true);
  }

  /** Express gives the answer; it is reported when the response is closed. */
  leaveToOthers(): void {
    const { response, request } = this;
    if (this.#closes || this.#rules.isDraining()) response.setHeader('Connection', 'close');
    response.once('close', () => {
      this.#status = response.statusCode;
      const sentBytes = request.method === 'HEAD' ? 0 : Number(response.getHeader('content-length') ?? 0);
      this.end(response.writableFinished ? sentBytes : 0, response.writableFinished);
    });
  }

  text(status: number, text: string, headers: readonly string[] = []): void {
    const length = ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(Buffer.byteLength(text))];
    this.finish(
      status,
      [...length, 'X-Content-Type-Options', 'nosniff', 'Cache-Control', 'no-store', ...headers],
      text,
    );
  }

  /** Gateways try again after 503, and never after 404 or 429. */
  unavailable(why: string): void {
    if (this.response.destroyed) return;
    this.text(503, `${why}\n`, ['Retry-After', String(this.#rules.retryAfterSeconds)]);
  }
}

function pathOf(url: string): string {
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}
