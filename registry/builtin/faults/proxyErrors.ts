import type { IncomingHttpHeaders } from 'node:http';
import { shortLine } from '../../../base/printable.ts';
import { RegistryProxy, type RegistryRefusalDetails } from '../../errors.ts';
import { redactUrl } from '../../hosts/hosts.ts';
import { parseChallenges } from '../http/challenges.ts';
import { addressesIn, reasonOf, wordsFor } from './blame.ts';
import { readErrorBody } from './errorBody.ts';
import {
  CertificateRejected,
  certificateFault,
  type FailedRequest,
  handshakeFault,
  isOtherProtocol,
} from './tlsErrors.ts';

/** A proxy's reply to CONNECT that opened no tunnel (RFC 9110, 9.3.6). */
export interface ProxyReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The first bytes of the body, if they came together with the headers. */
  readonly body?: Buffer;
}

/** The proxy failed before the registry was reached; `reply` is its own, if there was one. */
export class TunnelFailed extends Error {
  override readonly name = 'TunnelFailed';
  readonly reply: ProxyReply | undefined;

  constructor(message: string, reply: ProxyReply | undefined, cause: unknown) {
    super(message, { cause });
    this.reply = reply;
  }
}

/** Returns the error for a reply with status 407: of the proxy, or of something that no variable names. */
export function proxyStatusError(reply: ProxyReply, at: FailedRequest): RegistryProxy {
  const { status } = reply;
  if (at.proxy !== undefined) return proxyError(new TunnelFailed(`the proxy answered ${status}`, reply, undefined), at);
  const { host } = at.url;
  return new RegistryProxy(`${host} answered ${status} Proxy Authentication Required, but no proxy is set`, {
    subject: host,
    request: `${at.method} ${redactUrl(at.url)}`,
    status,
    found: `${status} without a proxy in HTTP_PROXY or HTTPS_PROXY`,
    hint: `A proxy that the network puts in the way, or ${host} itself, wants credentials: set HTTPS_PROXY or HTTP_PROXY to the network's proxy with its login, or check that the host is a registry.`,
  });
}

/** Returns the error for a proxy that failed, or that did not connect to the registry. */
export function proxyError(fault: TunnelFailed, at: FailedRequest): RegistryProxy {
  const { url, proxy } = at;
  const name = proxy?.host ?? '';
  const { reply } = fault;
  const details = {
    subject: url.host,
    faultIn: name,
    request: `${at.method} ${redactUrl(url)}`,
    cause: fault,
    ...(reply === undefined ? {} : { status: reply.status }),
  };
  if (reply !== undefined) return replyError(reply, at, name, details);
  const reason = reasonOf(fault.cause);
  const variable = variableOf(url);
  const isNotTls = isOtherProtocol(reason);
  const tls =
    fault.cause instanceof CertificateRejected && proxy !== undefined
      ? certificateFault(fault.cause, proxy)
      : proxy === undefined || isNotTls
        ? undefined
        : handshakeFault(reason.code, reason.message, proxy);
  const isNotHttp = reason.code.startsWith('HPE_');
  const why =
    tls !== undefined
      ? `it ${tls.what}`
      : isNotTls
        ? 'it does not speak TLS at this port'
        : (wordsFor(reason.code) ?? shortLine(reason.message, 200));
  return new RegistryProxy(`The proxy ${name} cannot be used to reach ${url.host}: ${why}`, {
    ...details,
    found: addressesIn(fault.cause) ?? (reason.code || shortLine(reason.message, 200)),
    temporary: tls === undefined && !isNotTls && !isNotHttp && reason.code !== 'ENOTFOUND',
    hint:
      tls?.hint ??
      (isNotTls
        ? `The proxy does not speak TLS: write ${variable} with http:// in front.`
        : isNotHttp
          ? `The port may belong to a SOCKS proxy or to another program: ${variable} must name an HTTP proxy, with https:// in front if that proxy speaks TLS itself.`
          : `Check ${variable}, and that the proxy is running; NO_PROXY names hosts to be reached directly.`),
  });
}

function variableOf(url: URL): string {
  return url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
}

function replyError(
  reply: ProxyReply,
  { url, proxy, method }: FailedRequest,
  name: string,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): RegistryProxy {
  const { status, headers, body = Buffer.alloc(0) } = reply;
  const { isHtml, title = '' } = readErrorBody(body, headers['content-type'], {
    request: { method: 'GET', url, headers: {} },
    proxy,
  });
  const isRedirect = status >= 300 && status < 400;
  const page = isHtml && !isRedirect ? ` with a web page${title === '' ? '' : ` (“${shortLine(title, 80)}”)`}` : '';
  const squid = shortLine(headers['x-squid-error']?.toString() ?? '', 60);
  const more = {
    ...details,
    found: squid === '' ? `${status}${page}` : `${status} (${squid})`,
    temporary: [408, 429, 500, 502, 503, 504].includes(status),
  };
  if (status === 407 || (status === 401 && method === 'CONNECT')) return loginError(reply, url, proxy, more);
  const [what, hint] = meaningOf(reply, url, name);
  return new RegistryProxy(
    `The proxy ${name} did not connect to ${url.host}: it answered ${status}${isUnknown(status, url) ? ' to CONNECT' : ''}${page}${what}`,
    {
      ...more,
      hint,
    },
  );
}

/** Statuses of servers that do not know CONNECT. */
function isUnknown(status: number, { protocol }: URL): boolean {
  return protocol === 'https:' && [400, 404, 405, 501].includes(status);
}

/** Returns what a status in reply to CONNECT means, as the rest of the message, and what to do. */
function meaningOf({ status, headers }: ProxyReply, url: URL, name: string): readonly [what: string, hint: string] {
  const { host } = url;
  const variable = variableOf(url);
  const direct = `put ${host} in NO_PROXY if this machine can reach it directly`;
  if (status < 300)
    return [', not with a connection', `Check ${variable}: ${name} may be a web server or a login page, not a proxy.`];
  if (status < 400) {
    const location = headers.location ?? '';
    const target = URL.canParse(location) ? new URL(location) : undefined;
    const to = target === undefined ? '' : ` to ${redactUrl(target)}`;
    return [
      `, a redirect${to}`,
      `The proxy may require a login on that page: open it in a browser on this machine, then try again. Otherwise check ${variable}, or ${direct}.`,
    ];
  }
  if (isUnknown(status, url))
    return [
      '',
      `It may be a web server, or a proxy that does not pass https: check ${variable}, ask for CONNECT to port ${url.port || 443} to be allowed, or ${direct}.`,
    ];
  switch (status) {
    case 429:
      return [' (too many requests)', `Wait, lower --concurrency, or ${direct}.`];
    case 502:
      return [
        `: it could not reach ${host}`,
        `Check the spelling of ${host}, and that the proxy may connect to it; or ${direct}.`,
      ];
    case 504:
      return [
        `: ${host} did not answer the proxy in time`,
        `Check that the proxy may connect to ${host}: a firewall may drop its packets. Otherwise ${direct}.`,
      ];
    case 500:
    case 503:
      return [
        '',
        `The proxy is out of order or cannot reach ${host}: try again later, check the spelling of ${host}, or ${direct}.`,
      ];
    default:
      return ['', `Ask for ${host} to be allowed at the proxy, or ${direct}.`];
  }
}

/** RFC 9110, 11.7.1: a 407 names the kinds of login that the proxy accepts. */
function loginError(
  { status, headers }: ProxyReply,
  url: URL,
  proxy: URL | undefined,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): RegistryProxy {
  const name = proxy?.host ?? '';
  const variable = variableOf(url);
  const schemes = [
    ...new Set(
      parseChallenges(headers[status === 407 ? 'proxy-authenticate' : 'www-authenticate']).map(it => it.scheme),
    ),
  ];
  const found = status === 407 ? '407 Proxy Authentication Required' : String(status);
  if (schemes.length > 0 && !schemes.includes('basic')) {
    const kinds = schemes
      .slice(0, 4)
      .map(scheme => shortLine(NAMES.get(scheme) ?? scheme, 20))
      .join(' or ');
    return new RegistryProxy(
      `The proxy ${name} requires a login by ${kinds} to connect to ${url.host}, and plugin-mirror can only log in by Basic`,
      {
        ...details,
        found: `${found} (${kinds})`,
        hint: `Ask for Basic, or for this machine to need no login; or name in ${variable} another proxy, such as one on this machine that does the login (cntlm, px); or put ${url.host} in NO_PROXY if this machine can reach it directly.`,
      },
    );
  }
  return new RegistryProxy(`The proxy ${name} requires credentials to connect to ${url.host}`, {
    ...details,
    found,
    hint:
      proxy?.username === ''
        ? `Write them into ${variable} as http://USER:PASSWORD@${name}.`
        : `Check the user name and password in ${variable}; special characters must be percent-encoded.`,
  });
}

const NAMES: ReadonlyMap<string, string> = new Map([
  ['negotiate', 'Negotiate (Kerberos)'],
  ['ntlm', 'NTLM'],
  ['digest', 'Digest'],
  ['kerberos', 'Kerberos'],
]);
