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
import { TunnelFailed } from '../transport/tunnel.ts';
import type { Attempted } from './tlsFaults.ts';
import { refuseTls } from './tlsFaults.ts';

/** Names what undici, node:net and node:tls throw when no answer comes, or when its body breaks off. */
export function refuseTransport(error: unknown, at: Attempted): RegistryRefusal {
  if (error instanceof RegistryRefusal) return error;
  const request = `${at.method} ${redactUrl(at.url)}`;
  if (error instanceof TunnelFailed) return refuseProxy(error, at, request);
  const { code, message } = reasonOf(error);
  const details = { subject: at.url.host, request, found: code || message, cause: error };
  const forwarded = at.proxy !== undefined && at.url.protocol === 'http:';
  if (forwarded && isConnectFault(code)) return refuseProxy(new TunnelFailed(message, undefined, error), at, request);
  return (
    refuseTls(code, message, at, details) ??
    refuseName(code, at.url.hostname, details) ??
    refuseConnection(code, at, details)
  );
}

/** A proxy's own answer, or why there was none. */
export function refuseProxyStatus(status: number, at: Attempted): RegistryRefusal {
  const request = `${at.method} ${redactUrl(at.url)}`;
  return refuseProxy(new TunnelFailed(`the proxy answered ${status}`, status, undefined), at, request);
}

function refuseProxy(fault: TunnelFailed, { url, proxy }: Attempted, request: string): RegistryRefusal {
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
    return new RegistryProxy(`The proxy ${name} wants credentials before it connects to ${url.host}`, {
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
      hint: `Ask for ${url.host} to be allowed at the proxy, or put it into NO_PROXY if it can be reached directly.`,
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
          : `Check ${variable}, and whether the proxy runs; NO_PROXY names hosts to be reached directly.`,
    },
  );
}

function refuseName(
  code: string,
  hostname: string,
  details: Omit<RegistryRefusalDetails, 'hint'>,
): RegistryDns | undefined {
  if (code === 'EAI_AGAIN' || code === 'EAI_FAIL' || code === 'ESERVFAIL')
    return new RegistryDns(`The name server gave no answer for ${hostname}`, {
      ...details,
      temporary: true,
      hint: 'Check that this machine has a working name server, or set HTTPS_PROXY if names are resolved by a proxy.',
    });
  if (code === 'ENOTFOUND' || code === 'ENODATA' || code === 'EAI_NODATA' || code === 'EAI_NONAME')
    return new RegistryDns(`There is no host named ${hostname}`, {
      ...details,
      hint: 'Check how the registry is spelt; behind a proxy, set HTTPS_PROXY.',
    });
  return undefined;
}

function refuseConnection(
  code: string,
  { url, timeoutMs }: Attempted,
  details: Omit<RegistryRefusalDetails, 'hint'> & { readonly found: string },
): RegistryRefusal {
  const temporary = true;
  if (code === 'ECONNREFUSED')
    return new RegistryRefused(`Nothing listens at ${url.host}: the connection was refused`, {
      ...details,
      temporary,
      hint: 'Check the host and port, and that the registry runs.',
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
    return new RegistryProtocol(`${url.host} answered with more headers than anybody reads`, {
      ...details,
      expected: 'at most 256 KiB of headers',
      temporary,
      retryLimit: 1,
      hostwide: true,
      hint: 'Something before the registry adds cookies or other headers without end: its operator must mend it.',
    });
  if (code.startsWith('HPE_'))
    return new RegistryProtocol(`What ${url.host} answered is not HTTP`, {
      ...details,
      temporary,
      retryLimit: 2,
      hostwide: true,
      hint: 'Check the port: something else than a registry may listen there.',
    });
  return new RegistryUnavailable(
    `The connection to ${url.host} broke: ${wordsFor(code) ?? printable(details.found, 200)}`,
    {
      ...details,
      temporary,
      hint:
        url.protocol === 'https:'
          ? 'If it happens each time, the registry wants a client certificate (--cert-file, --key-file), or a firewall or proxy on the way cuts the connection; else try again later.'
          : 'Try again later; if it happens each time, a firewall or proxy on the way may cut the connection.',
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

/** llhttp has reasons that undici knows no name for. */
const NAMELESS_PARSER_FAULT = 'HPE_UNKNOWN';

/** With several addresses for one name, Node gathers what each of them said. */
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
