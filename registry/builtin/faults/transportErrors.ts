import { shortLine } from '../../../base/printable.ts';
import {
  RegistryDns,
  RegistryProtocol,
  RegistryRedirect,
  RegistryRefusal,
  type RegistryRefusalDetails,
  RegistryRefused,
  RegistryTimeout,
  RegistryUnavailable,
} from '../../errors.ts';
import { AddressForbidden } from '../../hosts/dial.ts';
import { redactUrl } from '../../hosts/hosts.ts';
import { addressesIn, blamed, fixedBy, reasonOf, wordsFor } from './blame.ts';
import { proxyError, TunnelFailed } from './proxyErrors.ts';
import { type FailedRequest, tlsError } from './tlsErrors.ts';

/** Returns the error of this room for what undici, node:net or node:tls throw: no reply, or a body that breaks off. */
export function transportError(error: unknown, at: FailedRequest): RegistryRefusal {
  if (error instanceof RegistryRefusal) return error;
  const request = `${at.method} ${redactUrl(at.url)}`;
  if (error instanceof TunnelFailed) return proxyError(error, at);
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
    `The connection to ${host} broke: ${wordsFor(code) ?? shortLine(details.found, 200)}`,
    url.protocol === 'https:'
      ? 'Try again later. If it happens each time, the registry requires a client certificate (--cert-file, --key-file), or a firewall or proxy on the way cuts the connection.'
      : namedBy === undefined
        ? 'Try again later. If it happens each time, a firewall or proxy on the way may cut the connection.'
        : 'Try again later. If it happens each time, the port may speak TLS, so that its address must begin with https://, or a firewall or proxy on the way cuts the connection.',
  );
}
