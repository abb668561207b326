import { setMaxListeners } from 'node:events';
import { type Dispatcher, Pool } from 'undici';
import { shortLine } from '../../../base/printable.ts';
import { HostLimit } from '../../concurrency/hostLimit.ts';
import { RegistryTimeout } from '../../errors.ts';
import { AddressForbidden } from '../../hosts/dial.ts';
import { type AddressKind, addressKind, bareHost, includesHost, kindOfName } from '../../hosts/hosts.ts';
import { proxyFor } from '../../hosts/proxy.ts';
import { Trust, type TrustOptions } from '../../hosts/trust.ts';
import type { RegistryOptions } from '../../registry.ts';
import { transportError } from '../faults/transportErrors.ts';
import { parseRetryAfter } from '../http/headers.ts';
import type { HttpRequest, NamedBy, Reply } from '../http/reply.ts';
import { connectorFor, proxyAuthorization } from './connect.ts';

export type TransportOptions = TrustOptions &
  Pick<RegistryOptions, 'concurrency' | 'timeoutMs' | 'env' | 'onRequest' | 'allowHost'> & {
    /** Called when a request is sent, and again when its reply arrives. */
    readonly onContact?: (contact: Contact) => void;
  };

export interface Contact {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly answered: boolean;
}

interface RequestReport {
  countBytes(count: number): void;
  replied(status: number, body: Reply['body']): void;
  failed(error: string): void;
}

/** A longer Retry-After does not stop the requests of others; each request decides for itself. */
const LONGEST_PAUSE_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
const MOST_PUBLIC_FIRST: readonly AddressKind[] = ['public', 'private', 'loopback', 'metadata'];
/** Node's own limit is 16 KiB, which a few cookies of a gateway exceed; Go's is 1 MiB. */
const MOST_HEADER_BYTES = 256 * 1024;

/**
 * Sends one HTTP request and returns the reply, whatever its status: no redirects, no credentials, no retries. Connections
 * are kept alive, per origin and proxy. The requests under way at one host are limited.
 */
export class Transport {
  readonly timeoutMs: number;
  readonly #options: TransportOptions;
  readonly #trust: Trust;
  readonly #pools = new Map<string, Promise<Pool>>();
  readonly #limits = new Map<string, HostLimit>();
  /** The kind of address that an origin was reached at; if it had several, the most public one. */
  readonly #kinds = new Map<string, AddressKind>();
  readonly #closing = new AbortController();
  #requests = 0;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#trust = new Trust(options);
    this.timeoutMs = options.timeoutMs ?? 30_000;
    // Every socket that is being opened listens to it.
    setMaxListeners(0, this.#closing.signal);
  }

  /** Requests sent so far. */
  get requests(): number {
    return this.#requests;
  }

  /** @throws a refusal of this room, or the signal's reason */
  async send(request: HttpRequest, signal: AbortSignal): Promise<Reply> {
    const { url } = request;
    // One signal serves a whole run, so that hundreds of listeners are not a leak.
    setMaxListeners(0, signal);
    const proxy = proxyFor(url, this.#options.env ?? {});
    const pool = await this.#poolFor(request, proxy);
    const slot = await this.#limitOf(url.origin).acquire(signal);
    const report = this.#report(request);
    try {
      this.#requests += 1;
      this.#options.onContact?.({ url, proxy, answered: false });
      const isForwarded = proxy !== undefined && url.protocol === 'http:';
      const path = `${url.pathname}${url.search}`;
      const response = pool.request({
        method: request.method,
        // RFC 9112, 3.2.2: a proxy is sent the whole URL.
        path: isForwarded ? `${url.origin}${path}` : path,
        headers: {
          'user-agent': 'plugin-mirror',
          'accept-encoding': 'identity',
          ...request.headers,
          ...(isForwarded ? { host: url.host, ...proxyAuthorization(proxy) } : {}),
        },
        body: request.body ?? null,
        signal,
        // Without this, undici closes the connection after HEAD.
        reset: false,
      });
      const { statusCode, headers, body } = await orAborted(response, signal);
      body.once('close', slot.release);
      report.replied(statusCode, body);
      this.#options.onContact?.({ url, proxy, answered: true });
      if (statusCode === 429 || statusCode === 503) {
        const waitMs = parseRetryAfter(headers['retry-after']?.toString(), headers.date?.toString(), Date.now()) ?? 0;
        slot.throttle(waitMs > LONGEST_PAUSE_MS ? 0 : waitMs);
      } else slot.succeed();
      const { countBytes } = report;
      return { request, status: statusCode, headers, body, proxy, countBytes, release: slot.release };
    } catch (error) {
      const refusal = transportError(error, { ...request, proxy, timeoutMs: this.timeoutMs });
      if (!signal.aborted && refusal instanceof RegistryTimeout) slot.slowDown();
      slot.release();
      report.failed(signal.aborted ? 'the request was aborted' : refusal.message);
      signal.throwIfAborted();
      throw refusal;
    }
  }

  /** Ends all connections, those that are being opened included. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the registry was closed'));
    const pools = await Promise.allSettled(this.#pools.values());
    await Promise.all(pools.map(result => (result.status === 'fulfilled' ? result.value.destroy() : undefined)));
    this.#pools.clear();
  }

  /** Reports the request to `onRequest` once, when its body has ended or it has failed. */
  #report({ method, url, attempt = 1 }: HttpRequest): RequestReport {
    const begunMs = performance.now();
    let bytes = 0;
    const end = (outcome: { readonly status: number } | { readonly error: string }): void =>
      this.#options.onRequest?.({
        method,
        host: url.host,
        path: shortLine(url.pathname, 300),
        bytes,
        ms: Math.round(performance.now() - begunMs),
        attempt,
        ...outcome,
      });
    return {
      countBytes: count => {
        bytes += count;
      },
      replied: (status, body) => body.once('close', () => end({ status })),
      failed: error => end({ error }),
    };
  }

  /** `concurrency` blobs at one host, and three times as many short replies: manifests and tokens. */
  get #slots(): number {
    return 4 * Math.max(1, this.#options.concurrency ?? 8);
  }

  #limitOf(origin: string): HostLimit {
    const limit = this.#limits.get(origin) ?? new HostLimit(this.#slots);
    this.#limits.set(origin, limit);
    return limit;
  }

  async #poolFor({ method, url, namedBy }: HttpRequest, proxy: URL | undefined): Promise<Pool> {
    const allowed = this.#allowedFor(url, namedBy);
    if (!isAllowedByName(url, allowed))
      throw transportError(new AddressForbidden(bareHost(url.hostname)), {
        ...{ method, url, proxy, namedBy },
        timeoutMs: this.timeoutMs,
      });
    // A connection that was opened for one registry is not used for another that may not connect there.
    const key = `${url.origin} ${proxy?.href ?? ''} ${allowed?.join() ?? ''}`;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const pool = this.#open(url, proxy, allowed);
    this.#pools.set(key, pool);
    return pool;
  }

  /**
   * Returns the kinds of addresses at which a host may be contacted; undefined for all. A registry must not send this client
   * to addresses that the registry itself may be unable to reach.
   */
  #allowedFor(url: URL, namedBy: NamedBy | undefined): readonly AddressKind[] | undefined {
    if (namedBy === undefined || namedBy.api.origin === url.origin) return undefined;
    const scheme = url.protocol === 'https:' ? 'https' : 'http';
    if (includesHost(this.#options.allowHost, url.host, scheme)) return ['public', 'private', 'loopback'];
    const own = this.#kinds.get(namedBy.api.origin);
    return own === 'private' || own === 'loopback' ? ['public', own] : ['public'];
  }

  async #open(url: URL, proxy: URL | undefined, allowed: readonly AddressKind[] | undefined): Promise<Pool> {
    const route = {
      url,
      proxy,
      trust: this.#trust,
      timeoutMs: Math.min(this.timeoutMs, CONNECT_TIMEOUT_MS),
      signal: this.#closing.signal,
      ...(allowed === undefined ? {} : { allows: (kind: AddressKind) => allowed.includes(kind) }),
    };
    // Unusable certificates are reported before any request.
    if (url.protocol === 'https:') await this.#trust.settingsFor(url.host);
    const target = proxy !== undefined && url.protocol === 'http:' ? proxy : url;
    return new Pool(target.origin, {
      connect: connectorFor(route, address => this.#reached(url, addressKind(address))),
      connections: this.#slots,
      pipelining: 1,
      maxHeaderSize: MOST_HEADER_BYTES,
      headersTimeout: this.timeoutMs,
      bodyTimeout: this.timeoutMs,
    });
  }

  #reached({ origin }: URL, kind: AddressKind): void {
    const known = this.#kinds.get(origin);
    if (known === undefined || MOST_PUBLIC_FIRST.indexOf(kind) < MOST_PUBLIC_FIRST.indexOf(known))
      this.#kinds.set(origin, kind);
  }
}

/** Judges a literal address before any request. Other names are judged when they are resolved; where a proxy does that, only the names of metadata services are. */
function isAllowedByName({ hostname }: URL, allowed: readonly AddressKind[] | undefined): boolean {
  return allowed === undefined || allowed.includes(kindOfName(hostname));
}

/** Rejects at an abort, which undici notices only once it is connected. */
async function orAborted(
  response: Promise<Dispatcher.ResponseData>,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    const leave = (): void => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    stop = () => signal.removeEventListener('abort', leave);
  });
  response.then(
    ({ body }) => signal.aborted && body.on('error', () => {}).destroy(),
    () => {},
  );
  try {
    return await Promise.race([response, aborted]);
  } finally {
    stop();
  }
}
