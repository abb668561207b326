import { setMaxListeners } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import { buildConnector, type Dispatcher, Pool } from 'undici';
import { HostGate } from '../../concurrency/hostLimit.ts';
import { RegistryTimeout } from '../../errors.ts';
import { proxyFor } from '../../hosts/proxy.ts';
import { Trust, type TrustOptions } from '../../hosts/trust.ts';
import type { RegistryOptions } from '../../registry.ts';
import { refuseTransport } from '../faults/transportFaults.ts';
import { parseRetryAfter } from '../http/retryAfter.ts';
import { mendedHeads } from './answerHeads.ts';
import { proxyAuthorization, tunnelConnector } from './tunnel.ts';

export type TransportOptions = TrustOptions &
  Pick<RegistryOptions, 'concurrency' | 'timeoutMs' | 'env'> & {
    /** Told of every request twice at most: when it is sent, and when an answer came. */
    readonly onExchange?: (exchange: Exchanged) => void;
  };

export interface Exchanged {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly answered: boolean;
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpAnswer {
  readonly request: HttpRequest;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Must be read, dumped or destroyed: until then its place at the host stays taken. */
  readonly body: Dispatcher.ResponseData['body'];
  readonly proxy: URL | undefined;
  /** Gives the place at the host back before the body's end. */
  leave(): void;
}

/** A server that wants a longer silence is not waited for by everybody: each request decides for itself. */
const LONGEST_PAUSE_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Node's own limit is 16 KiB, which a few cookies of a gateway fill; Go's is 1 MiB. */
const MOST_HEADER_BYTES = 256 * 1024;

/**
 * Sends one HTTP request and hands back whatever answer comes: no redirects, no credentials, no second try. Connections are
 * kept alive, per origin and proxy; their number and that of the requests under way is bounded per host.
 */
export class Transport {
  readonly timeoutMs: number;
  readonly #options: TransportOptions;
  readonly #trust: Trust;
  readonly #pools = new Map<string, Promise<Pool>>();
  readonly #gates = new Map<string, HostGate>();
  readonly #ending = new AbortController();
  #requests = 0;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#trust = new Trust(options);
    this.timeoutMs = options.timeoutMs ?? 30_000;
    // Every socket that is being opened listens to it.
    setMaxListeners(0, this.#ending.signal);
  }

  /** Requests sent so far. */
  get requests(): number {
    return this.#requests;
  }

  /** @throws a refusal of this room, or the signal's reason */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const { url } = request;
    // One signal serves a whole run: that hundreds of requests listen to it is no leak.
    setMaxListeners(0, signal);
    const proxy = proxyFor(url, this.#options.env ?? {});
    const pool = await this.#poolFor(url, proxy);
    const gate = this.#gateFor(url.origin);
    const pass = await gate.enter(signal);
    try {
      this.#requests += 1;
      this.#options.onExchange?.({ url, proxy, answered: false });
      const forwarded = proxy !== undefined && url.protocol === 'http:';
      const path = `${url.pathname}${url.search}`;
      const answering = pool.request({
        method: request.method,
        // RFC 9112, 3.2.2: a proxy is given the whole URL.
        path: forwarded ? `${url.origin}${path}` : path,
        headers: {
          'user-agent': 'plugin-mirror',
          'accept-encoding': 'identity',
          ...request.headers,
          ...(forwarded ? { host: url.host, ...proxyAuthorization(proxy) } : {}),
        },
        body: request.body ?? null,
        signal,
        // undici closes the connection after HEAD unless told that it need not.
        reset: false,
      });
      const { statusCode, headers, body } = await orAborted(answering, signal);
      body.once('close', pass.leave);
      this.#options.onExchange?.({ url, proxy, answered: true });
      if (statusCode === 429 || statusCode === 503) {
        const waitMs = parseRetryAfter(headers['retry-after']?.toString(), headers.date?.toString(), Date.now()) ?? 0;
        pass.throttle(waitMs > LONGEST_PAUSE_MS ? 0 : waitMs);
      } else pass.succeed();
      return { request, status: statusCode, headers, body, proxy, leave: pass.leave };
    } catch (error) {
      const refusal = refuseTransport(error, { method: request.method, url, proxy, timeoutMs: this.timeoutMs });
      if (!signal.aborted && refusal instanceof RegistryTimeout) pass.slowDown();
      pass.leave();
      signal.throwIfAborted();
      throw refusal;
    }
  }

  async close(): Promise<void> {
    this.#ending.abort(new Error('the registry was closed'));
    const pools = await Promise.allSettled(this.#pools.values());
    await Promise.all(pools.map(result => (result.status === 'fulfilled' ? result.value.destroy() : undefined)));
    this.#pools.clear();
  }

  /** Places at one host: blobs as asked for, and three times as many for the small things: manifests and tokens. */
  get #places(): number {
    return 4 * Math.max(1, this.#options.concurrency ?? 8);
  }

  #gateFor(origin: string): HostGate {
    const gate = this.#gates.get(origin) ?? new HostGate(this.#places);
    this.#gates.set(origin, gate);
    return gate;
  }

  #poolFor(url: URL, proxy: URL | undefined): Promise<Pool> {
    const key = `${url.origin} ${proxy?.href ?? ''}`;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const pool = this.#open(url, proxy);
    this.#pools.set(key, pool);
    return pool;
  }

  async #open(url: URL, proxy: URL | undefined): Promise<Pool> {
    const timeoutMs = Math.min(this.timeoutMs, CONNECT_TIMEOUT_MS);
    const { signal } = this.#ending;
    const target = proxy !== undefined && url.protocol === 'http:' ? proxy : url;
    const connectDirectly = buildConnector({
      ...(target.protocol === 'https:' ? await this.#trust.settingsFor(target.host) : {}),
      timeout: timeoutMs,
      signal,
    } as buildConnector.BuildOptions);
    const connect =
      proxy === undefined || url.protocol === 'http:'
        ? connectDirectly
        : tunnelConnector(
            { proxy, proxyTls: await this.#trust.settingsFor(proxy.host), timeoutMs, signal },
            connectDirectly,
          );
    return new Pool(target.origin, {
      connect: mendedHeads(connect),
      connections: this.#places,
      pipelining: 1,
      maxHeaderSize: MOST_HEADER_BYTES,
      headersTimeout: this.timeoutMs,
      bodyTimeout: this.timeoutMs,
    });
  }
}

/** undici hears an abort only once it is connected, which may take as long as connecting may. */
async function orAborted(
  answering: Promise<Dispatcher.ResponseData>,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    const leave = (): void => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    stop = () => signal.removeEventListener('abort', leave);
  });
  answering.then(
    ({ body }) => signal.aborted && body.on('error', () => {}).destroy(),
    () => {},
  );
  try {
    return await Promise.race([answering, aborted]);
  } finally {
    stop();
  }
}
