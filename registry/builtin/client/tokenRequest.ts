import type { Credential } from '../../credentials/credentialsFile.ts';
import { RegistryProtocol, RegistryRedirect, RegistryUnauthorized } from '../../errors.ts';
import { bareHost, isLoopback, isPrivateLiteral } from '../../hosts/hosts.ts';
import { redactPlace, redactUrl } from '../../hosts/redact.ts';
import { type Asked, refuseAnswer, refusePortal } from '../faults/answerFaults.ts';
import { looksLikeHtml, readErrorWords } from '../faults/diagnostics.ts';
import { dropBody, readBody, requestOf } from '../transport/bodies.ts';
import type { HttpAnswer, HttpRequest, Transport } from '../transport/transport.ts';

/** What a Bearer challenge asks for (distribution-spec, token authentication). */
export interface TokenChallenge {
  readonly realm: string;
  readonly service: string | undefined;
  readonly scope: string | undefined;
}

export interface Token {
  readonly authorization: string;
  readonly lifetimeMs: number;
}

const DEFAULT_LIFETIME_MS = 60_000;
const LONGEST_LIFETIME_MS = 86_400_000;
const MOST_REDIRECTS = 5;

/**
 * Fetches a token: by GET, with Basic credentials if there are any, or by POST for an identity token. `api` is the
 * registry's own URL, against which the realm is judged. @throws this room's refusals
 */
export async function requestToken(
  transport: Transport,
  { realm, service, scope }: TokenChallenge,
  credential: Credential | undefined,
  api: URL,
  asked: Asked,
  signal: AbortSignal,
): Promise<Token> {
  const url = realmUrl(realm, api, asked);
  if (credential?.kind !== 'identityToken') {
    if (service !== undefined) url.searchParams.set('service', service);
    for (const one of (scope ?? '').split(' ')) if (one !== '') url.searchParams.append('scope', one);
  }
  checkRealm(url, api, credential !== undefined, asked);
  const answer = await follow(transport, tokenRequest(url, service, scope, credential), api, asked, signal);
  const body = await readBody(answer, 1 << 20, transport.timeoutMs, signal);
  if (answer.status !== 200) throw refuseToken(answer, body, credential, asked, transport.timeoutMs);
  return readToken(answer, body, asked);
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
  asked: Asked,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  let request = first;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects += 1) {
    const answer = await transport.send(request, signal);
    if (![301, 302, 303, 307, 308].includes(answer.status)) return answer;
    await dropBody(answer, signal);
    const location = answer.headers.location?.toString() ?? '';
    const isSound = URL.canParse(location, request.url.href);
    const target = isSound ? new URL(location, request.url) : undefined;
    const isElsewhere = target?.origin !== request.url.origin;
    const isDowngrade = request.url.protocol === 'https:' && target?.protocol !== 'https:';
    // A body with a secret in it goes to the realm that was judged, and nowhere else.
    if (target === undefined || isDowngrade || request.method === 'POST')
      throw refuseRedirect(answer, target, asked, 'which cannot be followed safely');
    checkRealm(target, api, !isElsewhere && 'authorization' in request.headers, asked);
    request = { method: 'GET', url: target, headers: isElsewhere ? {} : request.headers };
  }
  throw new RegistryRedirect(`The token server of ${asked.registry} redirects without end`, {
    subject: asked.subject,
    request: `${first.method} ${redactUrl(first.url)}`,
    hint: "The registry's operator must mend its token server.",
  });
}

function refuseRedirect(answer: HttpAnswer, target: URL | undefined, asked: Asked, why: string): RegistryRedirect {
  return new RegistryRedirect(`The token server of ${asked.registry} redirects to another place, ${why}`, {
    subject: asked.subject,
    status: answer.status,
    request: requestOf(answer),
    found: target === undefined ? 'no usable Location' : redactUrl(target),
    hint: 'A login page of the network (captive portal) may answer for it; else its operator must mend it.',
  });
}

function realmUrl(realm: string, api: URL, asked: Asked): URL {
  const url = URL.canParse(realm, api.href) ? new URL(realm, api) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && realm !== '') {
    url.username = '';
    url.password = '';
    return url;
  }
  throw new RegistryProtocol(`${asked.registry} asks for a token but does not say where to get it`, {
    subject: asked.subject,
    expected: 'WWW-Authenticate: Bearer realm="https://…"',
    found: realm === '' ? 'no realm' : redactPlace(realm, api) || 'no usable realm',
    hint: 'Check that the host is an OCI registry; if so, its operator must mend it.',
  });
}

/** A registry may name any realm; it must not make us send secrets in the clear or into the network we stand in. */
function checkRealm(realm: URL, api: URL, withCredentials: boolean, asked: Asked): void {
  const isOwnHost = bareHost(realm.hostname) === bareHost(api.hostname);
  const isOwnMachine = isLoopback(realm.hostname) && isLoopback(api.hostname);
  const isLinkLocal = /^169\.254\.|^fe[89ab][0-9a-f]:/.test(bareHost(realm.hostname));
  const isForeign = isPrivateLiteral(realm.hostname) && !isOwnHost && !isOwnMachine;
  const isClear = realm.protocol === 'http:' && api.protocol === 'https:' && !isOwnMachine;
  if (!(isForeign && isLinkLocal) && !(withCredentials && (isForeign || isClear))) return;
  throw new RegistryProtocol(`${asked.registry} sends us for a token to a place that must not have our credentials`, {
    subject: asked.subject,
    expected: isForeign ? 'a token server with a public name, or the registry itself' : 'a token server over https',
    found: redactUrl(realm),
    hint: "The registry's operator must mend its token service, or the registry is not the one you mean.",
  });
}

function refuseToken(
  answer: HttpAnswer,
  body: Buffer,
  credential: Credential | undefined,
  asked: Asked,
  timeoutMs: number,
): Error {
  const words = readErrorWords(body, answer.headers['content-type']?.toString(), answer);
  const about = { credentialSource: credential?.source, moved: false, timeoutMs };
  if (![400, 401, 403].includes(answer.status)) return refuseAnswer(answer, asked, words, about);
  const refusal = refuseAnswer({ ...answer, status: 401 }, asked, words, about);
  return new RegistryUnauthorized(
    credential === undefined
      ? `${asked.registry} gives no anonymous token for ${asked.repository}`
      : `${asked.registry} does not accept the credentials from ${credential.source}`,
    {
      subject: asked.subject,
      status: answer.status,
      diagnostics: words.diagnostics,
      request: requestOf(answer),
      found: String(answer.status),
      ...(words.said === undefined ? {} : { registrySaid: words.said }),
      hint: refusal.hint,
    },
  );
}

function readToken(answer: HttpAnswer, body: Buffer, asked: Asked): Token {
  const text = body.toString('utf8');
  const details = { subject: asked.subject, status: answer.status, request: requestOf(answer) };
  if (looksLikeHtml(text, answer.headers['content-type']?.toString()))
    throw refusePortal(answer.request.url.host, details);
  let json: Record<string, unknown> = {};
  try {
    // The parser's error would quote the token.
    json = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {}
  const token = [json.token, json.access_token].find(it => typeof it === 'string' && it !== '');
  if (typeof token !== 'string' || !/^[\x21-\x7e]{1,65536}$/.test(token))
    throw new RegistryProtocol(`The token server of ${asked.registry} answered without a usable token`, {
      ...details,
      expected: '{"token": "…"}',
      temporary: true,
      retryLimit: 2,
      hint: "The registry's operator must mend its token service.",
    });
  return { authorization: `Bearer ${token}`, lifetimeMs: lifetimeOf(json.expires_in) };
}

function lifetimeOf(expiresIn: unknown): number {
  const seconds = typeof expiresIn === 'string' ? Number(expiresIn) : expiresIn;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds <= 0) return DEFAULT_LIFETIME_MS;
  return Math.min(seconds * 1000, LONGEST_LIFETIME_MS);
}
