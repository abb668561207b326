import {
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
import { parseRetryAfter } from '../http/retryAfter.ts';
import { requestOf } from '../transport/bodies.ts';
import type { HttpAnswer } from '../transport/transport.ts';
import type { ErrorWords } from './diagnostics.ts';
import { refuseProxyStatus } from './transportFaults.ts';

/** What was wanted when the answer came. */
export interface Asked {
  /** The reference as the user wrote it. */
  readonly subject: string;
  readonly registry: string;
  readonly repository: string;
  readonly what: 'manifest' | 'blob' | 'tags';
  /** The tag or digest, where there is one. */
  readonly wanted?: string;
}

export interface Circumstances {
  /** Where the credentials in use were found; undefined for an anonymous request. */
  readonly credentialSource: string | undefined;
  /** True if the answer came from where the registry had redirected to. */
  readonly moved: boolean;
  readonly timeoutMs: number;
}

type Details = Omit<RegistryRefusalDetails, 'hint'>;

/**
 * A request that took too long, a connection or a moment that was the wrong one, a lock, too many requests; and nginx's
 * word for a client that left, which a gateway says of itself.
 */
const FOR_NOW = [408, 421, 423, 425, 429, 499];

/** Longer waits are not waited for. */
const LONGEST_RETRY_AFTER_MS = 60_000;

const LOGIN_HINT =
  'Either it does not exist there, since registries hide that from strangers, or it needs a login:' +
  ' check the name, or log in with "docker login", or give --username and --password-stdin.';

/** Names an answer that is no success by its status and the registry's words. */
export function refuseAnswer(
  answer: HttpAnswer,
  asked: Asked,
  words: ErrorWords,
  about: Circumstances,
): RegistryRefusal {
  const { status } = answer;
  const { host } = answer.request.url;
  const details: Details = {
    subject: asked.subject,
    status,
    diagnostics: words.diagnostics,
    request: requestOf(answer),
    found: String(status),
    ...(words.said === undefined ? {} : { registrySaid: words.said }),
  };
  if (status === 407)
    return refuseProxyStatus(407, { ...answer.request, proxy: answer.proxy, timeoutMs: about.timeoutMs });
  if (status === 511 || (words.isHtml && status < 400)) return refusePortal(host, details);
  if (FOR_NOW.includes(status) || (status >= 500 && status !== 501 && status !== 505))
    return refuseForNow(answer, host, details);
  if (status === 403 && about.moved)
    return new RegistryDenied(`${host}, to which ${asked.registry} redirects, does not hand out the blob`, {
      ...details,
      // The signed URL may have expired; the registry gives a new one.
      temporary: true,
      retryLimit: 2,
      hint: "Check this machine's clock: signed addresses are only good for minutes.",
    });
  if (status === 401)
    return refuseStranger(asked, about, {
      ...details,
      ...ifTokenTooNew(answer),
      // RFC 9110, 11.6.1: who does not say how to log in is no registry, or not in order.
      hostwide: parseChallenges(answer.headers['www-authenticate']).length === 0,
    });
  if (status === 403)
    return new RegistryDenied(`${asked.registry} does not allow ${asked.repository} to be read${as(about)}`, {
      ...details,
      hint: about.credentialSource === undefined ? LOGIN_HINT : rightsHint(asked),
    });
  if (status === 404) return refuseMissing(asked, words, about, details);
  // What nginx says (and Kubernetes' ingress with it) where client certificates are asked for.
  if (status === 400 && /SSL certificate/i.test(words.title ?? words.said ?? ''))
    return refuseNoCertificate(host, details);
  return new RegistryProtocol(`${host} answered ${status}, which this request has no use for`, {
    ...details,
    // Nothing at all where something was asked for is a slip more often than an answer.
    temporary: status === 204,
    hint: words.isHtml
      ? 'The answer is a web page: check that the host is a registry, and that no proxy answers for it.'
      : 'Check that the host is an OCI registry and the name is right.',
  });
}

function refuseNoCertificate(host: string, details: Details): RegistryTls {
  return new RegistryTls(`${host} wants a client certificate`, {
    ...details,
    hostwide: true,
    hint: 'Name one that the registry knows, with --cert-file and --key-file.',
  });
}

/** A web page in the place of a registry's answer. */
export function refusePortal(host: string, details: Details): RegistryProtocol {
  return new RegistryProtocol(`${host} answered with a web page in the place of registry data`, {
    ...details,
    expected: 'an answer of an OCI registry',
    found: 'HTML',
    // A gateway before the registry may say so for a moment only.
    temporary: true,
    retryLimit: 1,
    hostwide: true,
    hint: 'A login page of the network (captive portal) or a proxy answers for the registry, or the host is no registry: open it in a browser to see.',
  });
}

function refuseStranger(asked: Asked, about: Circumstances, details: Details): RegistryUnauthorized {
  if (about.credentialSource === undefined)
    return new RegistryUnauthorized(`${asked.registry} does not show ${asked.repository} without a login`, {
      ...details,
      hint: LOGIN_HINT,
    });
  return new RegistryUnauthorized(`${asked.registry} does not show ${asked.repository}${as(about)}`, {
    ...details,
    hint: `Either the credentials are wrong or out of date, or the repository does not exist: log in again, and check the name.`,
  });
}

/** A token may be good a moment later only, where its maker's clock is ahead of the registry's (RFC 6750, 3.1). */
function ifTokenTooNew({ headers }: HttpAnswer): Pick<Details, 'temporary' | 'retryLimit'> {
  const rejected = parseChallenges(headers['www-authenticate']).some(
    ({ parameters }) => parameters.get('error') === 'invalid_token',
  );
  return rejected ? { temporary: true, retryLimit: 2 } : {};
}

function as({ credentialSource }: Circumstances): string {
  return credentialSource === undefined ? '' : ` with the credentials from ${credentialSource}`;
}

function rightsHint({ repository }: Asked): string {
  return `Either ${repository} does not exist there, or its owner must grant this user the right to pull it.`;
}

function refuseMissing(asked: Asked, words: ErrorWords, about: Circumstances, details: Details): RegistryNotFound {
  const codes = words.diagnostics.map(({ code }) => code.toUpperCase());
  const has = (pattern: RegExp): boolean => codes.some(code => pattern.test(code));
  if (has(/^NAME_(?:UNKNOWN|INVALID)$|REPOSITORY.*NOT/) || asked.what === 'tags')
    return new RegistryNotFound(`${asked.registry} has no repository ${asked.repository}`, {
      ...details,
      missing: 'repository',
      hint: 'Check how the repository is spelt; a private one may be hidden until you log in.',
    });
  if (asked.what === 'blob')
    return new RegistryNotFound(`${asked.registry} lacks the blob ${asked.wanted} of ${asked.repository}`, {
      ...details,
      missing: 'blob',
      // The place it was sent to may be one of several that does not have it yet; the registry may give another.
      ...(about.moved ? { temporary: true, retryLimit: 2 } : {}),
      hint: about.moved
        ? 'The registry lists it, but its storage has lost it: the image must be pushed again.'
        : 'The image is incomplete there and must be pushed again, or the registry was cleaned up meanwhile.',
    });
  const known = has(/^MANIFEST_|TAG/);
  return new RegistryNotFound(
    known
      ? `${asked.registry} has no ${asked.wanted} of ${asked.repository}`
      : `${asked.registry} has no ${asked.repository} with ${asked.wanted}`,
    {
      ...details,
      missing: known ? 'manifest' : 'unknown',
      // CNCF distribution says MANIFEST_UNKNOWN of a repository that is not there as well.
      hint: known
        ? 'Check the tag or digest, and how the repository is spelt.'
        : 'Check the repository, then the tag or digest; and that the host is a registry.',
    },
  );
}

function refuseForNow(answer: HttpAnswer, host: string, details: Details): RegistryRefusal {
  const { status, headers } = answer;
  const retryAfterMs = parseRetryAfter(headers['retry-after']?.toString(), headers.date?.toString(), Date.now());
  const isTooLong = retryAfterMs !== undefined && retryAfterMs > LONGEST_RETRY_AFTER_MS;
  const wait = isTooLong
    ? `; it asks to wait ${Math.round(retryAfterMs / 1000)} s, which is too long to wait here`
    : '';
  const more = {
    ...details,
    temporary: true,
    // So long a wait is often a mistake: asked twice more, then told.
    ...(isTooLong ? { retryLimit: 2 } : {}),
    ...(retryAfterMs === undefined || isTooLong ? {} : { retryAfterMs }),
  };
  if (status === 429)
    return new RegistryRateLimited(`${host} limits how much may be asked of it${wait}`, {
      ...more,
      hint: 'Wait, ask for less at once with --concurrency, or log in: limits for known users are often higher.',
    });
  return new RegistryUnavailable(`${host} cannot answer now: status ${status}${wait}`, {
    ...more,
    hint: 'Try again later; if it stays so, the registry or a proxy before it is out of order.',
  });
}
