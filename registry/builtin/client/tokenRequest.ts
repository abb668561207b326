import { parseBoundedJson } from '../../../base/boundedJson.ts';
import type { Credential } from '../../credentials/credentialsFile.ts';
import { RegistryProtocol, RegistryUnauthorized } from '../../errors.ts';
import { isLoopback, redactTarget, redactUrl } from '../../hosts/hosts.ts';
import { blamed, fixedBy } from '../faults/blame.ts';
import { type ErrorBody, looksLikeHtml, readErrorBody } from '../faults/errorBody.ts';
import { type Purpose, type ReplyContext, replyError, webPageError } from '../faults/replyErrors.ts';
import type { Challenge } from '../http/challenges.ts';
import { type HttpRequest, isWebPage, type NamedBy, type Reply, requestOf } from '../http/reply.ts';
import { dropBody, readBody } from '../transport/bodies.ts';
import type { Transport } from '../transport/transport.ts';
import { redirectError } from './redirects.ts';

/** The parameters of a Bearer challenge (distribution-spec, token authentication). */
export interface TokenChallenge {
  readonly realm: string;
  readonly service: string | undefined;
  readonly scope: string | undefined;
}

export interface Token {
  /** For the `Authorization` header. */
  readonly header: string;
  readonly lifetimeMs: number;
  /** The deviation of the token server from the specification, as a sentence. */
  readonly warning?: string;
}

/** The credentials for a token request, or what is known of credentials that were not found. */
export interface TokenLogin extends Pick<ReplyContext, 'helperFailure' | 'credentialHint'> {
  readonly credential: Credential | undefined;
}

/**
 * Returns the Bearer challenge to answer: one with a realm, or, if there is no Basic challenge either, one without, for which
 * requestToken has an error. Undefined if there is none.
 */
export function bearerIn(challenges: readonly Challenge[]): Challenge | undefined {
  const all = challenges.filter(({ scheme }) => scheme === 'bearer');
  const named = all.find(({ parameters }) => parameters.get('realm'));
  return named ?? (challenges.some(({ scheme }) => scheme === 'basic') ? undefined : all[0]);
}

const DEFAULT_LIFETIME_MS = 60_000;
const LONGEST_LIFETIME_MS = 86_400_000;
const MOST_REDIRECTS = 5;

/**
 * Fetches a token from a challenge's realm: by GET, with Basic authentication if there is a password, or by POST for an
 * identity token. A realm is contacted only at an address that the registry, at `api`, could reach itself (see Transport), and
 * gets no credentials over plain http unless the registry uses it too. What another host than the registry answers is neither
 * quoted nor, unless it is a token, sent anywhere: a realm can be any server that this machine reaches.
 * A token without `expires_in` is good for 60 s. @throws this room's refusals, or the signal's reason
 */
export async function requestToken(
  transport: Transport,
  { realm, service, scope }: TokenChallenge,
  login: TokenLogin,
  api: URL,
  purpose: Purpose,
  signal: AbortSignal,
): Promise<Token> {
  const { credential } = login;
  const url = realmUrl(realm, purpose);
  if (credential?.kind !== 'identityToken') {
    if (service !== undefined) url.searchParams.set('service', service);
    for (const one of (scope ?? '').split(' ')) if (one !== '') url.searchParams.append('scope', one);
  }
  requireTls(url, api, credential !== undefined, purpose);
  const namedBy: NamedBy = { role: 'token server', registry: purpose.registry, api };
  const first = { ...tokenRequest(url, service, scope, credential), namedBy };
  const reply = await follow(transport, first, api, purpose, signal);
  const body = await readBody(reply, 1 << 20, transport.timeoutMs, signal);
  if (reply.status !== 200) throw tokenError(reply, body, login, purpose, transport.timeoutMs);
  return readToken(reply, body, purpose);
}

function tokenRequest(
  url: URL,
  service: string | undefined,
  scope: string | undefined,
  credential: Credential | undefined,
): HttpRequest {
  if (credential === undefined) return { method: 'GET', url, headers: {} };
  if (credential.kind === 'password') return { method: 'GET', url, headers: { authorization: basic(credential) } };
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: 'plugin-mirror',
    refresh_token: credential.token,
    ...(service === undefined ? {} : { service }),
    ...(scope === undefined ? {} : { scope }),
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', url, headers, body: form.toString() };
}

export function basic({ username, password }: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

async function follow(
  transport: Transport,
  first: HttpRequest,
  api: URL,
  purpose: Purpose,
  signal: AbortSignal,
): Promise<Reply> {
  let request = first;
  for (let redirects = 0; ; redirects += 1) {
    const reply = await transport.send(request, signal);
    if (![301, 302, 303, 307, 308].includes(reply.status)) return reply;
    await dropBody(reply, signal);
    const location = reply.headers.location?.toString() ?? '';
    const isUsable = location !== '' && URL.canParse(location, request.url.href);
    const target = isUsable ? new URL(location, request.url) : undefined;
    const why = target === undefined ? undefined : whyNotFollowed(request, target, redirects);
    if (target === undefined || why !== undefined) throw redirectError(reply, purpose, target, why);
    const isElsewhere = target.origin !== request.url.origin;
    requireTls(target, api, !isElsewhere && 'authorization' in request.headers, purpose);
    const { namedBy = first.namedBy } = request;
    request = {
      ...first,
      method: 'GET',
      url: target,
      headers: isElsewhere ? {} : request.headers,
      namedBy: isElsewhere && namedBy !== undefined ? { ...namedBy, redirectedBy: request.url.host } : namedBy,
    };
  }
}

function whyNotFollowed({ url, method }: HttpRequest, target: URL, redirects: number): string | undefined {
  if (!/^https?:$/.test(target.protocol)) return 'to an address that is neither http nor https';
  if (url.protocol === 'https:' && target.protocol === 'http:') return `from https to plain http at ${target.host}`;
  // A POST carries a secret in its body: it goes to the realm that was checked, and nowhere else.
  if (method === 'POST') return `a login, which is sent to no other address, to ${target.host}`;
  return redirects >= MOST_REDIRECTS ? `more than ${MOST_REDIRECTS} times` : undefined;
}

/** A realm is a whole URL (distribution-spec, token authentication). @throws RegistryProtocol */
function realmUrl(realm: string, purpose: Purpose): URL {
  const url = URL.canParse(realm) ? new URL(realm) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) {
    url.username = '';
    url.password = '';
    return url;
  }
  throw new RegistryProtocol(`${purpose.registry} requires a token but does not name a usable token server`, {
    subject: purpose.subject,
    expected: 'WWW-Authenticate: Bearer realm="https://…"',
    found: realm === '' ? 'no realm' : redactTarget(realm) || 'no usable realm',
    hint: 'Check that the host is an OCI registry; if it is, its operator must fix the challenge.',
  });
}

/** A registry may name any realm, but not have secrets sent in the clear. @throws RegistryProtocol */
function requireTls(realm: URL, api: URL, withCredentials: boolean, purpose: Purpose): void {
  const isOwnMachine = isLoopback(realm.hostname) && isLoopback(api.hostname);
  if (!withCredentials || realm.protocol !== 'http:' || api.protocol !== 'https:' || isOwnMachine) return;
  throw new RegistryProtocol(`${purpose.registry} names a token server that must not be sent credentials`, {
    subject: purpose.subject,
    expected: 'a token server over https',
    found: redactUrl(realm),
    hint: "Check the registry's name; if it is right, its operator must fix the address of its token server.",
  });
}

function tokenError(reply: Reply, body: Buffer, login: TokenLogin, purpose: Purpose, timeoutMs: number): Error {
  const words = quotable(readErrorBody(body, reply.headers['content-type']?.toString(), reply), reply);
  const { credential, ...why } = login;
  // A token server need not send a challenge: its 401 is about the login as it is.
  const known = { isKnownRegistry: true, isAuthorized: true };
  const context = { ...why, ...known, credentialSource: credential?.source, timeoutMs };
  if (![400, 401, 403].includes(reply.status) || words.isForTls || (words.isHtml && reply.status !== 401))
    return replyError(reply, purpose, words, context);
  const asRegistry = { ...reply, status: 401, request: { ...reply.request, namedBy: undefined } };
  const refusal = replyError(asRegistry, purpose, words, context);
  if (!(refusal instanceof RegistryUnauthorized)) return refusal;
  const { url, namedBy } = reply.request;
  return new RegistryUnauthorized(
    words.isHtml
      ? blamed(namedBy, url.host, `it answers ${reply.status} with a web page instead of a token`)
      : credential === undefined
        ? `${purpose.registry} does not give an anonymous token for ${purpose.repository}`
        : `${purpose.registry} does not accept the credentials from ${credential.source}`,
    {
      subject: purpose.subject,
      status: reply.status,
      diagnostics: words.diagnostics,
      request: requestOf(reply),
      found: String(reply.status),
      ...(words.said === undefined ? {} : { registrySaid: words.said }),
      hint: words.isHtml ? fixedBy(namedBy, url.host, refusal.hint) : refusal.hint,
    },
  );
}

/** distribution-spec, Error codes; RFC 6749, 5.2. */
const KNOWN_CODES =
  /^(?:UNAUTHORIZED|DENIED|TOOMANYREQUESTS|UNSUPPORTED|UNKNOWN|NAME_(?:INVALID|UNKNOWN)|invalid_(?:request|client|grant|scope)|unauthorized_client|unsupported_grant_type)$/;

/** Returns of an error body only what may be shown: of another host than the registry, codes that every token server has. */
function quotable(body: ErrorBody, { request: { url, namedBy } }: Reply): ErrorBody {
  if (url.origin === namedBy?.api.origin) return body;
  const { isHtml, isForTls = false } = body;
  const diagnostics = body.diagnostics
    .filter(({ code }) => KNOWN_CODES.test(code))
    .map(({ code }) => ({ code, message: '' }));
  return { diagnostics, said: diagnostics.map(({ code }) => code).join('; ') || undefined, isHtml, isForTls };
}

/** RFC 6750, 2.1: b64token. */
const TOKEN = /^[A-Za-z0-9._~+/-]{1,65536}={0,8}$/;

function readToken(reply: Reply, body: Buffer, purpose: Purpose): Token {
  const text = body.toString('utf8').replace(/^\ufeff/, '');
  const { host } = reply.request.url;
  let json: Record<string, unknown> | undefined;
  try {
    // The parser's own error is dropped, because it quotes the token.
    json = Object(parseBoundedJson(text)) as Record<string, unknown>;
  } catch {}
  const type = isWebPage(reply) ? 'text/html' : undefined;
  if (json === undefined && looksLikeHtml(text, type)) throw webPageError(reply, purpose.subject);
  const token = [json?.token, json?.access_token].find(it => typeof it === 'string' && it !== '');
  if (typeof token !== 'string' || !TOKEN.test(token))
    throw new RegistryProtocol(
      blamed(
        reply.request.namedBy,
        host,
        `it sent no usable token${type === undefined || json === undefined ? '' : `, but JSON of the type ${type}`}`,
      ),
      {
        subject: purpose.subject,
        status: reply.status,
        request: requestOf(reply),
        expected: '{"token": "…"}',
        found: withoutToken(text, json),
        temporary: true,
        retryLimit: 2,
        hint: fixedBy(reply.request.namedBy, host, 'The operator of the token server must fix it.'),
      },
    );
  const warning = `the token server ${host} sends JSON with the type text/html, which is that of web pages: its operator should correct it to application/json`;
  return {
    header: `Bearer ${token}`,
    lifetimeMs: lifetimeOf(json?.expires_in),
    ...(type === undefined ? {} : { warning }),
  };
}

/** Describes a reply without a token. Nothing of it is quoted. */
function withoutToken(text: string, json: Record<string, unknown> | undefined): string {
  if (text.trim() === '') return 'an empty reply';
  if (json === undefined) return 'text that is not JSON';
  if (json.errors !== undefined || json.error !== undefined) return 'JSON with an error';
  return json.token == null && json.access_token == null
    ? 'JSON without "token" and "access_token"'
    : 'a token with other characters than a header may have';
}

function lifetimeOf(expiresIn: unknown): number {
  const seconds = typeof expiresIn === 'string' ? Number(expiresIn) : expiresIn;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds <= 0) return DEFAULT_LIFETIME_MS;
  return Math.min(seconds * 1000, LONGEST_LIFETIME_MS);
}
