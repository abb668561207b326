import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer } from './answer.ts';
import { type Connection, type Delivery, deliver } from './delivery.ts';
import type { Digest, TestImage } from './image.ts';
import { Listener, type Tls } from './listener.ts';
import { Ledger, type RecordFilter, type RequestKind, type RequestRecord } from './records.ts';
import { hasArrived } from './redirects.ts';
import { type Route, routeOf } from './routes.ts';
import { type Fault, type FaultContext, type FaultRule, Script } from './script.ts';
import { Service } from './service.ts';
import { Store } from './store.ts';
import { type Auth, Gate } from './tokens.ts';

export interface RegistryOptions {
  /** Default: anybody may pull and push. */
  readonly auth?: Auth;
  /** Where GET of a blob is sent with a 307. Default `none`. */
  readonly blobRedirect?: 'none' | 'same-origin' | 'cross-origin';
  /**
   * The host in the URLs of object storage. Default `localhost`, because Go's clients compare origins by host name only
   * and would send credentials to another port of the same host; `127.0.0.1` tests a client that is to know better.
   */
  readonly storageHost?: string;
  /** Added before every answer. Default 0. */
  readonly latencyMs?: number;
  /** Serve https with this key and certificate. Default: plain http. */
  readonly tls?: Tls;
  /** An unknown repository answers 401 DENIED instead of 404 NAME_UNKNOWN. Default false. */
  readonly aliyunStyle?: boolean;
  /** Address to listen on; `::1` makes a registry that IPv4 cannot reach. Default `127.0.0.1`. */
  readonly address?: string;
}

/** Starts an OCI registry in this process, in memory, on free loopback ports. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = new TestRegistry(options);
  await registry.up();
  return registry;
}

export class TestRegistry {
  readonly #options: RegistryOptions;
  readonly #store = new Store();
  readonly #service: Service;
  readonly #ledger = new Ledger();
  readonly #gate: Gate | undefined;
  readonly #front: Listener;
  /** Object storage and, if asked for, the token server have ports of their own, hence other origins. */
  readonly #bucket: Listener;
  readonly #tokenServer: Listener | undefined;
  #script = new Script([]);
  readonly #closing = new AbortController();
  #reopening: Promise<void> = Promise.resolve();

  constructor(options: RegistryOptions) {
    this.#options = options;
    const { auth, tls, address } = options;
    const place = { ...(tls ? { tls } : {}), ...(address ? { address } : {}) };
    const listen = (server: RequestRecord['server'], name?: string): Listener => {
      const made: Listener = new Listener(
        (request, connection) => this.#handle(server, made.origin, request, connection),
        { ...place, ...(name ? { name } : {}) },
      );
      return made;
    };
    this.#front = listen('registry');
    this.#bucket = listen('storage', options.storageHost ?? 'localhost');
    if (auth?.kind === 'bearer' && auth.realm === 'cross-origin') this.#tokenServer = listen('token');
    if (auth) this.#gate = new Gate(auth, () => `${(this.#tokenServer ?? this.#front).origin}${this.#tokenPath}`);
    const { blobRedirect = 'none' } = options;
    const blobServer = blobRedirect === 'cross-origin' ? this.#bucket : this.#front;
    this.#service = new Service(this.#store, {
      gate: this.#gate,
      aliyunStyle: options.aliyunStyle === true,
      blobOrigin: blobRedirect === 'none' ? undefined : () => blobServer.origin,
      storageRefusesCredentials: blobRedirect !== 'same-origin',
    });
  }

  /** `127.0.0.1:PORT`, as references name it. */
  get host(): string {
    return this.#front.host;
  }

  get url(): string {
    return this.#front.origin;
  }

  /** Every request since the start or the last reset, in order of arrival. */
  get requests(): readonly RequestRecord[] {
    return this.#ledger.requests;
  }

  /** TCP connections that the registry's own port accepted so far. */
  get connections(): number {
    return this.#front.connections;
  }

  /** Most requests that were under way at once since the last reset. */
  get peakInFlight(): number {
    return Math.max(0, ...this.requests.map(record => record.inFlight));
  }

  /** Every token given out so far. */
  get tokensIssued(): readonly string[] {
    return this.#gate?.issued ?? [];
  }

  /** Stores an image without any HTTP; `tag` null leaves it reachable by digest only. */
  push(repository: string, tag: string | null, image: TestImage): Digest {
    return this.#store.push(repository, tag, image);
  }

  /** Points a tag elsewhere, as mutable tags do. */
  tag(repository: string, tag: string, digest: Digest): void {
    this.#store.open(repository).tags.set(tag, digest);
  }

  /** Takes a tag, or a blob or manifest by its digest, out of a repository. */
  remove(repository: string, target: string): void {
    const { tags, blobs, manifests } = this.#store.open(repository);
    tags.delete(target);
    blobs.delete(target as Digest);
    manifests.delete(target as Digest);
  }

  /** What a repository holds under a tag or digest, e.g. after a real client's push. */
  stored(repository: string, target: string): Buffer | undefined {
    const found = this.#store.repositories.get(repository);
    const digest = (found?.tags.get(target) ?? target) as Digest;
    return found?.manifests.get(digest)?.bytes ?? found?.blobs.get(digest);
  }

  count(filter?: RecordFilter): number {
    return this.#ledger.select(filter).length;
  }

  /** Body bytes sent, of one kind of request or of all. */
  bytesServed(filter?: RecordFilter): number {
    return this.#ledger.select(filter).reduce((sum, record) => sum + record.bodyBytesSent, 0);
  }

  /** Makes every token that was given out invalid from now on. */
  expireTokens(): void {
    this.#gate?.expireAll();
  }

  /** Forgets the requests; keeps what is stored. */
  reset(): void {
    this.#ledger.requests.length = 0;
  }

  /** The faults from now on, instead of the former ones; an empty list removes all. */
  script(rules: FaultRule | readonly FaultRule[]): void {
    this.#script = new Script([rules].flat());
  }

  /** Resets the next so many connections as soon as they are made, before any TLS. */
  resetConnections(count: number): void {
    this.#front.resetConnections(count);
  }

  /** Opens the port again after `down`. */
  async up(): Promise<void> {
    await this.#front.up();
    await this.#bucket.up();
    await this.#tokenServer?.up();
  }

  /** Closes the ports and cuts all connections: further attempts are refused until `up`. */
  async down(): Promise<void> {
    await this.#front.down();
    await this.#bucket.down();
    await this.#tokenServer?.down();
  }

  /** Refuses connections for so long, then opens by itself. Resolves when the ports are closed. */
  async downFor(durationMs: number): Promise<void> {
    await this.down();
    this.#reopening = sleep(durationMs, undefined, { signal: this.#closing.signal }).then(
      () => this.up(),
      () => {},
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#reopening;
    await this.#front.close();
    await this.#bucket.close();
    await this.#tokenServer?.close();
  }

  async #handle(
    server: RequestRecord['server'],
    origin: string,
    request: IncomingMessage,
    connection: Connection,
  ): Promise<void> {
    const { signal } = connection;
    const url = new URL(`${origin}${request.url ?? '/'}`);
    const route = routeOf(url.pathname);
    const role = this.#roleOf(server, url.pathname);
    const kind: RequestKind = role === 'storage' ? 'blob' : role === 'token' ? 'token' : route.kind;
    const record = this.#ledger.open(request, origin, role, kind);
    try {
      if (this.#options.latencyMs) await sleep(this.#options.latencyMs, undefined, { signal });
      const faults = hasArrived(url.searchParams) ? [] : this.#script.faultsFor(record);
      if (faults.length > 0) record.fault = faults.map(({ name }) => name).join('+');
      const context = this.#contextOf(route, request, record, origin);
      for (const fault of faults) fault.before?.(context);
      const honest = await this.#service.answer({ request, url, route, record });
      const said = faults.reduce((now: Answer, fault: Fault) => fault.rewrite?.(now, context) ?? now, honest);
      const how: Delivery = Object.assign({}, ...faults.map(({ delivery }) => delivery));
      await deliver(said, connection, record, how);
    } finally {
      this.#ledger.shut();
    }
  }

  #contextOf(route: Route, request: IncomingMessage, record: RequestRecord, origin: string): FaultContext {
    const storageOrigin = this.#bucket.origin;
    return {
      request,
      record,
      origin,
      storageOrigin,
      signBlob: limits => `${storageOrigin}${this.#service.signBlob(route, limits)}`,
      expireTokens: () => this.expireTokens(),
    };
  }

  // With same-origin tokens and storage one port plays all three parts, distinguished by path.
  #roleOf(server: RequestRecord['server'], path: string): RequestRecord['server'] {
    if (server !== 'registry') return server;
    if (path === this.#tokenPath && this.#gate !== undefined && this.#tokenServer === undefined) return 'token';
    return path.startsWith('/storage/') && this.#options.blobRedirect === 'same-origin' ? 'storage' : server;
  }

  get #tokenPath(): string {
    return this.#options.auth?.kind === 'bearer' ? (this.#options.auth.tokenPath ?? '/token') : '/token';
  }
}
