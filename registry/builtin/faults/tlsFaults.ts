import { type RegistryRefusalDetails, RegistryTls } from '../../errors.ts';
import { printable } from '../../hosts/redact.ts';

type Details = Omit<RegistryRefusalDetails, 'hint'>;

/** What went wrong while TLS was set up, and what to do about it; undefined if the fault is another. */
export function refuseTls(code: string, message: string, at: Attempted, details: Details): RegistryTls | undefined {
  const { host } = at.url;
  const refuse = (what: string, hint: string): RegistryTls =>
    new RegistryTls(`${host} ${what}`, { ...details, hint: hint + inspectionHint(code, at) });
  const clock = `This machine's clock says ${new Date().toISOString()}: set it right if that is wrong`;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return refuse('has a TLS certificate that has expired', `${clock}; else the registry's operator must renew it.`);
    case 'CERT_NOT_YET_VALID':
      return refuse('has a TLS certificate that is not valid yet', `${clock}.`);
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return refuse(
        `has a TLS certificate for ${namesIn(message) ?? 'another name'}`,
        'Use the name that stands in the certificate, or check that no one else answers for the registry.',
      );
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_UNTRUSTED':
    case 'INVALID_CA':
      return refuse(
        'has a TLS certificate that no known authority signed',
        "Name the authority's certificate with --ca-file, or NODE_EXTRA_CA_CERTS.",
      );
    case 'CERT_REVOKED':
      return refuse('has a TLS certificate that was revoked', "The registry's operator must replace it.");
  }
  // ERR_SSL_WRONG_VERSION_NUMBER is what OpenSSL makes of the first bytes of an HTTP answer.
  if (
    /WRONG_VERSION_NUMBER|wrong version number|PACKET_LENGTH_TOO_LONG|packet length too long/.test(`${code} ${message}`)
  )
    return refuse('does not speak TLS at this port', 'If it is a plain http registry, say so with --plain-http.');
  if (
    /CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|certificate required|bad certificate/i.test(`${code} ${message}`)
  )
    return refuse(
      'does not accept our TLS certificate',
      'Give a client certificate and its key that the registry knows.',
    );
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') || code === 'EPROTO' || code.startsWith('CERT_'))
    return refuse(
      `could not agree on TLS with us (${code})`,
      /HANDSHAKE_FAILURE/.test(code)
        ? 'It may want a client certificate: name one with --cert-file and --key-file. Else check the TLS versions that it allows.'
        : 'Check the port, and the TLS versions that the registry allows.',
    );
  return undefined;
}

/** The names that Node's message lists, such as `DNS:a.example, DNS:b.example`. */
function namesIn(message: string): string | undefined {
  const names = /altnames: (DNS:.+)$/.exec(message)?.[1];
  return names === undefined ? undefined : printable(names.replaceAll('DNS:', ''), 120);
}

/** Proxies that look into TLS sign with an authority of their own, which is the commonest reason behind one. */
function inspectionHint(code: string, { proxy }: Attempted): string {
  if (proxy === undefined || !/SIGN|ISSUER/.test(code)) return '';
  return ` The proxy ${proxy.host} may look into TLS: then its authority is the one to name.`;
}

/** A request of which no answer came, as far as its fault is told by it. */
export interface Attempted {
  readonly method: string;
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly timeoutMs: number;
}
