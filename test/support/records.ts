import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

export type RequestKind = 'ping' | 'token' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'other';

/** One request as it was met, in order of arrival. */
export interface RequestRecord {
  readonly method: string;
  /** Absolute. */
  readonly url: string;
  /** Path without the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly kind: RequestKind;
  /** Which of the servers was asked: object storage answers `blob` requests too. */
  readonly server: 'registry' | 'token' | 'storage';
  /** 0 until an answer was begun; stays 0 if the connection was cut before. */
  status: number;
  /** Body bytes handed to the connection. */
  bodyBytesSent: number;
  /** Requests under way when this one arrived, itself included. */
  readonly inFlight: number;
  /** When it arrived, on the clock of performance.now(). */
  readonly atMs: number;
  /** Names of the faults it met, joined by `+`. */
  fault?: string;
}

export type RecordFilter =
  | RequestKind
  | ((record: RequestRecord) => boolean)
  | {
      readonly kind?: RequestKind;
      readonly server?: RequestRecord['server'];
      readonly method?: string;
      readonly status?: number;
      /** Contained in (text) or matched by (RegExp) the path. */
      readonly path?: string | RegExp;
    };

/** What travelled, so that a test can assert every request and byte that a client claims to save. */
export class Ledger {
  readonly requests: RequestRecord[] = [];
  #inFlight = 0;

  open(request: IncomingMessage, origin: string, server: RequestRecord['server'], kind: RequestKind): RequestRecord {
    const url = `${origin}${request.url ?? '/'}`;
    const record: RequestRecord = {
      method: request.method ?? 'GET',
      url,
      path: new URL(url).pathname,
      headers: { ...request.headers },
      kind,
      server,
      status: 0,
      bodyBytesSent: 0,
      inFlight: ++this.#inFlight,
      atMs: performance.now(),
    };
    this.requests.push(record);
    return record;
  }

  /** The request is over, however it ended. */
  shut(): void {
    this.#inFlight -= 1;
  }

  select(filter?: RecordFilter): RequestRecord[] {
    return this.requests.filter(record => filter === undefined || matches(record, filter));
  }
}

function matches(record: RequestRecord, filter: RecordFilter): boolean {
  if (typeof filter === 'function') return filter(record);
  if (typeof filter === 'string') return record.kind === filter;
  const { path } = filter;
  return (
    (filter.kind === undefined || record.kind === filter.kind) &&
    (filter.server === undefined || record.server === filter.server) &&
    (filter.method === undefined || record.method === filter.method) &&
    (filter.status === undefined || record.status === filter.status) &&
    (path === undefined || (typeof path === 'string' ? record.path.includes(path) : path.test(record.path)))
  );
}
