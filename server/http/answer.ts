import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { ServedFile } from '../view/treeView.ts';

/** A finished answer, for metrics and access log. */
export interface AnswerReport {
  readonly request: IncomingMessage;
  /** As in the request, without the query: it has no meaning here and may contain secrets. */
  readonly path: string;
  /** The client's address, or the one that the trusted proxies report. */
  readonly client: string;
  readonly file: ServedFile | undefined;
  /** Whether it answers a health check. */
  readonly isProbe: boolean;
  readonly status: number;
  readonly sentBytes: number;
  readonly durationMs: number;
  /** False if the connection was closed before the end. */
  readonly complete: boolean;
}

export interface AnswerRules {
  /** Whether the server is about to stop: clients should then open a new connection, to another server. */
  readonly isDraining: () => boolean;
  readonly retryAfterSeconds: number;
  readonly onAnswered: (report: AnswerReport) => void;
}

/** Returns the body of an error for the clients of an API. */
export type ErrorBody = (
  status: number,
  message: string,
) => { readonly headers: readonly string[]; readonly body: string };

/** The answer to one request. Each way to give it reports the answer exactly once. */
export class Answer {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The client's address, or the one that the trusted proxies report. */
  readonly client: string;
  file: ServedFile | undefined;
  isProbe = false;
  readonly #rules: AnswerRules;
  readonly #errorBody: ErrorBody | undefined;
  readonly #closes: boolean;
  readonly #path: string;
  readonly #startedAtMs = performance.now();
  /** Until the header is sent: the client has closed the connection before. nginx has introduced this code. */
  #status = 499;

  /**
   * `closes`: the connection ends with this answer, for example because a request body follows that the server does not read.
   * `errorBody`: undefined for plain text.
   */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    rules: AnswerRules,
    {
      closes,
      client,
      errorBody,
    }: { readonly closes: boolean; readonly client: string; readonly errorBody?: ErrorBody | undefined },
  ) {
    this.request = request;
    this.response = response;
    this.#rules = rules;
    this.#closes = closes;
    this.#errorBody = errorBody;
    this.client = client;
    this.#path = withoutQuery(request.url ?? '/');
  }

  /** Sends status and header. The caller sends the body and calls end(). */
  begin(status: number, headers: readonly string[]): void {
    this.#status = status;
    const closes = this.#closes || this.#rules.isDraining();
    this.response.writeHead(status, closes ? [...headers, 'Connection', 'close'] : (headers as string[]));
  }

  end(sentBytes: number, complete: boolean): void {
    const { request, file, isProbe } = this;
    this.#rules.onAnswered({
      request,
      path: this.#path,
      client: this.client,
      file,
      isProbe,
      status: this.#status,
      sentBytes,
      durationMs: performance.now() - this.#startedAtMs,
      complete,
    });
  }

  /** Sends a whole answer. */
  send(status: number, headers: readonly string[], body?: string | Buffer): void {
    this.begin(status, headers);
    const sent = body === undefined || this.request.method === 'HEAD' ? undefined : body;
    this.response.end(sent);
    this.end(sent === undefined ? 0 : Buffer.byteLength(sent), true);
  }

  /** To be called before Express sends the answer: it is then reported when the response is closed. */
  leaveToExpress(): void {
    const { response, request } = this;
    if (this.#closes || this.#rules.isDraining()) response.setHeader('Connection', 'close');
    response.once('close', () => {
      if (response.headersSent) this.#status = response.statusCode;
      const sentBytes = request.method === 'HEAD' ? 0 : Number(response.getHeader('content-length') ?? 0);
      this.end(response.writableFinished ? sentBytes : 0, response.writableFinished);
    });
  }

  /** Sends a text for people; as an error, in the form of the API that the client uses. */
  text(status: number, text: string, headers: readonly string[] = []): void {
    const api = status < 400 ? undefined : this.#errorBody?.(status, text.trimEnd());
    const body = api?.body ?? text;
    const lines = [
      ...(api?.headers ?? ['Content-Type', 'text/plain; charset=utf-8']),
      'Content-Length',
      String(Buffer.byteLength(body)),
    ];
    this.send(status, [...lines, 'X-Content-Type-Options', 'nosniff', 'Cache-Control', 'no-store', ...headers], body);
  }

  /** Sends an error whose status and header say everything: without a body, unless the client uses an API. */
  error(status: number, message: string, headers: readonly string[]): void {
    if (this.#errorBody === undefined) this.send(status, ['Content-Length', '0', ...headers]);
    else this.text(status, message, headers);
  }

  /** Sends 503: gateways retry after it, but never after 404 or 429. */
  unavailable(why: string): void {
    if (this.response.destroyed) return;
    this.text(503, `${why}\n`, ['Retry-After', String(this.#rules.retryAfterSeconds)]);
  }
}

function withoutQuery(url: string): string {
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}
