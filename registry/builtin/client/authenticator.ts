import { SharedWork } from '../../concurrency/sharedWork.ts';
import type { Credential } from '../../credentials/credentialsFile.ts';
import type { CredentialsSource } from '../../credentials/credentialsSource.ts';
import { RegistryRefusal } from '../../errors.ts';
import type { RegistryEvent } from '../../registry.ts';
import type { Purpose } from '../faults/replyErrors.ts';
import { type Challenge, parseChallenges } from '../http/challenges.ts';
import type { Transport } from '../transport/transport.ts';
import { basic, bearerIn, requestToken, type TokenChallenge } from './tokenRequest.ts';

/** The value of an `Authorization` header, and where its credentials come from. */
export interface Authorization {
  readonly header: string;
  /** For messages; undefined for an anonymous token. */
  readonly credentialSource: string | undefined;
}

/** The use of an authorization. */
export interface AuthContext {
  /** URL of the server that gets it. */
  readonly server: URL;
  readonly purpose: Purpose;
  /** The repository's name at that server. */
  readonly repository: string;
  /** False for a redirect target: such a server never gets credentials. */
  readonly isRegistry: boolean;
  /** Called as soon as the server's challenge has been read, before there is a token. */
  readonly onChallenge: () => void;
}

interface CachedToken {
  readonly authorization: Authorization;
  readonly renewAtMs: number;
}

/** How a server wants to be authorized, from its last challenge. */
type KnownServer =
  | { readonly scheme: 'basic'; readonly authorization: Authorization }
  | {
      readonly scheme: 'bearer';
      readonly realm: string;
      readonly service: string | undefined;
      /** By repository. */
      readonly scopes: Map<string, string>;
      /** The part that all scopes of this server share; undefined once two of them differ. */
      pattern: ScopePattern | undefined;
    };

/** A scope without the repository's name: the text before it and after it. A pattern of one part fits every repository. */
type ScopePattern = readonly [before: string, after?: string];

/**
 * Remembers each server's challenge, so that only the first request to it gets a 401, and keeps tokens by scope until
 * shortly before they expire (distribution-spec, token authentication). Requests that need the same token share one
 * request for it.
 */
export class Authenticator {
  readonly #transport: Transport;
  readonly #credentials: CredentialsSource;
  readonly #onEvent: (event: RegistryEvent) => void;
  readonly #known = new Map<string, KnownServer>();
  readonly #tokens = new Map<string, CachedToken>();
  readonly #warned = new Set<string>();
  readonly #pending = new Map<string, SharedWork<CachedToken>>();

  constructor(transport: Transport, credentials: CredentialsSource, onEvent: (event: RegistryEvent) => void) {
    this.#transport = transport;
    this.#credentials = credentials;
    this.#onEvent = onEvent;
  }

  /**
   * Returns what to send before any challenge; undefined while the server has not sent one. For a repository without a known
   * scope it is guessed from the scopes of others. @throws this room's refusals, or the signal's reason
   */
  async authorize(context: AuthContext, signal: AbortSignal): Promise<Authorization | undefined> {
    const known = this.#known.get(context.server.origin);
    if (known === undefined) return undefined;
    if (known.scheme === 'basic') return known.authorization;
    const { realm, service, pattern } = known;
    const scope = known.scopes.get(context.repository);
    if (scope !== undefined) return this.#token(context, { realm, service, scope }, signal);
    if (pattern === undefined) return undefined;
    try {
      return await this.#token(context, { realm, service, scope: scopeLike(pattern, context.repository) }, signal);
    } catch (error) {
      signal.throwIfAborted();
      // The guess was wrong, or there is no such repository: the registry's own challenge will show.
      if (error instanceof RegistryRefusal && !error.temporary) return undefined;
      throw error;
    }
  }

  /**
   * Returns what to send after a 401 with this WWW-Authenticate header (RFC 9110, 11.6.1); undefined if there is nothing left
   * to try. `rejected` is what the request carried: it is not used again. @throws this room's refusals, or the signal's reason
   */
  async answerChallenge(
    context: AuthContext,
    header: string | readonly string[] | undefined,
    rejected: Authorization | undefined,
    signal: AbortSignal,
  ): Promise<Authorization | undefined> {
    const challenges = parseChallenges(header);
    const bearer = bearerIn(challenges);
    // Without a realm, the challenge may only say why the token was refused (RFC 6750, 3).
    if (bearer !== undefined && (rejected === undefined || bearer.parameters.get('realm'))) {
      const challenge = this.#remember(context, bearer);
      context.onChallenge();
      const key = keyOf(context, challenge);
      // Another request may have renewed the token already.
      if (rejected !== undefined && this.#tokens.get(key)?.authorization.header === rejected.header)
        this.#tokens.delete(key);
      return this.#token(context, challenge, signal);
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic')) return undefined;
    const credential = await this.#find(context, signal);
    if (credential?.kind !== 'password') return undefined;
    const authorization = { header: basic(credential), credentialSource: credential.source };
    if (authorization.header === rejected?.header) return undefined;
    this.#known.set(context.server.origin, { scheme: 'basic', authorization });
    context.onChallenge();
    return authorization;
  }

  /** The reasons why no credentials were found, for the error of a registry that refuses the anonymous request. */
  whyAnonymous({ registry, repository }: Purpose): ReturnType<CredentialsSource['whyNone']> {
    return this.#credentials.whyNone(registry, repository);
  }

  #remember(context: AuthContext, { parameters }: Challenge): TokenChallenge {
    const realm = parameters.get('realm') ?? '';
    const service = parameters.get('service');
    const scope = parameters.get('scope') || `repository:${context.repository}:pull`;
    const before = this.#known.get(context.server.origin);
    const known =
      before?.scheme === 'bearer' && before.realm === realm && before.service === service
        ? before
        : { scheme: 'bearer' as const, realm, service, scopes: new Map<string, string>(), pattern: undefined };
    const pattern = patternOf(scope, context.repository);
    if (known.scopes.size === 0) known.pattern = pattern;
    else if (known.pattern?.join('\n') !== pattern.join('\n')) known.pattern = undefined;
    known.scopes.set(context.repository, scope);
    this.#known.set(context.server.origin, known);
    return { realm, service, scope };
  }

  async #token(context: AuthContext, challenge: TokenChallenge, signal: AbortSignal): Promise<Authorization> {
    const key = keyOf(context, challenge);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && performance.now() < cached.renewAtMs) return cached.authorization;
    signal.throwIfAborted();
    let work = this.#pending.get(key);
    if (work === undefined || work.abandoned) {
      work = new SharedWork(shared => this.#fetch(context, challenge, key, shared));
      this.#pending.set(key, work);
    }
    const joined = work;
    try {
      return await joined.join(signal, ({ authorization }) => authorization);
    } finally {
      if (this.#pending.get(key) === joined) this.#pending.delete(key);
    }
  }

  async #fetch(
    context: AuthContext,
    challenge: TokenChallenge,
    key: string,
    signal: AbortSignal,
  ): Promise<CachedToken> {
    const { server, purpose } = context;
    const credential = await this.#find(context, signal);
    const why = credential === undefined ? await this.whyAnonymous(purpose) : {};
    const token = await requestToken(this.#transport, challenge, { credential, ...why }, server, purpose, signal);
    if (token.warning !== undefined && !this.#warned.has(token.warning)) {
      this.#warned.add(token.warning);
      this.#onEvent({ type: 'warning', subject: purpose.registry, message: token.warning });
    }
    const cached = {
      authorization: { header: token.header, credentialSource: credential?.source },
      renewAtMs: performance.now() + token.lifetimeMs - Math.min(30_000, token.lifetimeMs / 4),
    };
    this.#tokens.set(key, cached);
    return cached;
  }

  async #find({ isRegistry, purpose }: AuthContext, signal: AbortSignal): Promise<Credential | undefined> {
    return isRegistry ? this.#credentials.find(purpose.registry, purpose.repository, signal) : undefined;
  }
}

function patternOf(scope: string, repository: string): ScopePattern {
  const at = scope.indexOf(`:${repository}:`);
  if (at < 0) return [scope];
  return [scope.slice(0, at + 1), scope.slice(at + 1 + repository.length)];
}

function scopeLike([before, after]: ScopePattern, repository: string): string {
  return after === undefined ? before : `${before}${repository}${after}`;
}

function keyOf({ server, isRegistry }: AuthContext, { realm, service, scope }: TokenChallenge): string {
  return JSON.stringify([server.origin, isRegistry, realm, service, scope]);
}
