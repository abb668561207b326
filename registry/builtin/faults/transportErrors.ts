import {
  RegistryDns,
  RegistryProtocol,
  RegistryProxy,
  RegistryRedirect,
  RegistryRefusal,
  type RegistryRefusalDetails,
  RegistryRefused,
  RegistryTimeout,
  RegistryUnavailable,
} from '../../errors.ts';
import { AddressForbidden, DialFailed } from '../../hosts/dial.ts';
import { printable, redactUrl } from '../../hosts/redact.ts';
import { blamed, fixedBy } from './blame.ts';
import { CertificateRejected, certificateFault, type FailedRequest, tlsError } from './tlsErrors.ts';

/** The proxy failed before the registry was reached; `status` is its own reply's, if there was one. */
export class TunnelFailed extends Error {
  override readonly name = 'TunnelFailed';
  readonly status: number | undefined;

  constructor(message: string, status: number | undefined, cause: unknown) {
    super(message, { cause });
    this.status = status;
  }
}

/** Returns the error of this room for what undici, node:net or node:tls throw: no reply, or a body that breaks off. */
export function transportError(error: unknown, at: FailedRequest): RegistryRefusal {
  if (error instanceof RegistryRefusal) return error;
  const request = `${at.method} ${redactUrl(at.url)}`;
  if (error instanceof TunnelFailed) return proxyError(error, at, request);
  if (error instanceof AddressForbidden) return forbiddenError(error, at, request);
  const reason = reasonOf(error);
  const found = addressesIn(error) ?? (reason.code || reason.message);
  const details = { subject: at.url.host, request, found, cause: error };
  return (
    tlsError(error, reason, at, details) ??
    dnsError(reason.code, at, details) ??
    connectionError(reason.code, at, details)
  );
}

/** Returns the error for a reply with status 407: of the proxy, or of something that no variable names. */
export function proxyStatusError(status: number, at: FailedRequest): RegistryRefusal {
  const request = `${at.method} ${redactUrl(at.url)}`;
  if (at.proxy !== undefined)
    return proxyError(new TunnelFailed(`the proxy answered ${status}`, status, undefined), at, request);
  return new RegistryProxy(`${at.url.host} answered ${status} Proxy Authentication Required, but no proxy is set`, {
    subject: at.url.host,
    request,
    status,
    found: `${status} without a proxy in HTTP_PROXY or HTTPS_PROXY`,
    hint: `A proxy that the network puts in the way, or ${at.url.host} itself, wants credentials: set HTTPS_PROXY or HTTP_PROXY to the network's proxy with its login, or check that the host is a registry.`,
  });
}

/** A registry must not send this client to addresses that only this machine or its network can reach. */
function forbiddenError({ address, kind }: AddressForbidden, { url, namedBy }: FailedRequest, request: string) {
  const registry = namedBy?.registry ?? url.host;
  const never = kind === 'metadata';
  const network = never ? 'a link-local or metadata' : `a ${kind}`;
  const details = {
    subject: url.host,
    request,
    expected: never
      ? 'an address outside of link-local networks'
      : `a public address, or ${registry} in a ${kind} network, too`,
    found: address,
    faultIn: registry,
    hostwide: true,
    hint: never
      ? `Requests to such addresses are never sent. Check the name of ${registry}; if it is right, its operator must correct the address.`
      : `Allow the host with --allow-host ${url.host} if it is yours. Otherwise check the name of ${registry}, whose operator must correct the address.`,
  };
  return namedBy?.role === 'token server'
    ? new RegistryProtocol(
        `${registry} names a token server that must not be sent requests or credentials: ${url.host} has ${network} address`,
        details,
      )
    : new RegistryRedirect(
        `${registry} ${namedBy?.role === 'upload host' ? 'sends uploads' : 'redirects'} to ${url.host}, which has ${network} address`,
        details,
      );
}

function proxyError(fault: TunnelFailed, { url, proxy }: FailedRequest, request: string): RegistryRefusal {
  const name = proxy?.host ?? '';
  const variable = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const details = {
    subject: url.host,
    faultIn: name,
    request,
    cause: fault,
    ...(fault.status ? { status: fault.status } : {}),
  };
  if (fault.status === 407)
    return new RegistryProxy(`The proxy ${name} requires credentials to connect to ${url.host}`, {
      ...details,
      found: '407 Proxy Authentication Required',
      hint:
        proxy?.username === ''
          ? `Write them into ${variable} as http://USER:PASSWORD@${name}.`
          : `Check the user name and password in ${variable}; special characters must be percent-encoded.`,
    });
  if (fault.status !== undefined)
    return new RegistryProxy(`The proxy ${name} did not connect to ${url.host}: it answered ${fault.status}`, {
      ...details,
      found: String(fault.status),
      temporary: [408, 429, 500, 502, 503, 504].includes(fault.status),
      hint: `Ask for ${url.host} to be allowed at the proxy, or put it in NO_PROXY if it can be reached directly.`,
    });
  const { code, message } = reasonOf(fault.cause);
  const certificate =
    fault.cause instanceof CertificateRejected ? certificateFault(fault.cause, proxy?.hostname ?? '') : undefined;
  const speaksHttp = /WRONG_VERSION|PACKET_LENGTH|EPROTO/.test(`${code} ${message}`);
  const why = certificate === undefined ? (wordsFor(code) ?? printable(message, 200)) : `it ${certificate.what}`;
  return new RegistryProxy(`The proxy ${name} cannot be used to reach ${url.host}: ${why}`, {
    ...details,
    found: addressesIn(fault.cause) ?? (code || printable(message, 200)),
    temporary: certificate === undefined && !speaksHttp && code !== 'ENOTFOUND',
    hint:
      certificate?.hint ??
      (speaksHttp
        ? `The proxy does not speak TLS: write ${variable} with http:// in front.`
        : `Check ${variable}, and that the proxy is running; NO_PROXY names hosts to be reached directly.`),
  });
}

function dnsError(
  code: string,
  { url: { host, hostname }, namedBy }: FailedRequest,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): RegistryDns | undefined {
  if (code === 'EAI_AGAIN' || code === 'EAI_FAIL' || code === 'ESERVFAIL')
    return new RegistryDns(blamed(namedBy, host, `The name server did not answer for ${hostname}`), {
      ...details,
      temporary: true,
      hint: fixedBy(namedBy, host, "Check this machine's name server, or set HTTPS_PROXY if a proxy resolves names."),
    });
  if (code === 'ENOTFOUND' || code === 'ENODATA' || code === 'EAI_NODATA' || code === 'EAI_NONAME')
    return new RegistryDns(blamed(namedBy, host, `There is no host named ${hostname}`), {
      ...details,
      hint:
        namedBy === undefined
          ? 'Check the spelling of the registry; behind a proxy, set HTTPS_PROXY.'
          : fixedBy(namedBy, host, "It may be known only to another network's name server."),
    });
  return undefined;
}

function connectionError(
  code: string,
  { url, timeoutMs, namedBy }: FailedRequest,
  details: Omit<RegistryRefusalDetails, 'hint'> & { readonly found: string },
): RegistryRefusal {
  const { host } = url;
  const make = (
    Kind: new (message: string, details: RegistryRefusalDetails) => RegistryRefusal,
    message: string,
    hint: string,
    more: Omit<RegistryRefusalDetails, 'hint'> = {},
  ): RegistryRefusal =>
    new Kind(blamed(namedBy, host, message), {
      ...details,
      temporary: true,
      ...more,
      hint: fixedBy(namedBy, host, hint),
    });
  if (code === 'ECONNREFUSED')
    return make(
      RegistryRefused,
      `Nothing listens at ${host}: the connection was refused`,
      namedBy === undefined
        ? 'Check the host and port, and that the registry is running.'
        : 'Check that it is running.',
    );
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT')
    return make(
      RegistryTimeout,
      `${host} could not be reached in time`,
      'A firewall may drop the packets: check that this machine may connect to the host, or set HTTPS_PROXY.',
    );
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return make(
      RegistryTimeout,
      `${host} ${code === 'UND_ERR_BODY_TIMEOUT' ? 'stopped sending' : 'did not answer'} for ${timeoutMs / 1000} s`,
      'Try again later, or allow more time with --timeout.',
    );
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return make(
      RegistryProtocol,
      `${host} sent more headers than the client accepts`,
      'A gateway in front of the registry adds too many cookies or other headers: its operator must fix it.',
      { expected: 'at most 256 KiB of headers', retryLimit: 1, hostwide: true },
    );
  if (code.startsWith('HPE_'))
    return make(
      RegistryProtocol,
      `${host} sent a reply that is not HTTP`,
      'Check the port: it may belong to something other than a registry.',
      { retryLimit: 2, hostwide: true },
    );
  return make(
    RegistryUnavailable,
    `The connection to ${host} broke: ${wordsFor(code) ?? printable(details.found, 200)}`,
    url.protocol === 'https:'
      ? 'Try again later. If it happens each time, the registry requires a client certificate (--cert-file, --key-file), or a firewall or proxy on the way cuts the connection.'
      : 'Try again later. If it happens each time, a firewall or proxy on the way may cut the connection.',
  );
}

/** Returns what became of each address of a host that has several; undefined for any other error. */
function addressesIn(error: unknown): string | undefined {
  if (!(error instanceof DialFailed) || error.attempts.length < 2) return undefined;
  return error.attempts.map(({ address, code }) => `${address}: ${wordsFor(code) ?? code}`).join('; ');
}

function wordsFor(code: string): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'it was reset';
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return 'it was closed before the answer was complete';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return 'there is no route to it';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name is unknown';
    case 'ETIMEDOUT':
      return 'it did not answer in time';
    default:
      return undefined;
  }
}

/** For parser errors of llhttp that undici has no code for. */
const NAMELESS_PARSER_FAULT = 'HPE_UNKNOWN';

function reasonOf(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: '', message: String(error) };
  const { code, message, cause } = error as NodeJS.ErrnoException;
  if (code === undefined && cause instanceof Error) return reasonOf(cause);
  if (code === undefined && error.name === 'HTTPParserError') return { code: NAMELESS_PARSER_FAULT, message };
  return { code: code ?? '', message: message || error.name };
}
