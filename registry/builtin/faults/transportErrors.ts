import {
  RegistryDns,
  RegistryProtocol,
  RegistryProxy,
  RegistryRefusal,
  type RegistryRefusalDetails,
  RegistryRefused,
  RegistryTimeout,
  RegistryUnavailable,
} from '../../errors.ts';
import { printable, redactUrl } from '../../hosts/redact.ts';
import { type FailedRequest, tlsError } from './tlsErrors.ts';

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
  const { code, message } = reasonOf(error);
  const details = { subject: at.url.host, request, found: code || message, cause: error };
  const forwarded = at.proxy !== undefined && at.url.protocol === 'http:';
  if (forwarded && isConnectFault(code)) return proxyError(new TunnelFailed(message, undefined, error), at, request);
  return (
    tlsError(code, message, at, details) ??
    dnsError(code, at.url.hostname, details) ??
    connectionError(code, at, details)
  );
}

/** Returns the error for a reply of the proxy itself. */
export function proxyStatusError(status: number, at: FailedRequest): RegistryRefusal {
  const request = `${at.method} ${redactUrl(at.url)}`;
  return proxyError(new TunnelFailed(`the proxy answered ${status}`, status, undefined), at, request);
}

function proxyError(fault: TunnelFailed, { url, proxy }: FailedRequest, request: string): RegistryRefusal {
  const name = proxy?.host ?? 'the proxy';
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
  const isCertificate = /CERT|SIGNATURE|ALTNAME/.test(code);
  const speaksHttp = /WRONG_VERSION|PACKET_LENGTH|EPROTO/.test(`${code} ${message}`);
  return new RegistryProxy(
    `The proxy ${name} cannot be used to reach ${url.host}: ${wordsFor(code) ?? printable(message, 200)}`,
    {
      ...details,
      found: code || printable(message, 200),
      temporary: !isCertificate && !speaksHttp && code !== 'ENOTFOUND',
      hint: isCertificate
        ? `Add the authority that signed the proxy's certificate with --ca-file.`
        : speaksHttp
          ? `The proxy does not speak TLS: write ${variable} with http:// in front.`
          : `Check ${variable}, and that the proxy is running; NO_PROXY names hosts to be reached directly.`,
    },
  );
}

function dnsError(
  code: string,
  hostname: string,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): RegistryDns | undefined {
  if (code === 'EAI_AGAIN' || code === 'EAI_FAIL' || code === 'ESERVFAIL')
    return new RegistryDns(`The name server did not answer for ${hostname}`, {
      ...details,
      temporary: true,
      hint: "Check this machine's name server, or set HTTPS_PROXY if a proxy resolves names.",
    });
  if (code === 'ENOTFOUND' || code === 'ENODATA' || code === 'EAI_NODATA' || code === 'EAI_NONAME')
    return new RegistryDns(`There is no host named ${hostname}`, {
      ...details,
      hint: 'Check the spelling of the registry; behind a proxy, set HTTPS_PROXY.',
    });
  return undefined;
}

function connectionError(
  code: string,
  { url, timeoutMs }: FailedRequest,
  details: Omit<RegistryRefusalDetails, 'hint'> & { readonly found: string },
): RegistryRefusal {
  const temporary = true;
  if (code === 'ECONNREFUSED')
    return new RegistryRefused(`Nothing listens at ${url.host}: the connection was refused`, {
      ...details,
      temporary,
      hint: 'Check the host and port, and that the registry is running.',
    });
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT')
    return new RegistryTimeout(`${url.host} could not be reached in time`, {
      ...details,
      temporary,
      hint: 'A firewall may drop the packets: check that this machine may connect to the host, or set HTTPS_PROXY.',
    });
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return new RegistryTimeout(
      `${url.host} ${code === 'UND_ERR_BODY_TIMEOUT' ? 'stopped sending' : 'did not answer'} for ${timeoutMs / 1000} s`,
      { ...details, temporary, hint: 'Try again later, or allow more time with --timeout.' },
    );
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return new RegistryProtocol(`${url.host} sent more headers than the client accepts`, {
      ...details,
      expected: 'at most 256 KiB of headers',
      temporary,
      retryLimit: 1,
      hostwide: true,
      hint: 'A gateway in front of the registry adds too many cookies or other headers: its operator must fix it.',
    });
  if (code.startsWith('HPE_'))
    return new RegistryProtocol(`${url.host} sent a reply that is not HTTP`, {
      ...details,
      temporary,
      retryLimit: 2,
      hostwide: true,
      hint: 'Check the port: it may belong to something other than a registry.',
    });
  return new RegistryUnavailable(
    `The connection to ${url.host} broke: ${wordsFor(code) ?? printable(details.found, 200)}`,
    {
      ...details,
      temporary,
      hint:
        url.protocol === 'https:'
          ? 'Try again later. If it happens each time, the registry requires a client certificate (--cert-file, --key-file), or a firewall or proxy on the way cuts the connection.'
          : 'Try again later. If it happens each time, a firewall or proxy on the way may cut the connection.',
    },
  );
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
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return 'no known authority signed its TLS certificate';
    default:
      return undefined;
  }
}

function isConnectFault(code: string): boolean {
  return /^(?:ECONNREFUSED|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|ETIMEDOUT|CERT_|DEPTH_|SELF_|UNABLE_|ERR_TLS|EPROTO|ERR_SSL)/.test(
    code,
  );
}

/** For parser errors of llhttp that undici has no code for. */
const NAMELESS_PARSER_FAULT = 'HPE_UNKNOWN';

/** Where a name has several addresses, Node collects the error of each in an AggregateError. */
function reasonOf(error: unknown): { code: string; message: string } {
  if (error instanceof AggregateError && error.errors.length > 0) {
    const { code } = error as NodeJS.ErrnoException;
    const reasons = error.errors.map(reasonOf);
    return reasons.find(reason => reason.code === code) ?? reasons[0] ?? { code: code ?? '', message: error.message };
  }
  if (!(error instanceof Error)) return { code: '', message: String(error) };
  const { code, message, cause } = error as NodeJS.ErrnoException;
  if (code === undefined && cause instanceof Error) return reasonOf(cause);
  if (code === undefined && error.name === 'HTTPParserError') return { code: NAMELESS_PARSER_FAULT, message };
  return { code: code ?? '', message: message || error.name };
}
