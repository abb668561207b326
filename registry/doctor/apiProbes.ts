import { requestToken, type TokenChallenge } from '../builtin/client/tokenRequest.ts';
import { type Asked, refuseAnswer } from '../builtin/faults/answerFaults.ts';
import { readErrorWords } from '../builtin/faults/diagnostics.ts';
import { parseChallenges } from '../builtin/http/challenges.ts';
import { readBody, requestOf } from '../builtin/transport/bodies.ts';
import type { HttpAnswer, Transport } from '../builtin/transport/transport.ts';
import type { CredentialsSource } from '../credentials/credentialsSource.ts';
import { RegistryProtocol, RegistryRedirect } from '../errors.ts';
import { endpointOf } from '../hosts/hosts.ts';
import { redactPlace, redactUrl } from '../hosts/redact.ts';
import { formatReference, type Reference } from '../reference.ts';

/** What a registry says to whoever knocks at `/v2/`. */
export interface Door {
  readonly url: URL;
  /** Where tokens are to be had, if it wants one. */
  readonly challenge: Omit<TokenChallenge, 'scope'> | undefined;
  /** By how much this machine's clock is ahead of the registry's; undefined if that does not tell. */
  readonly clockAheadMs: number | undefined;
}

/** GET /v2/ (distribution-spec, Determining Support). @throws this room's refusals */
export async function askApi(
  transport: Transport,
  url: URL,
  registry: string,
  signal: AbortSignal,
): Promise<{ readonly found: string; readonly value: Door }> {
  const answer = await transport.send({ method: 'GET', url, headers: {} }, signal);
  const body = await readBody(answer, 64 * 1024, transport.timeoutMs, signal);
  const words = readErrorWords(body, answer.headers['content-type']?.toString(), answer);
  const { status } = answer;
  if (status >= 300 && status < 400) throw refuseRedirect(answer, registry);
  if (status === 404) throw refuseMissing(answer, registry);
  const asked: Asked = { subject: registry, registry, repository: '/v2/', what: 'manifest' };
  if (![200, 401].includes(status) || (words.isHtml && status === 200))
    throw refuseAnswer(answer, asked, words, {
      credentialSource: undefined,
      moved: false,
      timeoutMs: transport.timeoutMs,
    });
  const value = { url, clockAheadMs: clockAheadOf(answer) };
  const challenges = parseChallenges(answer.headers['www-authenticate']);
  const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'));
  if (bearer !== undefined && status === 401) {
    const realm = bearer.parameters.get('realm') ?? '';
    const challenge = { realm, service: bearer.parameters.get('service') };
    return { found: `wants a token from ${redactPlace(realm, url)}`, value: { ...value, challenge } };
  }
  const found =
    status === 200
      ? 'asks nobody to log in'
      : challenges.some(({ scheme }) => scheme === 'basic')
        ? 'wants a user name and a password (Basic)'
        : 'wants a login that it does not name';
  return { found, value: { ...value, challenge: undefined } };
}

/** A token to pull one repository. @throws this room's refusals */
export async function fetchToken(
  transport: Transport,
  challenge: Omit<TokenChallenge, 'scope'>,
  at: { readonly api: URL; readonly reference: Reference; readonly credentials: CredentialsSource },
  signal: AbortSignal,
): Promise<string> {
  const { registry, repository } = at.reference;
  const credential = await at.credentials.find(registry, repository, signal);
  const asked: Asked = { subject: formatReference(at.reference), registry, repository, what: 'manifest' };
  const scope = `repository:${endpointOf(registry, repository).repository}:pull`;
  const token = await requestToken(transport, { ...challenge, scope }, credential, at.api, asked, signal);
  const whose = credential === undefined ? 'for nobody in particular' : `for the credentials from ${credential.source}`;
  return `${whose}, good for ${Math.round(token.lifetimeMs / 1000)} s`;
}

function clockAheadOf({ headers }: HttpAnswer): number | undefined {
  const time = Date.parse(headers.date?.toString() ?? '');
  return Number.isNaN(time) ? undefined : Date.now() - time;
}

function refuseRedirect(answer: HttpAnswer, registry: string): RegistryRedirect {
  const location = answer.headers.location?.toString() ?? '';
  const { url } = answer.request;
  return new RegistryRedirect(
    `${url.host} redirects from /v2/ to ${URL.canParse(location, url.href) ? redactUrl(new URL(location, url)) : 'nowhere'}`,
    {
      subject: registry,
      status: answer.status,
      request: requestOf(answer),
      hint: 'A login page of the network (captive portal) may answer for the registry: open it in a browser to see.',
    },
  );
}

function refuseMissing(answer: HttpAnswer, registry: string): RegistryProtocol {
  return new RegistryProtocol(`${answer.request.url.host} has no /v2/`, {
    subject: registry,
    status: 404,
    request: requestOf(answer),
    expected: 'an OCI registry',
    found: '404',
    hint: 'Something else than a registry answers at this host and port: check both.',
  });
}
