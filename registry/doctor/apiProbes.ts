import { shortLine } from '../../base/printable.ts';
import { bearerIn, requestToken, type TokenChallenge } from '../builtin/client/tokenRequest.ts';
import { readErrorBody } from '../builtin/faults/errorBody.ts';
import { type Purpose, replyError } from '../builtin/faults/replyErrors.ts';
import { parseChallenges } from '../builtin/http/challenges.ts';
import { type Reply, requestOf } from '../builtin/http/reply.ts';
import { readBody } from '../builtin/transport/bodies.ts';
import type { Transport } from '../builtin/transport/transport.ts';
import type { CredentialsSource } from '../credentials/credentialsSource.ts';
import { RegistryProtocol, RegistryRedirect } from '../errors.ts';
import { endpointOf, redactTarget, redactUrl } from '../hosts/hosts.ts';
import { formatReference, type Reference } from '../reference.ts';

/** Facts from a registry's reply to `/v2/`. */
export interface ApiReply {
  readonly url: URL;
  /** The token server; undefined if no token is required. */
  readonly challenge: Omit<TokenChallenge, 'scope'> | undefined;
  /** How much this machine's clock is ahead of the registry's; undefined without a Date header. */
  readonly clockAheadMs: number | undefined;
}

/** Sends GET /v2/ (distribution-spec, Determining Support). @throws this room's refusals */
export async function askApi(
  transport: Transport,
  url: URL,
  registry: string,
  signal: AbortSignal,
): Promise<{ readonly found: string; readonly value: ApiReply }> {
  const reply = await transport.send({ method: 'GET', url, headers: {} }, signal);
  const body = await readBody(reply, 64 * 1024, transport.timeoutMs, signal);
  const words = readErrorBody(body, reply.headers['content-type']?.toString(), reply);
  const { status } = reply;
  if (status >= 300 && status < 400) throw redirectError(reply, registry);
  if (status === 404) throw noApiError(reply, registry);
  const purpose: Purpose = { subject: registry, registry, repository: '/v2/', what: 'manifest' };
  if (![200, 401].includes(status) || (words.isHtml && status === 200))
    throw replyError(reply, purpose, words, {
      credentialSource: undefined,
      isKnownRegistry: false,
      isAuthorized: false,
      timeoutMs: transport.timeoutMs,
    });
  const value = { url, clockAheadMs: clockAheadOf(reply) };
  const challenges = parseChallenges(reply.headers['www-authenticate']);
  const bearer = bearerIn(challenges);
  if (bearer !== undefined && status === 401) {
    const realm = bearer.parameters.get('realm') ?? '';
    const challenge = { realm, service: bearer.parameters.get('service') };
    const from = realm === '' ? ', but names no token server' : ` from ${redactTarget(realm)}`;
    return { found: `requires a token${from}`, value: { ...value, challenge } };
  }
  const found =
    status === 200
      ? 'requires no login'
      : challenges.some(({ scheme }) => scheme === 'basic')
        ? 'requires a user name and a password (Basic)'
        : challenges.length === 0
          ? 'answers 401, but names no kind of login (no WWW-Authenticate header)'
          : `requires a login by ${shortLine(challenges.map(({ scheme }) => scheme).join(' or '), 60)}, which registries do not use`;
  return { found, value: { ...value, challenge: undefined } };
}

/** Requests a token to pull one repository, and describes it. @throws this room's refusals */
export async function fetchToken(
  transport: Transport,
  challenge: Omit<TokenChallenge, 'scope'>,
  at: { readonly api: URL; readonly reference: Reference; readonly credentials: CredentialsSource },
  signal: AbortSignal,
): Promise<string> {
  const { registry, repository } = at.reference;
  const credential = await at.credentials.find(registry, repository, signal);
  const purpose: Purpose = { subject: formatReference(at.reference), registry, repository, what: 'manifest' };
  const scope = `repository:${endpointOf(registry, repository).repository}:pull`;
  const why = await at.credentials.whyNone(registry, repository);
  const login = { credential, ...why };
  const token = await requestToken(transport, { ...challenge, scope }, login, at.api, purpose, signal);
  const without = why.helperFailure === undefined ? '' : ` (${why.helperFailure.message})`;
  const whose = credential === undefined ? `anonymous${without}` : `with the credentials from ${credential.source}`;
  return `${whose}, valid for ${Math.round(token.lifetimeMs / 1000)} s`;
}

function clockAheadOf({ headers }: Reply): number | undefined {
  const time = Date.parse(headers.date?.toString() ?? '');
  return Number.isNaN(time) ? undefined : Date.now() - time;
}

function redirectError(reply: Reply, registry: string): RegistryRedirect {
  const location = reply.headers.location?.toString() ?? '';
  const { url } = reply.request;
  return new RegistryRedirect(
    `${url.host} redirects from /v2/ to ${URL.canParse(location, url.href) ? redactUrl(new URL(location, url)) : 'no usable URL'}`,
    {
      subject: registry,
      status: reply.status,
      request: requestOf(reply),
      hint: "A login page of the network (captive portal) may answer in the registry's place: open it in a browser to see.",
    },
  );
}

function noApiError(reply: Reply, registry: string): RegistryProtocol {
  return new RegistryProtocol(`${reply.request.url.host} has no /v2/`, {
    subject: registry,
    status: 404,
    request: requestOf(reply),
    expected: 'an OCI registry',
    found: '404',
    hint: 'Check the host and port: something other than a registry answers there.',
  });
}
