import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Answer, answerError, answerJson } from './answer.ts';
import { bodyOf } from './uploads.ts';

export interface BasicAuth {
  readonly kind: 'basic';
  readonly user: string;
  readonly password: string;
}

export interface BearerAuth {
  readonly kind: 'bearer';
  /** Tokens to pull are given without credentials. Default: true unless `user` is set. */
  readonly anonymous?: boolean;
  readonly user?: string;
  readonly password?: string;
  /** Accepted as a refresh token by POST, and as the password of the user `<token>`. */
  readonly identityToken?: string;
  /** Lifetime of a token; null leaves `expires_in` out of the answer (the token then lives 60 s). Default 300. */
  readonly expiresInSeconds?: number | null;
  /** Default `/token`. */
  readonly tokenPath?: string;
  /** Whether the realm is the registry itself or a server on a port of its own. Default `same-origin`. */
  readonly realm?: 'same-origin' | 'cross-origin';
  /** Which member of the answer carries the token. Default `token` to GET, `access_token` to POST. */
  readonly tokenField?: 'token' | 'access_token';
  /** Further challenges in front of the Bearer one, e.g. `Negotiate`. */
  readonly otherChallenges?: readonly string[];
}

export type Auth = BasicAuth | BearerAuth;

/** What a request needs; undefined repository: any valid credentials. */
export interface Need {
  readonly repository: string | undefined;
  readonly action: 'pull' | 'push';
}

interface Token {
  readonly grants: ReadonlySet<string>;
  readonly expiresAtMs: number;
}

const SERVICE = 'registry.test:cn-test:service';

/** Basic authentication (RFC 7617), or Docker's token flow, whose tokens know repository and action. */
export class Gate {
  readonly #auth: Auth;
  readonly #realm: () => string;
  readonly #tokens = new Map<string, Token>();
  /** Every token given out, in order: a test greps for them. */
  readonly issued: string[] = [];

  constructor(auth: Auth, realm: () => string) {
    this.#auth = auth;
    this.#realm = realm;
  }

  /** Makes every token that was given out invalid from now on. */
  expireAll(): void {
    this.#tokens.clear();
  }

  /** A 401, or undefined if the request may pass. */
  check(authorization: string | undefined, need: Need): Answer | undefined {
    if (this.#auth.kind === 'basic') {
      if (authorization === basicOf(this.#auth.user, this.#auth.password)) return undefined;
      return unauthorized(['Basic realm="Registry Realm"']);
    }
    const scope = need.repository === undefined ? undefined : scopeOf(need.repository, need.action);
    const given = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1];
    const token = this.#tokens.get(given ?? '');
    if (token !== undefined && token.expiresAtMs > Date.now()) {
      if (need.repository === undefined || token.grants.has(`${need.repository}:${need.action}`)) return undefined;
      return this.#challenge(scope, 'insufficient_scope');
    }
    return this.#challenge(scope, given === undefined ? undefined : 'invalid_token');
  }

  /** The token endpoint: GET with Basic or nothing, POST as OAuth 2 does it. */
  async answerToken(request: IncomingMessage, query: URLSearchParams): Promise<Answer> {
    if (this.#auth.kind !== 'bearer') return answerError(404, 'UNSUPPORTED', 'no token service here');
    const post = request.method === 'POST';
    const form = post ? new URLSearchParams((await bodyOf(request)).toString()) : query;
    if (form.get('service') !== SERVICE) return answerError(400, 'UNSUPPORTED', 'unknown service');
    const allowed = post ? this.#allowsForm(form) : this.#allowsBasic(request.headers.authorization);
    if (allowed === 'none') return unauthorized(['Basic realm="Token Realm"'], 'incorrect username or password');
    const grants = new Set<string>();
    for (const scope of form.getAll('scope').flatMap(text => text.split(' '))) {
      const [, repository, actions] = /^repository:(.+):([a-z*,]+)$/.exec(scope) ?? [];
      for (const action of (actions ?? '').split(','))
        if (action === 'pull' || (allowed === 'all' && action === 'push')) grants.add(`${repository}:${action}`);
    }
    const { expiresInSeconds = 300, identityToken } = this.#auth;
    const token = randomBytes(24).toString('base64url');
    this.#tokens.set(token, { grants, expiresAtMs: Date.now() + (expiresInSeconds ?? 60) * 1000 });
    this.issued.push(token);
    const offline = form.get('offline_token') === 'true' || form.get('access_type') === 'offline';
    return answerJson(200, {
      [this.#auth.tokenField ?? (post ? 'access_token' : 'token')]: token,
      ...(expiresInSeconds === null ? {} : { expires_in: expiresInSeconds }),
      issued_at: new Date().toISOString(),
      ...(offline && identityToken !== undefined ? { refresh_token: identityToken } : {}),
    });
  }

  #allowsBasic(authorization: string | undefined): 'all' | 'pull' | 'none' {
    if (this.#auth.kind !== 'bearer') return 'none';
    const { user, password = '', anonymous = user === undefined } = this.#auth;
    if (authorization === undefined) return anonymous ? 'pull' : 'none';
    return user !== undefined && authorization === basicOf(user, password) ? 'all' : 'none';
  }

  #allowsForm(form: URLSearchParams): 'all' | 'none' {
    if (this.#auth.kind !== 'bearer') return 'none';
    const { identityToken, user, password } = this.#auth;
    const refreshed = form.get('grant_type') === 'refresh_token' && form.get('refresh_token') === identityToken;
    if (refreshed && identityToken !== undefined) return 'all';
    const known = user !== undefined && form.get('username') === user && form.get('password') === password;
    return form.get('grant_type') === 'password' && known ? 'all' : 'none';
  }

  #challenge(scope: string | undefined, error: string | undefined): Answer {
    const scopePart = scope === undefined ? '' : `,scope="${scope}"`;
    const errorPart = error === undefined ? '' : `,error="${error}"`;
    const bearer = `Bearer realm="${this.#realm()}",service="${SERVICE}"${scopePart}${errorPart}`;
    const others = this.#auth.kind === 'bearer' ? (this.#auth.otherChallenges ?? []) : [];
    return unauthorized([...others, bearer]);
  }
}

function scopeOf(repository: string, action: 'pull' | 'push'): string {
  return `repository:${repository}:${action === 'push' ? 'pull,push' : 'pull'}`;
}

function basicOf(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function unauthorized(challenges: readonly string[], message = 'authentication required'): Answer {
  return answerError(401, 'UNAUTHORIZED', message, null, { 'www-authenticate': challenges });
}
