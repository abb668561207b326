import { isIP } from 'node:net';
import type { Certificate, PeerCertificate } from 'node:tls';
import { type RegistryRefusalDetails, RegistryTls } from '../../errors.ts';
import { bareHost } from '../../hosts/hosts.ts';
import { printable } from '../../hosts/redact.ts';
import type { NamedBy } from '../http/reply.ts';
import { blamed, fixedBy } from './blame.ts';

type Details = Omit<RegistryRefusalDetails, 'hint'>;

/** A request that got no reply, as far as its error message needs it. */
export interface FailedRequest {
  readonly method: string;
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly timeoutMs: number;
  readonly namedBy?: NamedBy | undefined;
}

/** What messages say of a certificate and of the chain that the server sent with it. */
export interface ChainSummary {
  readonly subject: string;
  readonly issuer: string;
  /** The subject alternative names, such as `DNS:a.example, IP Address:10.0.0.1`; empty if there are none. */
  readonly names: string;
  /** Who signed the last certificate that the server sent. */
  readonly root: string;
  /** True if the last certificate is signed by itself. */
  readonly isComplete: boolean;
  /** How many certificates the server sent. */
  readonly length: number;
}

/** The certificate of a server was not accepted. `code` is Node's or OpenSSL's (X509_V_ERR without the prefix). */
export class CertificateRejected extends Error {
  override readonly name = 'CertificateRejected';
  readonly code: string;
  readonly chain: ChainSummary;

  constructor(code: string, chain: ChainSummary) {
    super(`the certificate was not accepted: ${code}`);
    this.code = code;
    this.chain = chain;
  }
}

const MOST_IN_CHAIN = 20;

/** Summarizes `getPeerCertificate(true)`. */
export function summarizeChain(leaf: PeerCertificate): ChainSummary {
  let last: PeerCertificate & { readonly issuerCertificate?: PeerCertificate } = leaf;
  let length = 1;
  const next = (): PeerCertificate | undefined => last.issuerCertificate;
  for (let up = next(); up !== undefined && up !== last && length < MOST_IN_CHAIN; up = next()) {
    if (up.fingerprint256 === last.fingerprint256) break;
    last = up;
    length += 1;
  }
  return {
    subject: nameOf(leaf.subject),
    issuer: nameOf(leaf.issuer),
    names: printable(leaf.subjectaltname ?? '', 300),
    root: nameOf(last.issuer),
    isComplete: JSON.stringify(last.issuer) === JSON.stringify(last.subject),
    length,
  };
}

/** The common name, otherwise the organisation; a certificate may have neither. */
function nameOf(name: Certificate | undefined): string {
  const [text] = [name?.CN ?? name?.O ?? ''].flat();
  return printable(String(text ?? ''), 80) || 'no name';
}

/** What a server did wrong, as the rest of a sentence after its name, and what to do. */
interface Fault {
  readonly what: string;
  readonly hint: string;
}

const REPLACE = "The server's operator must replace it.";
const REISSUE = "The server's operator must replace it, or the authority that signed it.";
const OUTDATED =
  "Certificate revocation lists are not used here by default: check NODE_OPTIONS and Node's configuration.";

/** Faults for which the code says everything. Every code of OpenSSL that Node has a name for is here or in `faultOf`. */
const PLAIN_FAULTS: Readonly<Record<string, Fault>> = {
  CERT_REVOKED: { what: 'has a TLS certificate that was revoked', hint: REPLACE },
  CERT_REJECTED: { what: 'has a TLS certificate that its authority does not allow for this use', hint: REISSUE },
  CERT_UNTRUSTED: { what: 'has a TLS certificate of an authority that is not trusted for servers', hint: REISSUE },
  INVALID_CA: {
    what: 'has a TLS certificate that was signed by a certificate that is no authority',
    hint: 'The signing certificate must have the basic constraint CA:TRUE: issue both again. A certificate named with --ca-file must be that of an authority, or the very one that the server sends.',
  },
  INVALID_PURPOSE: {
    what: 'has a TLS certificate that is not for servers',
    hint: 'Its extended key usage lacks serverAuth; it may be for clients only. The server’s operator must replace it.',
  },
  PATH_LENGTH_EXCEEDED: {
    what: 'has a TLS certificate with more intermediate authorities than one of them allows',
    hint: REISSUE,
  },
  CERT_CHAIN_TOO_LONG: { what: 'sends too long a chain of TLS certificates', hint: REISSUE },
  CERT_SIGNATURE_FAILURE: {
    what: 'has a TLS certificate whose signature is wrong',
    hint: 'An authority of the same name may have a new key: name its current certificate with --ca-file. Otherwise the certificate is damaged.',
  },
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: { what: 'has a TLS certificate whose signature cannot be read', hint: REISSUE },
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: {
    what: 'has a TLS certificate of an authority whose key cannot be read',
    hint: REISSUE,
  },
  ERROR_IN_CERT_NOT_BEFORE_FIELD: { what: 'has a TLS certificate with an unreadable date of issue', hint: REPLACE },
  ERROR_IN_CERT_NOT_AFTER_FIELD: { what: 'has a TLS certificate with an unreadable date of expiry', hint: REPLACE },
  UNABLE_TO_GET_CRL: { what: 'has a TLS certificate without a revocation list', hint: OUTDATED },
  UNABLE_TO_DECRYPT_CRL_SIGNATURE: { what: 'has a TLS certificate with an unreadable revocation list', hint: OUTDATED },
  CRL_SIGNATURE_FAILURE: { what: 'has a TLS certificate with a wrongly signed revocation list', hint: OUTDATED },
  CRL_NOT_YET_VALID: { what: 'has a TLS certificate with a revocation list that is not valid yet', hint: OUTDATED },
  CRL_HAS_EXPIRED: { what: 'has a TLS certificate with an expired revocation list', hint: OUTDATED },
  ERROR_IN_CRL_LAST_UPDATE_FIELD: { what: 'has a TLS certificate with a damaged revocation list', hint: OUTDATED },
  ERROR_IN_CRL_NEXT_UPDATE_FIELD: { what: 'has a TLS certificate with a damaged revocation list', hint: OUTDATED },
  OUT_OF_MEM: { what: 'has a TLS certificate for whose check there was no memory', hint: 'Allow more memory.' },
};

/** Returns the fault of a certificate that was not accepted. `hostname` is as in URLs. */
export function certificateFault({ code, chain }: CertificateRejected, hostname: string): Fault {
  const clock = `This machine's clock says ${new Date().toISOString()}: set it if that is wrong`;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return {
        what: 'has a TLS certificate that has expired',
        hint: `${clock}; otherwise the registry's operator must renew the certificate.`,
      };
    case 'CERT_NOT_YET_VALID':
      return { what: 'has a TLS certificate that is not valid yet', hint: `${clock}.` };
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'HOSTNAME_MISMATCH':
      return nameFault(chain, bareHost(hostname));
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return authorityFault(chain);
    default:
      return (
        PLAIN_FAULTS[code] ?? {
          what: `has a TLS certificate that is not accepted (${printable(code, 80)})`,
          hint: REPLACE,
        }
      );
  }
}

function nameFault({ names, subject }: ChainSummary, host: string): Fault {
  const held = names === '' ? `no subject alternative names, only the common name "${subject}"` : names;
  if (isIP(host) === 0)
    return {
      what: `has a TLS certificate for another name: it holds ${held}`,
      hint:
        names === ''
          ? "Common names do not count: the server's operator must add the host as a DNS name to the subject alternative names."
          : 'Use a name that is in the certificate, or check that no other server answers at this address.',
    };
  return {
    what: `has a TLS certificate without the IP address ${host} among its subject alternative names: it holds ${held}`,
    hint: `Common names and DNS names do not count for addresses: use a name that is in the certificate, or let the server's operator add IP:${host} to its subject alternative names.`,
  };
}

function authorityFault({ length, isComplete, root }: ChainSummary): Fault {
  const what = 'has a TLS certificate that no known authority signed';
  if (isComplete && length === 1)
    return {
      what: `${what}: it is self-signed`,
      hint: 'Name this certificate with --ca-file, or NODE_EXTRA_CA_CERTS, if it is the right one.',
    };
  if (isComplete)
    return {
      what: `${what}: the chain ends at "${root}"`,
      hint: `Name the certificate of "${root}" with --ca-file, or NODE_EXTRA_CA_CERTS.`,
    };
  return {
    what: `${what}: it was signed by "${root}", and the server does not send that certificate`,
    hint: `Name the certificate of "${root}" with --ca-file, or NODE_EXTRA_CA_CERTS; append it to the file if one is named already. If "${root}" is an intermediate authority, the server's operator should send the whole chain.`,
  };
}

/** Returns the error for a failed TLS handshake; undefined if `error` is not one of TLS. `code` is from Node or OpenSSL. */
export function tlsError(
  error: unknown,
  { code, message }: { readonly code: string; readonly message: string },
  at: FailedRequest,
  details: Details,
): RegistryTls | undefined {
  const { host, hostname } = at.url;
  const make = ({ what, hint }: Fault, more = ''): RegistryTls =>
    new RegistryTls(blamed(at.namedBy, host, `${host} ${what}`), {
      ...details,
      hint: fixedBy(at.namedBy, host, hint + more),
    });
  if (error instanceof CertificateRejected)
    return make(certificateFault(error, hostname), inspectionHint(error.code, at));
  const fault = handshakeFault(code, message);
  return fault === undefined ? undefined : make(fault);
}

function handshakeFault(code: string, message: string): Fault | undefined {
  const both = `${code} ${message}`;
  // OpenSSL reports a wrong version number for the first bytes of an HTTP reply.
  if (/WRONG_VERSION_NUMBER|wrong version number|PACKET_LENGTH_TOO_LONG|packet length too long/.test(both))
    return {
      what: 'does not speak TLS at this port',
      hint: 'If it is a registry without TLS, name it with --plain-http.',
    };
  if (/CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|certificate required|bad certificate/i.test(both))
    return {
      what: 'does not accept our TLS certificate',
      hint: 'Name a client certificate that the registry knows, with --cert-file and --key-file.',
    };
  if (!code.startsWith('ERR_SSL_') && !code.startsWith('ERR_TLS_') && code !== 'EPROTO') return undefined;
  return {
    what: `could not agree on TLS with us (${code})`,
    hint: /HANDSHAKE_FAILURE/.test(code)
      ? 'It may want a client certificate: name one with --cert-file and --key-file. Otherwise check the TLS versions that it allows.'
      : 'Check the port, and the TLS versions that the registry allows.',
  };
}

/** Proxies that inspect TLS sign with an authority of their own: the most common cause of an unknown one behind a proxy. */
function inspectionHint(code: string, { proxy }: FailedRequest): string {
  if (proxy === undefined || !/SIGN|ISSUER/.test(code)) return '';
  return ` The proxy ${proxy.host} may inspect TLS: then name its authority.`;
}
