import { shortLine } from '../../../base/printable.ts';
import { withoutHelperError } from '../../credentials/credentialsSource.ts';
import {
  type RegistryCredentials,
  RegistryDenied,
  RegistryNotFound,
  RegistryProtocol,
  RegistryRateLimited,
  type RegistryRefusal,
  type RegistryRefusalDetails,
  RegistryTls,
  RegistryUnauthorized,
  RegistryUnavailable,
} from '../../errors.ts';
import { parseChallenges } from '../http/challenges.ts';
import { parseRetryAfter } from '../http/headers.ts';
import { type Reply, requestOf } from '../http/reply.ts';
import { blamed, fixedBy, replyFault } from './blame.ts';
import type { ErrorBody } from './errorBody.ts';
import { proxyStatusError } from './proxyErrors.ts';

/** The purpose of a request. */
export interface Purpose {
  /** The reference as the user wrote it. */
  readonly subject: string;
  readonly registry: string;
  readonly repository: string;
  readonly what: 'manifest' | 'blob' | 'tags';
  /** The tag or digest, where there is one. */
  readonly wanted?: string;
  /** True of a request that pushes. Default false. */
  readonly writes?: boolean;
}

export interface ReplyContext {
  /** Where the credentials of the request were found; undefined for an anonymous one. */
  readonly credentialSource: string | undefined;
  /** Why a helper that was to have credentials gave none. */
  readonly helperFailure?: RegistryCredentials | undefined;
  /** More about missing credentials, as a further sentence of the hint. */
  readonly credentialHint?: string;
  /** True if the host has shown before that it is a registry. */
  readonly isKnownRegistry: boolean;
  /** True if the request carried credentials or a token. */
  readonly isAuthorized: boolean;
  readonly timeoutMs: number;
}

type Details = Omit<RegistryRefusalDetails, 'hint'>;

/** 4xx statuses that may pass (RFC 9110, 4918, 8470, 6585); 499 is nginx's for a client that left, and gateways send it on. */
const TEMPORARY = [408, 421, 423, 425, 429, 499];

/** A longer Retry-After is not waited for. */
const LONGEST_RETRY_AFTER_MS = 60_000;

const LOGIN_HINT =
  'Either it does not exist there, because registries hide that from anonymous users, or it needs a login:' +
  ' check the name, or log in with "docker login", or give --username and --password-stdin.';

const PUSH_LOGIN_HINT = 'A push needs a login: log in with "docker login", or give --username and --password-stdin.';

/** Registries send the same status for missing rights and for a rule that no right overrides. */
const OR_A_RULE =
  'Or a rule there forbids it, such as immutable tags, a quota or signed images only: see the settings of the repository or project.';

/** Returns the error for a reply that is not a success, from its status and the error body. */
export function replyError(reply: Reply, purpose: Purpose, body: ErrorBody, context: ReplyContext): RegistryRefusal {
  const { status } = reply;
  const { namedBy, url } = reply.request;
  const { host } = url;
  const details: Details = {
    subject: purpose.subject,
    status,
    diagnostics: body.diagnostics,
    request: requestOf(reply),
    found: String(status),
    ...(body.said === undefined ? {} : { registrySaid: body.said }),
  };
  if (status === 407 || isFromProxy(reply))
    return proxyStatusError(
      { status, headers: reply.headers },
      { ...reply.request, proxy: reply.proxy, timeoutMs: context.timeoutMs },
    );
  if (body.isForTls && url.protocol === 'http:')
    return new RegistryTls(...replyFault(reply, TLS_INSTEAD, tlsInsteadHint(reply), details));
  if (status === 511 || (body.isHtml && status < 400)) return webPageError(reply, purpose.subject);
  const isUpload = purpose.writes === true && reply.request.method !== 'HEAD';
  if (isUpload && status === INSUFFICIENT_STORAGE) return refusedWriteError(reply, details);
  if (TEMPORARY.includes(status) || (status >= 500 && status !== 501 && status !== 505))
    return unavailableError(reply, details);
  if (namedBy?.role === 'token server')
    return new RegistryProtocol(
      blamed(namedBy, host, `it answers ${status}${body.isHtml ? ' with a web page' : ''} instead of a token`),
      {
        ...details,
        hostwide: true,
        hint: fixedBy(namedBy, host, 'The repository and the credentials are not at fault.'),
      },
    );
  const isRedirected = namedBy !== undefined && namedBy.role !== 'upload host';
  if ((status === 401 || status === 403) && isRedirected)
    return new RegistryDenied(
      `${host}, to which ${purpose.registry} redirects, does not allow the ${purpose.what} to be read`,
      {
        ...details,
        // The signed URL may have expired; the registry gives a new one.
        temporary: true,
        retryLimit: 2,
        hint:
          status === 401
            ? `A login for ${purpose.registry} is sent to no other host: its operator must redirect to a URL that needs none.`
            : "Check this machine's clock: signed URLs expire within minutes.",
      },
    );
  const other = namedBy !== undefined || context.isKnownRegistry ? undefined : otherThanRegistry(reply, body);
  if (status === 401) {
    const schemes = parseChallenges(reply.headers['www-authenticate']).map(({ scheme }) => scheme);
    // Registries use these two. RFC 9110, 11.6.1: a 401 must have a challenge, so this is not a registry, or a broken one.
    const hostwide = !schemes.some(scheme => ['basic', 'bearer'].includes(scheme));
    const more = { ...details, ...ifTokenTooNew(reply), hostwide };
    if (hostwide && other !== undefined)
      return new RegistryUnauthorized(`${host} ${other}`, { ...more, hint: noRegistryHint(reply) });
    if (hostwide && !context.isAuthorized) return unusualLoginError(reply, schemes, more);
    return unauthorizedError(purpose, context, more);
  }
  if (status === 403 && other !== undefined)
    return new RegistryDenied(`${host} ${other}`, {
      ...details,
      hint: `${noRegistryHint(reply)} A firewall in front of a registry may also refuse this client.`,
    });
  if (status === 403 && context.credentialSource === undefined && context.helperFailure !== undefined)
    return unauthorizedError(purpose, context, details);
  if (status === 403)
    return new RegistryDenied(
      `${purpose.registry} does not allow ${purpose.repository} to be ${purpose.writes ? 'written' : 'read'}${withCredentials(context)}`,
      {
        ...details,
        hint: context.credentialSource === undefined ? loginHint(purpose, 403) : rightsHint(purpose),
      },
    );
  if (status === 404 && isUpload && reply.request.method === 'POST' && !body.isHtml)
    return noRepositoryToPushError(reply, purpose.repository, details);
  if (status === 404 && other !== undefined)
    return new RegistryNotFound(`${host} ${other}`, { ...details, missing: 'unknown', hint: noRegistryHint(reply) });
  if (status === 404) return notFoundError(purpose, body, isRedirected, details, host);
  // nginx's 400, and so Kubernetes' ingress', where a client certificate is required.
  if (status === 400 && /SSL certificate/i.test(body.title ?? body.said ?? ''))
    return clientCertificateError(host, details);
  if (status === 204) return emptyReplyError(reply, purpose);
  if (isUpload && status >= 400 && (other === undefined || status === 413)) return refusedWriteError(reply, details);
  return new RegistryProtocol(
    ...replyFault(
      reply,
      other ?? `answered with status ${status}${body.isHtml ? ' and a web page' : ''}, which is unexpected here`,
      namedBy !== undefined
        ? 'It may be another kind of server, or a proxy may answer in its place.'
        : other === undefined
          ? `Check that the host is an OCI registry and the name is right.${forwardedHint(reply)}`
          : noRegistryHint(reply),
      details,
    ),
  );
}

/** Returns the error for a reply without content where a manifest, a blob or a list of tags was requested. */
export function emptyReplyError(reply: Reply, { subject, what }: Purpose): RegistryProtocol {
  const { host } = reply.request.url;
  return new RegistryProtocol(
    ...replyFault(
      reply,
      `sent an empty reply instead of the ${what}`,
      `A proxy or gateway on the way may have dropped the content: try again. If it happens each time, check that ${host} is what it should be, and the proxy's log.${forwardedHint(reply)}`,
      {
        subject,
        status: reply.status,
        expected: `a reply with the ${what}`,
        found: `status ${reply.status} without content`,
        // A passing fault more often than an answer.
        temporary: true,
        retryLimit: 2,
      },
    ),
  );
}

/**
 * Returns what a host did, as the rest of a sentence, if its error is not one of a registry: registries answer with JSON that
 * has `errors` (distribution-spec, Error codes), or name the version of their API. Undefined also for an empty body.
 */
function otherThanRegistry(
  { status, headers }: Reply,
  { diagnostics, isHtml, title, said }: ErrorBody,
): string | undefined {
  if (status < 400 || diagnostics.length > 0 || headers['docker-distribution-api-version'] !== undefined)
    return undefined;
  const isText = /^\s*text\//i.test(headers['content-type']?.toString() ?? '');
  if (!isHtml && !isText && said === undefined) return undefined;
  const words = (isHtml ? title : said) ?? '';
  const page = isHtml ? 'a web page' : isText ? 'a line of text' : 'a document of another kind';
  return `is probably not a registry: it answers ${status} with ${page}${words === '' ? '' : ` (“${shortLine(words, 80)}”)`}`;
}

/** A port that speaks TLS answers plain http with 400, and a text or page that says so. */
const TLS_INSTEAD = 'speaks TLS at this port, not plain http';

function tlsInsteadHint({ request: { url, namedBy } }: Pick<Reply, 'request'>): string {
  return namedBy === undefined ? 'Leave out --plain-http.' : `The address of ${url.host} must begin with https://.`;
}

/** Squid and tinyproxy sign the errors that they send in place of a server to which they forward plain http. */
function isFromProxy({ status, headers, proxy, request: { url } }: Reply): boolean {
  const isForwarded = proxy !== undefined && url.protocol === 'http:';
  const server = headers.server?.toString() ?? '';
  return (
    isForwarded && status >= 400 && (headers['x-squid-error'] !== undefined || /^(?:squid|tinyproxy)\b/i.test(server))
  );
}

function noRegistryHint(reply: Reply): string {
  const { origin } = reply.request.url;
  return `Check the host and the port: "curl -i ${origin}/v2/" prints status 200 or 401 at every registry. Some registries have a host name or a port of their own, next to that of their web pages.${forwardedHint(reply)}`;
}

/** A proxy that forwards plain http answers in the name of the host that it cannot reach. */
function forwardedHint({ proxy, request: { url } }: Reply): string {
  return proxy !== undefined && url.protocol === 'http:' ? ` The proxy ${proxy.host} may have answered.` : '';
}

function clientCertificateError(host: string, details: Details): RegistryTls {
  return new RegistryTls(`${host} requires a client certificate`, {
    ...details,
    hostwide: true,
    hint: 'Name one that the registry knows, with --cert-file and --key-file.',
  });
}

/** Returns the error for a web page where registry data was expected. */
export function webPageError(reply: Reply, subject: string): RegistryProtocol {
  const { namedBy, url } = reply.request;
  const wanted = namedBy?.role === 'token server' ? 'a token' : 'registry data';
  const place =
    namedBy === undefined ? "in the registry's place, or the host is not a registry" : `in the place of ${url.host}`;
  return new RegistryProtocol(
    ...replyFault(
      reply,
      `answered with a web page instead of ${wanted}`,
      `A login page of the network (captive portal) or a proxy answers ${place}: open it in a browser to see.${forwardedHint(reply)}`,
      {
        subject,
        status: reply.status,
        expected: namedBy?.role === 'token server' ? 'JSON with a token' : 'the reply of an OCI registry',
        found: 'HTML',
        // A gateway in front of the registry may send an error page for a moment only.
        temporary: true,
        retryLimit: 1,
        hostwide: true,
      },
    ),
  );
}

/** Returns the error for a 401 that asks for no login, or for one that no client of a registry can give. */
function unusualLoginError(reply: Reply, schemes: readonly string[], details: Details): RegistryUnauthorized {
  const { host, origin } = reply.request.url;
  const kinds = shortLine([...new Set(schemes)].slice(0, 4).join(' or '), 60);
  return new RegistryUnauthorized(
    schemes.length === 0
      ? `${host} answers 401, but names no kind of login (no WWW-Authenticate header)`
      : `${host} requires a login by ${kinds}, which registries do not use`,
    {
      ...details,
      expected: 'WWW-Authenticate: Bearer or Basic',
      found: schemes.length === 0 ? '401 without WWW-Authenticate' : `401 with ${kinds}`,
      hint: `No credentials were sent, because the host does not ask for them in a way that registries do. A proxy or gateway in front of it may remove that header or want a login of its own, or the host is not a registry: compare with "curl -i ${origin}/v2/".${forwardedHint(reply)}`,
    },
  );
}

function unauthorizedError(purpose: Purpose, context: ReplyContext, details: Details): RegistryRefusal {
  if (context.credentialSource === undefined && context.helperFailure !== undefined)
    return withoutHelperError(purpose.registry, purpose.repository, context.helperFailure, details);
  if (context.credentialSource === undefined)
    return new RegistryUnauthorized(
      `${purpose.registry} does not allow ${purpose.repository} to be ${purpose.writes ? 'written' : 'read'} without a login`,
      {
        ...details,
        hint: loginHint(purpose, 401) + (context.credentialHint ?? ''),
      },
    );
  return new RegistryUnauthorized(
    `${purpose.registry} does not allow ${purpose.repository} to be ${purpose.writes ? 'written' : 'read'}${withCredentials(context)}`,
    {
      ...details,
      hint: `Either the credentials are wrong or out of date, or the repository does not exist: log in again, and check the name.`,
    },
  );
}

/** A token may become valid a moment later, where the token server's clock is ahead of the registry's (RFC 6750, 3.1). */
function ifTokenTooNew({ headers }: Reply): Pick<Details, 'temporary' | 'retryLimit'> {
  const rejected = parseChallenges(headers['www-authenticate']).some(
    ({ parameters }) => parameters.get('error') === 'invalid_token',
  );
  return rejected ? { temporary: true, retryLimit: 2 } : {};
}

function withCredentials({ credentialSource }: ReplyContext): string {
  return credentialSource === undefined ? '' : ` with the credentials from ${credentialSource}`;
}

function loginHint({ writes }: Purpose, status: 401 | 403): string {
  if (writes !== true) return LOGIN_HINT;
  return status === 401 ? PUSH_LOGIN_HINT : `${PUSH_LOGIN_HINT} ${OR_A_RULE}`;
}

function rightsHint({ repository, writes }: Purpose): string {
  if (writes)
    return `Grant this user the right to push to ${repository}; some registries need the project to be created first. ${OR_A_RULE}`;
  return `Either ${repository} does not exist there, or its owner must grant this user the right to pull it.`;
}

function notFoundError(
  purpose: Purpose,
  body: ErrorBody,
  isRedirected: boolean,
  details: Details,
  host: string,
): RegistryNotFound {
  const holder = isRedirected ? `${host}, to which ${purpose.registry} redirects,` : purpose.registry;
  const codes = body.diagnostics.map(({ code }) => code.toUpperCase());
  const has = (pattern: RegExp): boolean => codes.some(code => pattern.test(code));
  if (has(/^NAME_(?:UNKNOWN|INVALID)$|REPOSITORY.*NOT/) || purpose.what === 'tags')
    return new RegistryNotFound(`${purpose.registry} has no repository ${purpose.repository}`, {
      ...details,
      missing: 'repository',
      hint: 'Check the spelling of the repository; a private one may be hidden until you log in.',
    });
  if (purpose.what === 'blob')
    return new RegistryNotFound(`${holder} does not have the blob ${purpose.wanted} of ${purpose.repository}`, {
      ...details,
      missing: 'blob',
      // That storage host may be one of several and not have the blob yet; the registry may redirect to another.
      ...(isRedirected ? { temporary: true, retryLimit: 2 } : {}),
      hint: isRedirected
        ? 'The registry lists it, but its storage does not have it: push the image again.'
        : 'The image is incomplete there, or the registry removed the blob meanwhile: push the image again.',
    });
  const known = has(/^MANIFEST_|TAG/);
  return new RegistryNotFound(
    known
      ? `${purpose.registry} has no ${purpose.wanted} of ${purpose.repository}`
      : `${holder} has no ${purpose.repository} with ${purpose.wanted}`,
    {
      ...details,
      missing: known ? 'manifest' : 'unknown',
      // CNCF distribution sends MANIFEST_UNKNOWN for a missing repository, too.
      hint: known
        ? 'Check the tag or digest, and the spelling of the repository.'
        : 'Check the repository, then the tag or digest; and that the host is a registry.',
    },
  );
}

function unavailableError(reply: Reply, details: Details): RegistryRefusal {
  const { status, headers } = reply;
  const { namedBy, url } = reply.request;
  const { host } = url;
  const retryAfterMs = parseRetryAfter(headers['retry-after']?.toString(), headers.date?.toString(), Date.now());
  const isTooLong = retryAfterMs !== undefined && retryAfterMs > LONGEST_RETRY_AFTER_MS;
  const wait = isTooLong
    ? `; it asks for a wait of ${Math.round(retryAfterMs / 1000)} s, and only 60 s are waited for`
    : '';
  const more = {
    ...details,
    temporary: true,
    // Such a long wait is often a mistake of the server: two retries, then the error is reported.
    ...(isTooLong ? { retryLimit: 2 } : {}),
    ...(retryAfterMs === undefined || isTooLong ? {} : { retryAfterMs }),
  };
  if (status === 429)
    return new RegistryRateLimited(blamed(namedBy, host, `${host} limits the rate of requests${wait}`), {
      ...more,
      hint: 'Wait, lower --concurrency, or log in: limits for known users are often higher.',
    });
  const forwarded = forwardedHint(reply);
  return new RegistryUnavailable(blamed(namedBy, host, `${host} cannot answer now: status ${status}${wait}`), {
    ...more,
    hint: fixedBy(
      namedBy,
      host,
      namedBy === undefined
        ? `Try again later; if it lasts, the registry or a proxy in front of it is broken.${forwarded}`
        : `Try again later; if it lasts, the ${namedBy.role} or a proxy in front of it is broken.${forwarded}`,
    ),
  });
}

/** RFC 4918, 11.5: the server has no room for what was sent. Unlike other 5xx it does not pass within a run. */
export const INSUFFICIENT_STORAGE = 507;

/** Messages, to follow the host, and hints for the status of a reply to an upload or to the PUT of a manifest. */
const MEANINGS: Readonly<Record<number, readonly [string, string]>> = {
  405: [
    'takes no uploads',
    'It is probably read-only, as a pull-through cache or "plugin-mirror serve" is: push to the registry behind it.',
  ],
  409: [
    'refused to store the image',
    'Its rules forbid it, for example because a tag may not be replaced once it is there (immutable tags): see the settings of the repository or project.',
  ],
  // Harbor's for immutable tags, and for images that are not signed or have vulnerabilities.
  412: [
    'refused to store the image',
    'Its rules forbid it, such as immutable tags, a quota or signed images only: see the settings of the repository or project.',
  ],
  411: ['wants the length of each upload in advance', 'A proxy in front of the registry removed it: see its settings.'],
  413: [
    'refused an upload because of its size',
    'A proxy in front of the registry limits the size of a request (nginx: client_max_body_size): its operator must allow at least 256 KiB, better 8 MiB, or push to the registry past the proxy.',
  ],
  [INSUFFICIENT_STORAGE]: [
    'has no room for the image',
    'Remove images there, or let its operator raise the quota or add storage.',
  ],
};

const OTHER: readonly [string, string] = [
  'refused to store the image',
  'Push again: what is missing is uploaded. If it fails again, the registry may accept only certain media types or signed images, or keep tags as they are (immutable tags): its operator knows its rules.',
];

/** For MANIFEST_BLOB_UNKNOWN (distribution-spec, Error codes). */
const LACKING: readonly [string, string] = [
  'refused to store the image, because it lacks parts of it',
  'Push again: what is missing is uploaded. If it fails again, the image names parts that its own source does not have, such as platforms of an index, and this registry requires all of them.',
];

/** Returns the error for a final status in the reply to a request that pushes. */
export function refusedWriteError(reply: Reply, details: Omit<RegistryRefusalDetails, 'hint'>): RegistryRefusal {
  const { status } = reply;
  const lacksParts = details.diagnostics?.some(({ code }) => code.toUpperCase() === 'MANIFEST_BLOB_UNKNOWN') === true;
  const [what, hint] = lacksParts ? LACKING : (MEANINGS[status] ?? OTHER);
  if (status === INSUFFICIENT_STORAGE) return new RegistryUnavailable(...replyFault(reply, what, hint, details));
  return new RegistryProtocol(...replyFault(reply, `${what} (status ${status})`, hint, details));
}

/** Returns the error for a repository that does not exist and that a push does not create. */
export function noRepositoryToPushError(
  reply: Reply,
  repository: string,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): RegistryNotFound {
  const { namedBy, url } = reply.request;
  const hint =
    'Create the project or the repository there first: some registries do not create it on a push. If it exists, it may be hidden until you log in.';
  return new RegistryNotFound(blamed(namedBy, url.host, `${url.host} has no ${repository} to push to`), {
    ...details,
    missing: 'repository',
    hint: fixedBy(namedBy, url.host, hint),
  });
}
