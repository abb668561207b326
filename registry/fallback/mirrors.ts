import { causeKeyOf, rootOf } from '../../base/refusal.ts';
import { FirstAnswers } from '../concurrency/firstRequest.ts';
import { RegistryAllFailed, RegistryOptionsInvalid, RegistryRateLimited, RegistryRefusal } from '../errors.ts';
import { formatReference, isRegistry, isRepository, type Reference } from '../reference.ts';
import { hostFaultOf, PROBE_AFTER_MS, passedOver } from './hostFaults.ts';

/** A mirror that does not answer is not waited for as long as what nothing else can stand in for. */
const RETRIES_BEFORE_ANOTHER = 1;

export interface PlacesOptions {
  readonly now?: () => number;
  /** Told once when a mirror is given up, until it answers again. */
  readonly onGivenUp?: (registry: string, error: RegistryRefusal) => void;
}

interface Failure {
  readonly at: Reference;
  readonly error: RegistryRefusal;
}

interface Health {
  error: RegistryRefusal | undefined;
  failedFor: Set<string>;
  open: boolean;
  probeAt: number;
}

/**
 * Where a reference can be read: its mirrors in the order given, the registry it names last. A host that fails as a whole
 * (no connection, no name, bad TLS, no answer, 5xx after all retries, a log-in page; a mirror also by 429) is not asked
 * again for every image of the run; what it said is remembered and told. The last place left is given up after so many
 * different repositories (images, where it has never answered at all) as hostFaults.ts says. A host of which nothing is
 * known is asked by one. Whatever fails for one image only, such as 404, lets only that image pass on; and so does a host
 * that answered others while it failed for this one, or one that only sent the question on to another that failed.
 */
export class Places {
  readonly #mirrors: ReadonlyMap<string, readonly { readonly registry: string; readonly prefix: string }[]>;
  readonly #health = new Map<string, Health>();
  readonly #skips = new WeakSet<RegistryRefusal>();
  /** By host, when it last answered; in steps, since a clock may stand still between two. */
  readonly #answered = new Map<string, number>();
  readonly #firsts = new FirstAnswers();
  readonly #now: () => number;
  readonly #onGivenUp: NonNullable<PlacesOptions['onGivenUp']>;
  #step = 0;

  /** @throws RegistryOptionsInvalid */
  constructor(mirrors: Readonly<Record<string, readonly string[]>> = {}, options: PlacesOptions = {}) {
    this.#mirrors = new Map(
      Object.entries(mirrors).map(([host, places]) => [host, places.map(place => parseMirror(host, place))]),
    );
    this.#now = options.now ?? Date.now;
    this.#onGivenUp = options.onGivenUp ?? (() => {});
  }

  /** The registry is one, and can be asked by all at once. */
  hear(registry: string): void {
    this.#firsts.settle(registry);
  }

  /**
   * Asks one place after the other until one answers. The question is told how few retries to make where another place is
   * left. @throws the only place's refusal, or RegistryAllFailed
   */
  async ask<T>(
    reference: Reference,
    signal: AbortSignal,
    question: (at: Reference, retries?: number) => Promise<T>,
  ): Promise<T> {
    const places = this.#of(reference);
    const failures: Failure[] = [];
    for (const [index, at] of places.entries()) {
      signal.throwIfAborted();
      const last = index === places.length - 1;
      const asked = await this.#askOne(at, last, signal, () =>
        last ? question(at) : question(at, RETRIES_BEFORE_ANOTHER),
      );
      if ('answer' in asked) return asked.answer;
      if (places.length === 1) throw asked.error;
      failures.push(asked);
    }
    throw allFailed(reference, failures);
  }

  /** Asks all places at once, and waits for them all. @throws the only place's refusal, or RegistryAllFailed, if none answers */
  async askAll<T>(
    reference: Reference,
    signal: AbortSignal,
    question: (at: Reference, retries?: number) => Promise<T>,
  ): Promise<{ readonly answers: T[]; readonly failures: readonly Failure[] }> {
    const places = this.#of(reference);
    const only = places.length === 1;
    const asked = await Promise.all(
      places.map(at =>
        this.#askOne(at, true, signal, () => (only ? question(at) : question(at, RETRIES_BEFORE_ANOTHER))),
      ),
    );
    const answers = asked.flatMap(done => ('answer' in done ? [done.answer] : []));
    const failures = asked.filter(done => 'error' in done);
    if (answers.length > 0) return { answers, failures };
    throw only ? failures[0]?.error : allFailed(reference, failures);
  }

  async #askOne<T>(
    at: Reference,
    last: boolean,
    signal: AbortSignal,
    question: () => Promise<T>,
  ): Promise<{ readonly answer: T } | Failure> {
    const leave = await this.#firsts.enter(at.registry, signal);
    const begunAt = ++this.#step;
    let failed = false;
    try {
      const skipped = this.#skip(at);
      if (skipped !== undefined) throw skipped;
      const answer = await question();
      this.#recover(at);
      return { answer };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryRefusal)) throw error;
      failed = faultOf(error) !== undefined;
      this.#remember(at, error, last, begunAt);
      return { at, error };
    } finally {
      leave(failed);
    }
  }

  #of(reference: Reference): Reference[] {
    const mirrors = this.#mirrors.get(reference.registry) ?? [];
    const mirrored = mirrors.map(({ registry, prefix }) => ({
      ...reference,
      registry,
      repository: prefix === '' ? reference.repository : `${prefix}/${reference.repository}`,
    }));
    return [...mirrored, reference];
  }

  /** The refusal to give at once where a host has been given up. */
  #skip(at: Reference): RegistryRefusal | undefined {
    const health = this.#health.get(at.registry);
    if (health?.error === undefined || !health.open) return undefined;
    if (this.#now() >= health.probeAt) {
      health.probeAt = this.#now() + PROBE_AFTER_MS;
      return undefined;
    }
    const skip = passedOver(at.registry, formatReference(at), health.error);
    this.#skips.add(skip);
    return skip;
  }

  #recover(at: Reference): void {
    this.#answered.set(at.registry, ++this.#step);
    this.#health.delete(at.registry);
    this.#firsts.settle(at.registry);
  }

  #remember(at: Reference, error: RegistryRefusal, last: boolean, begunAt: number): void {
    const fault = faultOf(error);
    // Whoever says 404 is there.
    if (fault === undefined && error.status !== undefined) this.#recover(at);
    if (fault === undefined || fault.Kind === RegistryRateLimited) this.#firsts.settle(at.registry);
    if (fault === undefined || this.#skips.has(error) || (this.#answered.get(at.registry) ?? 0) > begunAt) return;
    const health = this.#health.get(at.registry) ?? { error, failedFor: new Set(), open: false, probeAt: 0 };
    health.error = error;
    health.failedFor.add(this.#answered.has(at.registry) ? at.repository : formatReference(at));
    if (!last || health.failedFor.size >= fault.limit) {
      if (!last && !health.open) this.#onGivenUp(at.registry, error);
      health.open = true;
      this.#firsts.settle(at.registry);
      health.probeAt = this.#now() + PROBE_AFTER_MS;
    }
    this.#health.set(at.registry, health);
  }
}

/** What the registry sends on to is no fault of its own. */
function faultOf(error: RegistryRefusal): ReturnType<typeof hostFaultOf> {
  return error.elsewhere ? undefined : hostFaultOf(error);
}

function parseMirror(host: string, place: string): { registry: string; prefix: string } {
  const slash = place.indexOf('/');
  const registry = slash < 0 ? place : place.slice(0, slash);
  const prefix = slash < 0 ? '' : place.slice(slash + 1).replace(/\/$/, '');
  if (isRegistry(registry) && (prefix === '' || isRepository(prefix))) return { registry, prefix };
  throw new RegistryOptionsInvalid(`"${place}" cannot be a mirror of ${host}`, {
    subject: host,
    expected: 'HOST, HOST:PORT or either with /PREFIX',
    found: place,
    hint: 'Write mirrors as harbor.example.com/higress, without https:// and without a tag.',
  });
}

function allFailed(reference: Reference, failures: readonly Failure[]): RegistryAllFailed {
  const subject = formatReference(reference);
  const last = failures.at(-1)?.error;
  const told = failures.map(
    ({ at, error }) => `${at.registry}/${at.repository}: ${rootOf(error).message} (${error.code})`,
  );
  return new RegistryAllFailed(`No place could give ${subject}. ${told.join('; ')}`, {
    subject,
    hint: last?.hint ?? 'Check the mirrors of this registry.',
    temporary: failures.some(({ error }) => error.temporary),
    ...(last?.status === undefined ? {} : { status: last.status }),
    ...(last?.registrySaid === undefined ? {} : { registrySaid: last.registrySaid }),
    faultIn: failures.map(({ error }) => causeKeyOf(error)).join(' '),
    cause: new AggregateError(failures.map(({ error }) => error)),
  });
}
