import { RegistryRedirect, RegistryRefusal } from '../../errors.ts';
import { HostHealth, hostFaultOf } from '../../fallback/hostHealth.ts';
import { includesHost, redactTarget, redactUrl } from '../../hosts/hosts.ts';
import { isDigest } from '../../reference.ts';
import type { HostChoice } from '../../registry.ts';
import { replyFault } from '../faults/blame.ts';
import type { Purpose } from '../faults/replyErrors.ts';
import type { HttpRequest, NamedBy, Reply } from '../http/reply.ts';
import { dropBody } from '../transport/bodies.ts';
import type { Transport } from '../transport/transport.ts';

/** curl's limit; browsers follow 20, ORAS has none. */
const MOST_REDIRECTS = 50;
/** Retries while every storage host that the registry redirected to is given up. */
const RETRIES_WITHOUT_ANOTHER = 1;

/**
 * Follows a registry's redirects, most often to the storage that holds its blobs (distribution-spec, Pulling blobs). A
 * storage host that fails is not held against the registry; once all attempts for an image have failed there, other images
 * do not try it, except once a minute. Each registry has its own storage hosts, since a mirror gets fewer attempts than the
 * registry behind it and may share its storage.
 */
export class Redirects {
  readonly #transport: Transport;
  readonly #plainHttp: HostChoice;
  readonly #storage = new Map<string, HostHealth>();
  /** Which host an error came from. */
  readonly #origins = new WeakMap<RegistryRefusal, URL>();

  /** `plainHttp` names the hosts to which https may redirect over plain http. */
  constructor(transport: Transport, plainHttp: HostChoice) {
    this.#transport = transport;
    this.#plainHttp = plainHttp;
  }

  /**
   * Sends a request and follows redirects; returns the first reply that is not one. `headersFor` returns the headers for a
   * URL, so that an origin never gets the credentials of another. @throws this room's refusals, or the signal's reason
   */
  async follow(
    first: HttpRequest,
    purpose: Purpose,
    headersFor: (url: URL) => Readonly<Record<string, string>>,
    onFirstReply: (reply: Reply) => void,
    signal: AbortSignal,
  ): Promise<Reply> {
    const seen = new Set<string>();
    let { url } = first;
    let redirectedBy: string | undefined;
    for (let redirects = 0; ; redirects += 1) {
      seen.add(url.href);
      const request = { ...first, url, headers: headersFor(url) };
      const role = purpose.what === 'blob' ? ('storage host' as const) : ('host' as const);
      const named: NamedBy = { role, registry: purpose.registry, api: first.namedBy?.api ?? first.url };
      const namedBy = redirectedBy === undefined ? named : { ...named, redirectedBy };
      const reply =
        url.origin === first.url.origin
          ? await this.#transport.send(request, signal)
          : await this.#sendToStorage({ ...request, namedBy }, purpose, signal);
      if (redirects === 0) onFirstReply(reply);
      if (![301, 302, 303, 307, 308].includes(reply.status)) return reply;
      await dropBody(reply, signal);
      const target = targetOf(reply, purpose, seen, this.#plainHttp);
      if (redirects >= MOST_REDIRECTS) throw redirectError(reply, purpose, target, `more than ${MOST_REDIRECTS} times`);
      if (url.origin !== first.url.origin && url.origin !== target.origin) redirectedBy = url.host;
      url = target;
    }
  }

  /** Marks an error as the fault of the host at `url`, to which the registry had redirected. */
  blame(error: unknown, url: URL): void {
    if (!(error instanceof RegistryRefusal)) return;
    error.afterRedirect = true;
    this.#origins.set(error, url);
  }

  /** A mark for `failed`, to be taken before the first attempt. */
  mark({ registry }: Purpose): number {
    return this.#storageOf(registry).mark();
  }

  /** All attempts for `purpose` have failed, the last one with this error. */
  failed(error: unknown, { registry, subject }: Purpose, mark: number): void {
    if (!(error instanceof RegistryRefusal) || hostFaultOf(error) === undefined) return;
    const url = this.#origins.get(error);
    if (url !== undefined) this.#storageOf(registry).failed(url.host, subject, error, mark);
  }

  async #sendToStorage(request: HttpRequest, { registry, subject }: Purpose, signal: AbortSignal): Promise<Reply> {
    const health = this.#storageOf(registry);
    const { url } = request;
    const skipped = health.skip(url.host, subject, {
      temporary: true,
      ...(health.hasAnother(url.host) ? {} : { retryLimit: RETRIES_WITHOUT_ANOTHER }),
    });
    if (skipped !== undefined) {
      skipped.afterRedirect = true;
      throw skipped;
    }
    try {
      const reply = await this.#transport.send(request, signal);
      if (reply.status < 500) health.answered(url.host);
      return reply;
    } catch (error) {
      this.blame(error, url);
      throw error;
    }
  }

  #storageOf(registry: string): HostHealth {
    const health = this.#storage.get(registry) ?? new HostHealth();
    this.#storage.set(registry, health);
    return health;
  }
}

/** Returns where a redirect leads. @throws RegistryRedirect for a target that must not be followed */
function targetOf(reply: Reply, purpose: Purpose, seen: ReadonlySet<string>, plainHttp: HostChoice): URL {
  const { url } = reply.request;
  const location = reply.headers.location?.toString();
  if (location === undefined || !URL.canParse(location, url.href)) throw redirectError(reply, purpose, undefined);
  const target = new URL(location, url);
  target.hash = '';
  target.username = '';
  target.password = '';
  if (!/^https?:$/.test(target.protocol))
    throw redirectError(reply, purpose, target, 'to an address that is neither http nor https');
  if (url.protocol === 'https:' && target.protocol === 'http:') {
    // Only what has a digest can be verified after a way on which anyone can change it.
    const isPinned = isDigest(purpose.wanted ?? '');
    if (!isPinned || !includesHost(plainHttp, target.host, 'http'))
      throw redirectError(
        reply,
        purpose,
        target,
        `from https to plain http at ${target.host}`,
        isPinned
          ? `If ${target.host} is the registry's storage and known to have no TLS, allow it with --plain-http ${target.host}: no credentials are sent there, and the digest is verified. `
          : '',
      );
  }
  if (seen.has(target.href)) throw redirectError(reply, purpose, target, 'in a circle');
  return target;
}

/** `target` is undefined for a redirect that has no usable Location header. */
export function redirectError(
  reply: Reply,
  { subject }: Purpose,
  target: URL | undefined,
  how = 'without a usable Location header',
  hint = '',
): RegistryRedirect {
  const { status, headers, request } = reply;
  const { host } = request.url;
  const location = headers.location?.toString() ?? '';
  // The reply of a token server is not quoted: it can be any server that this machine reaches.
  const isQuoted = request.namedBy?.role !== 'token server';
  const unusable = isQuoted ? `Location: ${redactTarget(location)}` : 'a Location that is not a URL';
  const found =
    target === undefined
      ? location === ''
        ? `${status} without a Location header`
        : unusable
      : isQuoted
        ? redactUrl(target)
        : target.origin;
  return new RegistryRedirect(
    ...replyFault(
      reply,
      `redirects ${how}`,
      `${hint}A login page of the network (captive portal) or a proxy may answer in the place of ${host}; otherwise its operator must fix the redirect.`,
      { subject, status, found, hostwide: true },
    ),
  );
}
