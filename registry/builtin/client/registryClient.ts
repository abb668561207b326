import type { Readable } from 'node:stream';
import { type CredentialsOptions, CredentialsSource } from '../../credentials/credentialsSource.ts';
import { RegistryRefusal } from '../../errors.ts';
import { type RetryPolicy, retrying } from '../../fallback/retrying.ts';
import { type Endpoint, endpointOf } from '../../hosts/hosts.ts';
import { formatReference, type Reference } from '../../reference.ts';
import type { RegistryEvent, RegistryOptions } from '../../registry.ts';
import { type ErrorBody, readErrorBody, withoutSecretsOf } from '../faults/errorBody.ts';
import { type Purpose, replyError } from '../faults/replyErrors.ts';
import { parseWarnings } from '../http/headers.ts';
import { type HttpRequest, isWebPage, type NamedBy, type Reply } from '../http/reply.ts';
import { readBody } from '../transport/bodies.ts';
import { Schemes } from '../transport/schemes.ts';
import { Transport, type TransportOptions } from '../transport/transport.ts';
import { type AuthContext, Authenticator, type Authorization } from './authenticator.ts';
import { Redirects } from './redirects.ts';

/** One request of the distribution-spec. */
export interface RegistryRequest {
  readonly purpose: Purpose;
  readonly endpoint: Endpoint;
  readonly method: HttpRequest['method'];
  /** Below `/v2/REPOSITORY/`, an absolute path for a next page, or the URL of an upload, which may be at another host. */
  readonly path: string | URL;
  /** Opens the body. It is called for every attempt. */
  readonly body?: () => Promise<Buffer | Readable>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Statuses to return in addition to 200. */
  readonly accept?: readonly number[];
}

export type RegistryClientOptions = TransportOptions &
  CredentialsOptions &
  Pick<RegistryOptions, 'plainHttp' | 'retries'> & {
    /** Longest wait before the first retry; it doubles each time, up to 10 000. Default 250. */
    readonly backoffMs?: number;
    /** Called as soon as a host has sent a challenge, which shows that it is a registry. */
    readonly onIdentified?: (registry: string) => void;
  };

/** Returns the parts of a request that its reference decides. `purpose` has the rest of its purpose. */
export function requestFor(
  reference: Reference,
  purpose: Pick<Purpose, 'what' | 'wanted' | 'writes'>,
): Pick<RegistryRequest, 'purpose' | 'endpoint'> {
  const { registry, repository } = reference;
  return {
    purpose: { subject: formatReference(reference), registry, repository, ...purpose },
    endpoint: endpointOf(registry, repository),
  };
}

const ERROR_BODY_BYTES = 64 * 1024;
const MOST_WARNINGS = 1000;
const EMPTY_BODY: ErrorBody = { diagnostics: [], said: undefined, isHtml: false };

/** Sends a request to a registry: answers its challenges, follows its redirects, and retries temporary failures. */
export class RegistryClient {
  /** The client's own; its owner closes it. */
  readonly transport: Transport;
  /** Retries of a request, at most. Default 5. */
  readonly retries: number;
  readonly #authenticator: Authenticator;
  readonly #schemes: Schemes;
  readonly #options: RegistryClientOptions;
  readonly #onEvent: (event: RegistryEvent) => void;
  readonly #redirects: Redirects;
  readonly #warned = new Set<string>();
  /** Origins that have sent a registry's reply. */
  readonly #registries = new Set<string>();

  /** Sends no request. @throws RegistryOptionsInvalid */
  constructor(options: RegistryClientOptions) {
    const { plainHttp = false, retries = 5, onEvent = () => {} } = options;
    this.transport = new Transport(options);
    this.retries = retries;
    this.#authenticator = new Authenticator(this.transport, new CredentialsSource(options), onEvent);
    this.#schemes = new Schemes(plainHttp);
    this.#options = options;
    this.#onEvent = onEvent;
    this.#redirects = new Redirects(this.transport, plainHttp);
  }

  /**
   * Sends a request and returns what `read` makes of the reply, whose body is unread. A temporary error that `read` throws is
   * retried like any other. `retries` can only lower the number from the options. @throws this room's refusals, or the
   * signal's reason
   */
  async fetch<Result>(
    request: RegistryRequest,
    read: (reply: Reply) => Promise<Result> | Result,
    signal: AbortSignal,
    retries = this.retries,
  ): Promise<Result> {
    const { purpose } = request;
    const policy: RetryPolicy = {
      retries: Math.min(retries, this.retries),
      backoffMs: this.#options.backoffMs ?? 250,
      onRetry: (attempt, delayMs, { message }) =>
        this.#onEvent({ type: 'retry', subject: purpose.subject, attempt, delayMs, reason: message }),
    };
    const mark = this.#redirects.mark(purpose);
    try {
      return await retrying(async attempt => read(await this.#attempt(request, attempt, signal)), policy, signal);
    } catch (error) {
      this.#redirects.failed(error, purpose, mark);
      throw error;
    }
  }

  async #attempt(request: RegistryRequest, attempt: number, signal: AbortSignal): Promise<Reply> {
    try {
      return await this.#attemptOnce(request, attempt, signal);
    } catch (error) {
      signal.throwIfAborted();
      const { host } = request.endpoint;
      if (!(error instanceof RegistryRefusal) || !(await this.#schemes.switchToTls(host, error, signal))) throw error;
      return await this.#attemptOnce(request, attempt, signal);
    }
  }

  async #attemptOnce(request: RegistryRequest, attempt: number, signal: AbortSignal): Promise<Reply> {
    const { method, purpose } = request;
    const url = this.#urlOf(request);
    const namedBy = this.#namedBy(request);
    /** By origin, so that an origin never gets the credentials of another. */
    const authorizations = new Map<string, Authorization | undefined>();
    const challenged = new Set<string>();
    authorizations.set(url.origin, await this.#authenticator.authorize(this.#contextOf(request, url, url), signal));
    const headersFor = ({ origin }: URL): Record<string, string> => {
      const header = authorizations.get(origin)?.header;
      return { ...request.headers, ...(header === undefined ? {} : { authorization: header }) };
    };
    const onFirstReply = (reply: Reply): void => this.#confirmScheme(request, reply);
    while (true) {
      const body = await request.body?.();
      const first = { method, url, namedBy, headers: {}, attempt, ...(body === undefined ? {} : { body }) };
      const reply = await this.#redirects
        .follow(first, purpose, headersFor, onFirstReply, signal)
        .catch((error: unknown) => {
          // It may not have been read at all.
          if (body !== undefined && !Buffer.isBuffer(body)) body.destroy();
          throw error;
        });
      const from = reply.request.url;
      if (reply.status === 200 || request.accept?.includes(reply.status)) {
        this.#warn(reply, purpose);
        if (from.origin === url.origin && !isWebPage(reply)) this.#registries.add(url.origin);
        return reply;
      }
      const said = await this.#readError(reply, signal);
      const used = authorizations.get(from.origin);
      if (reply.status === 401 && !challenged.has(from.origin)) {
        challenged.add(from.origin);
        const context = this.#contextOf(request, url, from);
        const header = reply.headers['www-authenticate'];
        if (header !== undefined) this.#registries.add(from.origin);
        const next = await this.#authenticator.answerChallenge(context, header, used, signal);
        if (next !== undefined) {
          authorizations.set(from.origin, next);
          continue;
        }
      }
      throw await this.#errorOf(reply, purpose, said, used);
    }
  }

  #urlOf({ endpoint, path }: RegistryRequest): URL {
    if (path instanceof URL) return path;
    const { href, origin } = this.#apiOf(endpoint);
    return new URL(path.startsWith('/') ? `${origin}${path}` : `${href}${endpoint.repository}/${path}`);
  }

  #apiOf({ host }: Endpoint): URL {
    return new URL(`${this.#schemes.of(host)}://${host}/v2/`);
  }

  /** An upload's URL may be at a host that the registry named, which gets no credentials of the registry. */
  #namedBy({ purpose, endpoint, path }: RegistryRequest): NamedBy | undefined {
    const api = this.#apiOf(endpoint);
    if (!(path instanceof URL) || path.host === api.host) return undefined;
    return { role: 'upload host', registry: purpose.registry, api };
  }

  #contextOf(request: RegistryRequest, first: URL, url: URL): AuthContext {
    const { purpose, endpoint } = request;
    return {
      server: url,
      purpose,
      repository: endpoint.repository,
      isRegistry: url.origin === first.origin && this.#namedBy(request) === undefined,
      onChallenge: () => this.#options.onIdentified?.(purpose.registry),
    };
  }

  /** The scheme works. A 400 proves nothing: a TLS port sends it to plain http, and a proxy answers for the registry. */
  #confirmScheme({ endpoint, path }: RegistryRequest, { request, status, proxy }: Reply): void {
    if (path instanceof URL || status === 400 || proxy !== undefined) return;
    this.#schemes.confirm(endpoint.host, request.url.protocol === 'https:' ? 'https' : 'http');
  }

  async #readError(reply: Reply, signal: AbortSignal): Promise<ErrorBody> {
    try {
      const body = await readBody(reply, ERROR_BODY_BYTES, this.transport.timeoutMs, signal);
      return readErrorBody(body, reply.headers['content-type']?.toString(), reply);
    } catch {
      // The status alone is enough; a broken error page must not hide it.
      signal.throwIfAborted();
      return EMPTY_BODY;
    }
  }

  async #errorOf(
    reply: Reply,
    purpose: Purpose,
    body: ErrorBody,
    authorization: Authorization | undefined,
  ): Promise<RegistryRefusal> {
    const { url, namedBy } = reply.request;
    const error = replyError(reply, purpose, body, {
      credentialSource: authorization?.credentialSource,
      ...(await this.#authenticator.whyAnonymous(purpose)),
      isKnownRegistry: this.#registries.has(url.origin),
      isAuthorized: authorization !== undefined,
      timeoutMs: this.transport.timeoutMs,
    });
    if (namedBy !== undefined) this.#redirects.blame(error, url);
    return error;
  }

  #warn(reply: Reply, { registry, subject }: Purpose): void {
    for (const text of parseWarnings(reply.headers.warning)) {
      const message = withoutSecretsOf(text, reply);
      const key = `${registry} ${message}`;
      if (this.#warned.has(key) || this.#warned.size >= MOST_WARNINGS) continue;
      this.#warned.add(key);
      this.#onEvent({ type: 'warning', subject, message });
    }
  }
}
