import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, answer, answerError, deliver } from './answer.ts';
import type { Digest, TestImage } from './image.ts';
import { Listener, type Tls } from './listener.ts';
import { Ledger, type RecordFilter, type RequestKind, type RequestRecord } from './records.ts';
import { answerPull, type Route, routeOf } from './routes.ts';
import { ObjectStorage } from './storage.ts';
import { Store } from './store.ts';
import { type Auth, Gate } from './tokens.ts';
import { Uploads } from './uploads.ts';

export interface RegistryOptions {
  /** Default: anybody may pull and push. */
  readonly auth?: Auth;
  /** Where GET of a blob is sent with a 307. Default `none`. */
  readonly blobRedirect?: 'none' | 'same-origin' | 'cross-origin';
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
  readonly #uploads = new Uploads(this.#store);
  readonly #storage: ObjectStorage;
  readonly #ledger = new Ledger();
  readonly #gate: Gate | undefined;
  readonly #front: Listener;
  /** Object storage and, if asked for, the token server: other ports, hence other origins. */
  readonly #bucket: Listener | undefined;
  readonly #tokenServer: Listener | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#storage = new ObjectStorage(this.#store, options.blobRedirect === 'cross-origin');
    const { auth, tls, address } = options;
    const place = { ...(tls ? { tls } : {}), ...(address ? { address } : {}) };
    const listen = (server: RequestRecord['server']): Listener => {
      const made: Listener = new Listener(
        (request, response, signal) => this.#handle(server, made.origin, request, response, signal),
        place,
      );
      return made;
    };
    this.#front = listen('registry');
    if (options.blobRedirect === 'cross-origin') this.#bucket = listen('storage');
    if (auth?.kind === 'bearer' && auth.realm === 'cross-origin') this.#tokenServer = listen('token');
    if (auth) this.#gate = new Gate(auth, () => `${(this.#tokenServer ?? this.#front).origin}${this.#tokenPath}`);
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

  /** Opens the port again after `down`. */
  async up(): Promise<void> {
    await this.#front.up();
    await this.#bucket?.up();
    await this.#tokenServer?.up();
  }

  /** Closes the ports and cuts all connections: further attempts are refused until `up`. */
  async down(): Promise<void> {
    await this.#front.down();
    await this.#bucket?.down();
    await this.#tokenServer?.down();
  }

  async close(): Promise<void> {
    await this.#front.close();
    await this.#bucket?.close();
    await this.#tokenServer?.close();
  }

  async #handle(
    server: RequestRecord['server'],
    origin: string,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const url = new URL(`${origin}${request.url ?? '/'}`);
    const route = routeOf(url.pathname);
    const role = this.#roleOf(server, url.pathname);
    const kind: RequestKind = role === 'storage' ? 'blob' : role === 'token' ? 'token' : route.kind;
    const record = this.#ledger.open(request, origin, role, kind);
    if (this.#options.latencyMs) await sleep(this.#options.latencyMs, undefined, { signal });
    const said = await this.#answer(role, route, request, url);
    await deliver(said, response, record, signal);
  }

  // With same-origin tokens and storage one port plays all three parts, told apart by path.
  #roleOf(server: RequestRecord['server'], path: string): RequestRecord['server'] {
    if (server !== 'registry') return server;
    if (path === this.#tokenPath && this.#gate !== undefined && this.#tokenServer === undefined) return 'token';
    return path.startsWith('/storage/') && this.#options.blobRedirect === 'same-origin' ? 'storage' : server;
  }

  async #answer(role: RequestRecord['server'], route: Route, request: IncomingMessage, url: URL): Promise<Answer> {
    if (role === 'token' && this.#gate) return this.#gate.answerToken(request, url.searchParams);
    if (role === 'storage') return this.#storage.answer(request, url.pathname, url.searchParams);
    const refused = this.#refuse(route, request);
    const said =
      refused ??
      (await this.#uploads.answer(route, request, url.searchParams)) ??
      answerPull(this.#store, route, request, url.searchParams);
    const final = this.#redirected(route, request, said) ?? said;
    return { ...final, headers: { 'docker-distribution-api-version': 'registry/2.0', ...final.headers } };
  }

  #refuse(route: Route, request: IncomingMessage): Answer | undefined {
    const pull = request.method === 'GET' || request.method === 'HEAD';
    const repository = route.repository === '' ? undefined : route.repository;
    const action = pull && route.endpoint !== 'upload' ? 'pull' : 'push';
    const refused = this.#gate?.check(request.headers.authorization, { repository, action });
    if (refused !== undefined) return refused;
    const unknown = repository !== undefined && !this.#store.repositories.has(repository);
    if (this.#options.aliyunStyle === true && unknown && action === 'pull')
      return answerError(401, 'DENIED', 'requested access to the resource is denied');
    return undefined;
  }

  #redirected(route: Route, request: IncomingMessage, said: Answer): Answer | undefined {
    const { blobRedirect = 'none' } = this.#options;
    const served = said.status === 200 || said.status === 206 || said.status === 416;
    if (blobRedirect === 'none' || route.endpoint !== 'blob' || request.method !== 'GET' || !served) return undefined;
    const { origin } = this.#bucket ?? this.#front;
    return answer(307, { location: `${origin}${this.#storage.sign(route.repository, route.target)}` });
  }

  get #tokenPath(): string {
    return this.#options.auth?.kind === 'bearer' ? (this.#options.auth.tokenPath ?? '/token') : '/token';
  }
}
