import { type RegistryRefusalDetails, RegistryTls } from '../../errors.ts';
import { printable } from '../../hosts/redact.ts';

type Details = Omit<RegistryRefusalDetails, 'hint'>;

/** A request that got no reply, as far as its error message needs it. */
export interface FailedRequest {
  readonly method: string;
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly timeoutMs: number;
}

/** Returns the error for a failed TLS handshake; undefined if `code`, from Node or OpenSSL, is not one of TLS. */
export function tlsError(code: string, message: string, at: FailedRequest, details: Details): RegistryTls | undefined {
  const { host } = at.url;
  const error = (what: string, hint: string): RegistryTls =>
    new RegistryTls(`${host} ${what}`, { ...details, hint: hint + inspectionHint(code, at) });
  const clock = `This machine's clock says ${new Date().toISOString()}: set it if that is wrong`;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return error(
        'has a TLS certificate that has expired',
        `${clock}; otherwise the registry's operator must renew the certificate.`,
      );
    case 'CERT_NOT_YET_VALID':
      return error('has a TLS certificate that is not valid yet', `${clock}.`);
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return error(
        `has a TLS certificate for ${namesIn(message) ?? 'another name'}`,
        'Use a name that is in the certificate, or check that no other server answers at this address.',
      );
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_UNTRUSTED':
    case 'INVALID_CA':
      return error(
        'has a TLS certificate that no known authority signed',
        "Name the authority's certificate with --ca-file, or NODE_EXTRA_CA_CERTS.",
      );
    case 'CERT_REVOKED':
      return error('has a TLS certificate that was revoked', "The registry's operator must replace it.");
  }
  // OpenSSL reports a wrong version number for the first bytes of an HTTP reply.
  if (
    /WRONG_VERSION_NUMBER|wrong version number|PACKET_LENGTH_TOO_LONG|packet length too long/.test(`${code} ${message}`)
  )
    return error('does not speak TLS at this port', 'If it is a registry without TLS, name it with --plain-http.');
  if (
    /CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|certificate required|bad certificate/i.test(`${code} ${message}`)
  )
    return error(
      'does not accept our TLS certificate',
      'Name a client certificate that the registry knows, with --cert-file and --key-file.',
    );
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') || code === 'EPROTO' || code.startsWith('CERT_'))
    return error(
      `could not agree on TLS with us (${code})`,
      /HANDSHAKE_FAILURE/.test(code)
        ? 'It may want a client certificate: name one with --cert-file and --key-file. Otherwise check the TLS versions that it allows.'
        : 'Check the port, and the TLS versions that the registry allows.',
    );
  return undefined;
}

/** The names in Node's message, such as `DNS:a.example, DNS:b.example`. */
function namesIn(message: string): string | undefined {
  const names = /altnames: (DNS:.+)$/.exec(message)?.[1];
  return names === undefined ? undefined : printable(names.replaceAll('DNS:', ''), 120);
}

/** Proxies that inspect TLS sign with an authority of their own: the most common cause of an unknown one behind a proxy. */
function inspectionHint(code: string, { proxy }: FailedRequest): string {
  if (proxy === undefined || !/SIGN|ISSUER/.test(code)) return '';
  return ` The proxy ${proxy.host} may inspect TLS: then name its authority.`;
}
