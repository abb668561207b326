import { SharedWork } from '../../concurrency/sharedWork.ts';
import type { Credential } from '../../credentials/credentialsFile.ts';
import type { CredentialsSource } from '../../credentials/credentialsSource.ts';
import { RegistryRefusal } from '../../errors.ts';
import type { Asked } from '../faults/answerFaults.ts';
import { type Challenge, parseChallenges } from '../http/challenges.ts';
import type { Transport } from '../transport/transport.ts';
import { basic, requestToken, type Token, type TokenChallenge } from './tokenRequest.ts';

/** What to put into `Authorization`, and whose it is. */
export interface Proof {
  readonly authorization: string;
  /** Undefined for an anonymous token. */
  readonly credentialSource: string | undefined;
}

/** Who asks what of whom. */
export interface Place {
  /** URL of the server that wants to know who we are. */
  readonly api: URL;
  readonly asked: Asked;
  /** The repository's name at that server. */
  readonly repository: string;
  /** False where a redirect led to: such a server never learns credentials. */
  readonly isRegistry: boolean;
  /** Called as soon as it is known how this server wants to be convinced, before a token is there. */
  readonly learned: () => void;
}

interface CachedToken {
  readonly proof: Proof;
  readonly renewAtMs: number;
}

type Known =
  | { readonly scheme: 'basic'; readonly proof: Proof }
  | {
      readonly scheme: 'bearer';
      readonly realm: string;
      readonly service: string | undefined;
      readonly scopes: Map<string, string>;
      /** What this registry's scopes have been like so far; undefined once two of them were of different kinds. */
      pattern: ScopePattern | undefined;
    };

/** A scope without the repository's name: what stands before and after it. One part alone fits every repository. */
type ScopePattern = readonly [before: string, after?: string];

/**
 * Remembers per server how it wants to be convinced, so that only its first request meets a 401, and keeps tokens by scope
 * until shortly before they expire. However many requests wait for one scope, its token is asked for once.
 */
export class Authenticator {
  readonly #transport: Transport;
  readonly #credentials: CredentialsSource;
  readonly #known = new Map<string, Known>();
  readonly #tokens = new Map<string, CachedToken>();
  readonly #underWay = new Map<string, SharedWork<CachedToken>>();

  constructor(transport: Transport, credentials: CredentialsSource) {
    this.#transport = transport;
    this.#credentials = credentials;
  }

  /**
   * What to send before being asked; undefined if this server has not asked yet. A repository that has not been asked for
   * is taken to want a scope like the others'.
   */
  async prove(place: Place, signal: AbortSignal): Promise<Proof | undefined> {
    const known = this.#known.get(place.api.origin);
    if (known === undefined) return undefined;
    if (known.scheme === 'basic') return known.proof;
    const { realm, service, pattern } = known;
    const told = known.scopes.get(place.repository);
    if (told !== undefined) return this.#token(place, { realm, service, scope: told }, signal);
    if (pattern === undefined) return undefined;
    try {
      return await this.#token(place, { realm, service, scope: scopeLike(pattern, place.repository) }, signal);
    } catch (error) {
      signal.throwIfAborted();
      // The guess did not fit, or the repository is not there: the registry's own challenge tells.
      if (error instanceof RegistryRefusal && !error.temporary) return undefined;
      throw error;
    }
  }

  /**
   * The answer to a 401's challenges. `rejected` is what the request had carried: it is not tried again. Undefined if there
   * is nothing (more) to offer.
   */
  async answer(
    place: Place,
    header: string | readonly string[] | undefined,
    rejected: Proof | undefined,
    signal: AbortSignal,
  ): Promise<Proof | undefined> {
    const challenges = parseChallenges(header);
    const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'));
    if (bearer !== undefined) {
      const challenge = this.#learn(place, bearer);
      place.learned();
      const key = keyOf(place, challenge);
      // Another request may have renewed it already.
      if (rejected !== undefined && this.#tokens.get(key)?.proof.authorization === rejected.authorization)
        this.#tokens.delete(key);
      return this.#token(place, challenge, signal);
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic')) return undefined;
    const credential = await this.#find(place, signal);
    if (credential?.kind !== 'password') return undefined;
    const proof = { authorization: basic(credential), credentialSource: credential.source };
    if (proof.authorization === rejected?.authorization) return undefined;
    this.#known.set(place.api.origin, { scheme: 'basic', proof });
    place.learned();
    return proof;
  }

  #learn(place: Place, { parameters }: Challenge): TokenChallenge {
    const realm = parameters.get('realm') ?? '';
    const service = parameters.get('service');
    const scope = parameters.get('scope') || usualScope(place.repository);
    const before = this.#known.get(place.api.origin);
    const known =
      before?.scheme === 'bearer' && before.realm === realm && before.service === service
        ? before
        : { scheme: 'bearer' as const, realm, service, scopes: new Map<string, string>(), pattern: undefined };
    const pattern = patternOf(scope, place.repository);
    if (known.scopes.size === 0) known.pattern = pattern;
    else if (known.pattern?.join('\n') !== pattern.join('\n')) known.pattern = undefined;
    known.scopes.set(place.repository, scope);
    this.#known.set(place.api.origin, known);
    return { realm, service, scope };
  }

  async #token(place: Place, challenge: TokenChallenge, signal: AbortSignal): Promise<Proof> {
    const key = keyOf(place, challenge);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && performance.now() < cached.renewAtMs) return cached.proof;
    signal.throwIfAborted();
    let work = this.#underWay.get(key);
    if (work === undefined || work.abandoned) {
      work = new SharedWork(shared => this.#fetch(place, challenge, key, shared));
      this.#underWay.set(key, work);
    }
    const mine = work;
    try {
      return await mine.join(signal, ({ proof }) => proof);
    } finally {
      if (this.#underWay.get(key) === mine) this.#underWay.delete(key);
    }
  }

  async #fetch(place: Place, challenge: TokenChallenge, key: string, signal: AbortSignal): Promise<CachedToken> {
    const credential = await this.#find(place, signal);
    const token: Token = await requestToken(this.#transport, challenge, credential, place.api, place.asked, signal);
    const cached = {
      proof: { authorization: token.authorization, credentialSource: credential?.source },
      renewAtMs: performance.now() + token.lifetimeMs - Math.min(30_000, token.lifetimeMs / 4),
    };
    this.#tokens.set(key, cached);
    return cached;
  }

  async #find(place: Place, signal: AbortSignal): Promise<Credential | undefined> {
    if (!place.isRegistry) return undefined;
    return this.#credentials.find(place.asked.registry, place.asked.repository, signal);
  }
}

function usualScope(repository: string): string {
  return `repository:${repository}:pull`;
}

function patternOf(scope: string, repository: string): ScopePattern {
  const at = scope.indexOf(`:${repository}:`);
  if (at < 0) return [scope];
  return [scope.slice(0, at + 1), scope.slice(at + 1 + repository.length)];
}

function scopeLike([before, after]: ScopePattern, repository: string): string {
  return after === undefined ? before : `${before}${repository}${after}`;
}

function keyOf(place: Place, { realm, service, scope }: TokenChallenge): string {
  return JSON.stringify([place.api.origin, place.isRegistry, realm, service, scope]);
}
