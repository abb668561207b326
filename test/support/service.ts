import type { IncomingMessage } from 'node:http';
import { type Answer, answer, answerError } from './answer.ts';
import type { RequestRecord } from './records.ts';
import { answerHop } from './redirects.ts';
import { answerPull, type Route } from './routes.ts';
import type { UrlLimits } from './script.ts';
import { ObjectStorage } from './storage.ts';
import type { Store } from './store.ts';
import type { Gate } from './tokens.ts';
import { Uploads } from './uploads.ts';

export interface ServiceOptions {
  readonly gate: Gate | undefined;
  readonly aliyunStyle: boolean;
  /** Where GET of a blob is sent; undefined: it is served. */
  readonly blobOrigin: (() => string) | undefined;
  /** Object storage answers 400 to a request with an Authorization header. */
  readonly storageRefusesCredentials: boolean;
}

/** A request, read. */
export interface Asked {
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly route: Route;
  readonly record: RequestRecord;
}

/** What an honest registry, its token server and its object storage answer; nothing here touches a socket. */
export class Service {
  readonly #options: ServiceOptions;
  readonly #store: Store;
  readonly #uploads: Uploads;
  readonly #storage: ObjectStorage;

  constructor(store: Store, options: ServiceOptions) {
    this.#store = store;
    this.#options = options;
    this.#uploads = new Uploads(store);
    this.#storage = new ObjectStorage(store, options.storageRefusesCredentials);
  }

  /** Path and query of a signed URL for a route's blob. */
  signBlob(route: Route, limits: UrlLimits = {}): string {
    return this.#storage.sign(route.repository, route.target, limits);
  }

  async answer(asked: Asked): Promise<Answer> {
    const { request, url, route, record } = asked;
    const hop = answerHop(url.pathname);
    if (hop !== undefined) return hop;
    const { gate } = this.#options;
    if (record.server === 'token' && gate) return gate.answerToken(request, url.searchParams);
    if (record.server === 'storage') return this.#storage.answer(request, url.pathname, url.searchParams, record);
    const said = this.#refuse(asked) ?? (await this.#uploads.answer(route, request, url.searchParams));
    const pulled = said ?? this.#redirected(asked, answerPull(this.#store, route, request, url.searchParams));
    return { ...pulled, headers: { 'docker-distribution-api-version': 'registry/2.0', ...pulled.headers } };
  }

  #refuse({ request, route }: Asked): Answer | undefined {
    const pull = request.method === 'GET' || request.method === 'HEAD';
    const repository = route.repository === '' ? undefined : route.repository;
    const action = pull && route.endpoint !== 'upload' ? 'pull' : 'push';
    const refused = this.#options.gate?.check(request.headers.authorization, { repository, action });
    if (refused !== undefined) return refused;
    const unknown = repository !== undefined && !this.#store.repositories.has(repository);
    if (this.#options.aliyunStyle && unknown && action === 'pull')
      return answerError(401, 'DENIED', 'requested access to the resource is denied');
    return undefined;
  }

  #redirected({ request, route }: Asked, said: Answer): Answer {
    const served = said.status === 200 || said.status === 206 || said.status === 416;
    const origin = this.#options.blobOrigin?.();
    if (origin === undefined || route.endpoint !== 'blob' || request.method !== 'GET' || !served) return said;
    return answer(307, { location: `${origin}${this.signBlob(route)}` });
  }
}
