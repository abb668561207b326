import { causeKeyOf, rootOf } from '../../base/refusal.ts';
import { FirstRequest } from '../concurrency/firstRequest.ts';
import { RegistryAllFailed, RegistryOptionsInvalid, RegistryRateLimited, RegistryRefusal } from '../errors.ts';
import { formatReference, hostHint, isRegistry, isRepository, type Reference } from '../reference.ts';
import { HostHealth, hostFaultOf } from './hostHealth.ts';

/** Retries at a host while another one can be asked instead. */
const RETRIES_BEFORE_ANOTHER = 1;

export interface MirrorsOptions {
  /** Clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
  /** Called once when a mirror is given up, and again only if it answered in between. */
  readonly onGivenUp?: (registry: string, error: RegistryRefusal) => void;
}

/** A mirror: its `HOST[:PORT]`, and the prefix of its repositories, which may be empty. */
interface RegistryPrefix {
  readonly registry: string;
  readonly prefix: string;
}

interface Failure {
  readonly at: Reference;
  readonly error: RegistryRefusal;
}

/** Sends a request for a reference. `retries` limits the retries; undefined means as many as the options allow. */
type Request<T> = (at: Reference, retries?: number) => Promise<T>;

/**
 * Tries a registry's mirrors in the order given, then the registry itself. An error that concerns one image, such as a 404,
 * passes only that image on to the next host. A host that fails as a whole (no connection, no such name, bad TLS, no answer,
 * 5xx after all retries, a login page; for a mirror also 429) is given up for the rest of the run: a mirror after the first
 * failure, the last host after as many images as HostHealth says. A redirect target that fails is not held against the
 * registry. A host that has not answered yet gets one request first.
 */
export class Mirrors {
  readonly #mirrors: ReadonlyMap<string, readonly RegistryPrefix[]>;
  readonly #health: HostHealth;
  readonly #firstRequest = new FirstRequest();
  readonly #skipped = new WeakSet<RegistryRefusal>();
  readonly #onGivenUp: NonNullable<MirrorsOptions['onGivenUp']>;

  /** @throws RegistryOptionsInvalid for a mirror that is not HOST[:PORT][/PREFIX] */
  constructor(mirrors: Readonly<Record<string, readonly string[]>> = {}, options: MirrorsOptions = {}) {
    this.#mirrors = new Map(
      Object.entries(mirrors).map(([host, texts]) => [host, texts.map(text => parseMirror(host, text))]),
    );
    this.#health = new HostHealth(options.now);
    this.#onGivenUp = options.onGivenUp ?? (() => {});
  }

  /** The host has identified itself as a registry: requests to it need not wait for the first answer. */
  identified(host: string): void {
    this.#firstRequest.known(host);
  }

  /**
   * Sends a request to one host after the other until one succeeds; returns that result. @throws the error of the only host,
   * or RegistryAllFailed; the signal's reason; any error that is not a RegistryRefusal, as it is
   */
  async first<T>(reference: Reference, signal: AbortSignal, request: Request<T>): Promise<T> {
    const candidates = this.#candidates(reference);
    const failures: Failure[] = [];
    for (const [index, at] of candidates.entries()) {
      signal.throwIfAborted();
      const isLast = index === candidates.length - 1;
      const sent = await this.#try(at, isLast, signal, () =>
        isLast ? request(at) : request(at, RETRIES_BEFORE_ANOTHER),
      );
      if ('result' in sent) return sent.result;
      if (candidates.length === 1) throw sent.error;
      failures.push(sent);
    }
    throw allFailedError(reference, failures);
  }

  /** Sends a request to all hosts at the same time. @throws as `first`, if none succeeds */
  async all<T>(
    reference: Reference,
    signal: AbortSignal,
    request: Request<T>,
  ): Promise<{ readonly results: T[]; readonly failures: readonly Failure[] }> {
    const candidates = this.#candidates(reference);
    const isOnly = candidates.length === 1;
    const sent = await Promise.all(
      candidates.map(at =>
        this.#try(at, true, signal, () => (isOnly ? request(at) : request(at, RETRIES_BEFORE_ANOTHER))),
      ),
    );
    const results = sent.flatMap(it => ('result' in it ? [it.result] : []));
    const failures = sent.filter(it => 'error' in it);
    if (results.length > 0) return { results, failures };
    throw isOnly ? failures[0]?.error : allFailedError(reference, failures);
  }

  async #try<T>(
    at: Reference,
    isLast: boolean,
    signal: AbortSignal,
    request: () => Promise<T>,
  ): Promise<{ readonly result: T } | Failure> {
    const leave = await this.#firstRequest.enter(at.registry, signal);
    const mark = this.#health.mark();
    let hostFailed = false;
    try {
      const skipped = this.#health.skip(at.registry, formatReference(at));
      if (skipped !== undefined) {
        this.#skipped.add(skipped);
        throw skipped;
      }
      const result = await request();
      this.#answered(at.registry);
      return { result };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryRefusal)) throw error;
      hostFailed = faultOf(error) !== undefined;
      this.#failed(at, error, isLast, mark);
      return { at, error };
    } finally {
      leave(hostFailed);
    }
  }

  #candidates(reference: Reference): Reference[] {
    const mirrors = this.#mirrors.get(reference.registry) ?? [];
    const mirrored = mirrors.map(({ registry, prefix }) => ({
      ...reference,
      registry,
      repository: prefix === '' ? reference.repository : `${prefix}/${reference.repository}`,
    }));
    return [...mirrored, reference];
  }

  #answered(host: string): void {
    this.#health.answered(host);
    this.#firstRequest.known(host);
  }

  #failed(at: Reference, error: RegistryRefusal, isLast: boolean, mark: number): void {
    const fault = faultOf(error);
    // An error status that concerns one image is an answer of a healthy host.
    if (fault === undefined && error.status !== undefined) this.#answered(at.registry);
    if (fault === undefined || fault.Kind === RegistryRateLimited) this.#firstRequest.known(at.registry);
    if (fault === undefined || this.#skipped.has(error)) return;
    // All tags of one repository count as one image once the host has answered: that repository may be the broken one.
    const image = this.#health.hasAnswered(at.registry) ? at.repository : formatReference(at);
    if (!this.#health.failed(at.registry, image, error, mark, isLast ? fault.limit : 1)) return;
    if (!isLast) this.#onGivenUp(at.registry, error);
    this.#firstRequest.known(at.registry);
  }
}

/** A redirect target that fails is no fault of the registry. */
function faultOf(error: RegistryRefusal): ReturnType<typeof hostFaultOf> {
  return error.afterRedirect ? undefined : hostFaultOf(error);
}

function parseMirror(host: string, text: string): RegistryPrefix {
  const slash = text.indexOf('/');
  const registry = slash < 0 ? text : text.slice(0, slash);
  const prefix = slash < 0 ? '' : text.slice(slash + 1).replace(/\/$/, '');
  if (isRegistry(registry) && (prefix === '' || isRepository(prefix))) return { registry, prefix };
  throw new RegistryOptionsInvalid(`"${text}" cannot be a mirror of ${host}`, {
    subject: host,
    expected: 'HOST, HOST:PORT or either with /PREFIX',
    found: text,
    hint: hostHint(registry) ?? 'Write mirrors as harbor.example.com/higress, without https:// and without a tag.',
  });
}

function allFailedError(reference: Reference, failures: readonly Failure[]): RegistryAllFailed {
  const subject = formatReference(reference);
  const last = failures.at(-1)?.error;
  const reasons = failures.map(({ at, error }, index) => {
    const role = index < failures.length - 1 ? 'mirror' : 'registry';
    return `${role} ${at.registry}/${at.repository}: ${rootOf(error).message} (${error.code})`;
  });
  return new RegistryAllFailed(
    `${subject} could not be fetched from the registry or its mirrors. ${reasons.join('; ')}`,
    {
      subject,
      faultIn: failures.map(({ error }) => causeKeyOf(error)).join(' '),
      hint: last?.hint ?? 'Check the mirrors of this registry.',
      temporary: failures.some(({ error }) => error.temporary),
      ...(last?.status === undefined ? {} : { status: last.status }),
      ...(last?.registrySaid === undefined ? {} : { registrySaid: last.registrySaid }),
      cause: new AggregateError(failures.map(({ error }) => error)),
    },
  );
}
