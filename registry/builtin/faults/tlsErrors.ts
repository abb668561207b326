import { isIP } from 'node:net';
import type { Certificate, PeerCertificate } from 'node:tls';
import { shortLine } from '../../../base/printable.ts';
import { type RegistryRefusalDetails, RegistryTls } from '../../errors.ts';
import { bareHost } from '../../hosts/hosts.ts';
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

/** The facts about a certificate and its chain that messages contain. */
export interface ChainSummary {
  readonly subject: string;
  readonly issuer: string;
  /** The subject alternative names, such as `DNS:a.example, IP Address:10.0.0.1`; empty if there are none. */
  readonly names: string;
  /** The issuer of the last certificate that the server sent. */
  readonly root: string;
  /** True if the last certificate is self-signed: a root. */
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
    names: shortLine(leaf.subjectaltname ?? '', 300),
    root: nameOf(last.issuer),
    isComplete: JSON.stringify(last.issuer) === JSON.stringify(last.subject),
    length,
  };
}

/** The common name, otherwise the organisation; a certificate may have neither. */
function nameOf(name: Certificate | undefined): string {
  const [text] = [name?.CN ?? name?.O ?? ''].flat();
  return shortLine(String(text ?? ''), 80) || 'no name';
}

/** The fault of a server, as the rest of a sentence after its name, and the remedy. */
interface Fault {
  readonly what: string;
  readonly hint: string;
}

/** A hint about the server, whose operator is not always the registry's. */
type HintFor = (host: string) => string;

const REPLACE: HintFor = host => `The operator of ${host} must replace it.`;
const REISSUE: HintFor = host => `The operator of ${host} must replace it, or the authority that signed it.`;
/** Faults of certificate revocation lists (CRL), which are used only where Node is configured to. */
const REVOCATION_LIST: Fault = {
  what: 'has a TLS certificate whose revocation list is missing, damaged or out of date',
  hint: "Certificate revocation lists are not used here by default: check NODE_OPTIONS and Node's configuration.",
};

/** Faults for which the code says everything. Every code of OpenSSL that Node has a name for is here or in `faultOf`. */
const PLAIN_FAULTS: Readonly<Record<string, { readonly what: string; readonly hint: string | HintFor }>> = {
  CERT_REVOKED: { what: 'has a TLS certificate that was revoked', hint: REPLACE },
  CERT_REJECTED: { what: 'has a TLS certificate that its authority does not allow for this use', hint: REISSUE },
  CERT_UNTRUSTED: { what: 'has a TLS certificate of an authority that is not trusted for servers', hint: REISSUE },
  INVALID_CA: {
    what: 'has a TLS certificate that was signed by a certificate that is no authority',
    hint: 'The signing certificate must have the basic constraint CA:TRUE: issue both again. A certificate named with --ca-file must be that of an authority, or the very one that the server sends.',
  },
  INVALID_PURPOSE: {
    what: 'has a TLS certificate that is not for servers',
    hint: host => `Its extended key usage lacks serverAuth; it may be for clients only. ${REPLACE(host)}`,
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
  OUT_OF_MEM: { what: 'has a TLS certificate for whose check there was no memory', hint: 'Allow more memory.' },
};

/** Returns the fault of the certificate of the server at this URL. */
export function certificateFault({ code, chain }: CertificateRejected, { host, hostname }: URL): Fault {
  const clock = `This machine's clock says ${new Date().toISOString()}: set it if that is wrong`;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return {
        what: 'has a TLS certificate that has expired',
        hint: `${clock}; otherwise the operator of ${host} must renew the certificate.`,
      };
    case 'CERT_NOT_YET_VALID':
      return {
        what: 'has a TLS certificate that is not valid yet',
        hint: `${clock}; otherwise the operator of ${host} must replace the certificate.`,
      };
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'HOSTNAME_MISMATCH':
      return nameFault(chain, bareHost(hostname), host);
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return authorityFault(chain, host);
    default: {
      if (code.includes('CRL')) return REVOCATION_LIST;
      const { what, hint } = PLAIN_FAULTS[code] ?? {
        what: `has a TLS certificate that is not accepted (${shortLine(code, 80)})`,
        hint: REPLACE,
      };
      return { what, hint: typeof hint === 'string' ? hint : hint(host) };
    }
  }
}

function nameFault({ names, subject }: ChainSummary, name: string, host: string): Fault {
  const held = names === '' ? `no subject alternative names, only the common name "${subject}"` : names;
  if (isIP(name) === 0)
    return {
      what: `has a TLS certificate for another name: it holds ${held}`,
      hint:
        names === ''
          ? `Common names do not count: the operator of ${host} must add DNS:${name} to the subject alternative names.`
          : `Use a name that is in the certificate, or let the operator of ${host} add DNS:${name} to its subject alternative names. Another server may also answer at this address.`,
    };
  return {
    what: `has a TLS certificate without the IP address ${name} among its subject alternative names: it holds ${held}`,
    hint: `Common names and DNS names do not count for addresses: use a name that is in the certificate, or let the operator of ${host} add IP:${name} to its subject alternative names.`,
  };
}

function authorityFault({ length, isComplete, root }: ChainSummary, host: string): Fault {
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
    hint: `Name the certificate of "${root}" with --ca-file, or NODE_EXTRA_CA_CERTS; append it to the file if one is named already. If "${root}" is an intermediate authority, the operator of ${host} should send the whole chain.`,
  };
}

/** Returns the error for a failed TLS handshake; undefined if `error` is not one of TLS. `code` is from Node or OpenSSL. */
export function tlsError(
  error: unknown,
  { code, message }: { readonly code: string; readonly message: string },
  at: FailedRequest,
  details: Details,
): RegistryTls | undefined {
  const { host } = at.url;
  const make = ({ what, hint }: Fault, more = ''): RegistryTls =>
    new RegistryTls(blamed(at.namedBy, host, `${host} ${what}`), {
      ...details,
      hint: fixedBy(at.namedBy, host, hint + more),
    });
  if (error instanceof CertificateRejected)
    return make(certificateFault(error, at.url), inspectionHint(error.code, at));
  const fault = handshakeFault(code, message, at.url, at.namedBy);
  const more =
    at.proxy !== undefined && isOtherProtocol({ code, message })
      ? ` The proxy ${at.proxy.host} may also have answered in its place: check HTTPS_PROXY.`
      : '';
  return fault === undefined ? undefined : make(fault, more);
}

/** OpenSSL reports a wrong version number, or too long a packet, for the first bytes of another protocol. */
export function isOtherProtocol({ code, message }: { readonly code: string; readonly message: string }): boolean {
  return /WRONG.VERSION.NUMBER|PACKET.LENGTH.TOO.LONG|HTTPS?.(?:PROXY.)?REQUEST/i.test(`${code} ${message}`);
}

/** OpenSSL's names of reasons and alerts of a handshake, and their meanings. The first row that fits counts. */
const HANDSHAKE_FAULTS: readonly (readonly [reason: RegExp, what: string, hint: (at: URL) => string])[] = [
  [
    /CERTIFICATE.EXPIRED/,
    'reports that the client certificate has expired',
    () => 'Renew the client certificate, and name it with --cert-file and --key-file.',
  ],
  [
    /CERTIFICATE.REQUIRED/,
    'requires a client certificate',
    ({ host }) => `Name a client certificate that ${host} knows, with --cert-file and --key-file.`,
  ],
  [
    /BAD.CERTIFICATE|UNKNOWN.CA|CERTIFICATE.(?:REVOKED|UNKNOWN)|UNSUPPORTED.CERTIFICATE|ACCESS.DENIED/,
    'does not accept the client certificate, or requires one',
    ({ host }) => `Name a client certificate that ${host} knows, with --cert-file and --key-file.`,
  ],
  [
    /UNSUPPORTED.PROTOCOL|PROTOCOL.VERSION|NO.PROTOCOLS|VERSION.TOO.LOW|INAPPROPRIATE.FALLBACK/,
    'offers no version of TLS that this client accepts',
    ({ host }) => `TLS 1.2 or newer is needed: the operator of ${host} must enable it.`,
  ],
  [
    /UNRECOGNIZED.NAME/,
    'has no TLS certificate for this host name',
    ({ hostname, host }) =>
      `Check the spelling of ${hostname}; if it is right, the operator of ${host} must set up a certificate for it.`,
  ],
  [
    /ALERT.INTERNAL.ERROR/,
    'reports an internal error of its own during the TLS handshake',
    ({ hostname, host }) =>
      `It may have no certificate for ${hostname}: check the name. Otherwise the operator of ${host} finds the reason in its log.`,
  ],
  [
    /HANDSHAKE.FAILURE|SHARED.CIPHER|NO.CIPHERS|INSUFFICIENT.SECURITY|NO.SUITABLE/,
    'found no TLS version and cipher that this client accepts too',
    ({ host }) =>
      `It may want a client certificate: name one with --cert-file and --key-file. Otherwise the operator of ${host} must allow TLS 1.2 or newer with a current cipher.`,
  ],
  [
    /KEY.TOO.SMALL|MD.TOO.WEAK|LEGACY.SIGALG|WRONG.SIGNATURE.TYPE|LEGACY.RENEGOTIATION|MODULUS.TOO.SMALL/,
    'uses TLS keys or settings that are too weak for this client',
    ({ host }) => `The operator of ${host} must use stronger keys and a current TLS library.`,
  ],
  [
    /RECORD.MAC|DECRYPT|DECODE|BAD.LENGTH|LENGTH.MISMATCH|UNEXPECTED.MESSAGE|DIGEST.CHECK|BAD.EXTENSION|BAD.RECORD/,
    'sent TLS data that cannot be read',
    () =>
      'A firewall or proxy on the way may change the bytes: try again from another network, or name a proxy with HTTPS_PROXY.',
  ],
  [
    /ILLEGAL.PARAMETER|(?:MISSING|UNSUPPORTED).EXTENSION|RECORD.OVERFLOW/,
    'does not accept how this client begins TLS',
    ({ host }) =>
      `A firewall or proxy on the way may change the handshake; otherwise the operator of ${host} must update its TLS library.`,
  ],
  [
    /NO.APPLICATION.PROTOCOL/,
    'does not offer HTTP/1.1 over TLS',
    ({ host }) => `The operator of ${host} must allow HTTP/1.1 in addition to newer versions.`,
  ],
];

/** Returns the fault of a failed TLS handshake; undefined if the error is not one of TLS. `code` is from Node or OpenSSL. */
export function handshakeFault(code: string, message: string, at: URL, namedBy?: NamedBy): Fault | undefined {
  if (isOtherProtocol({ code, message }))
    return {
      what: 'does not speak TLS at this port',
      hint:
        namedBy === undefined
          ? `If it is a registry without TLS, name it with --plain-http ${at.host}.`
          : `The port probably speaks plain http: then ${at.host} needs TLS, or its address must begin with http://.`,
    };
  // A connection that ends during the handshake is one that broke.
  if (!/^ERR_(?:SSL|TLS|OSSL)_|^EPROTO$/.test(code) || /UNEXPECTED.EOF/i.test(`${code} ${message}`)) return undefined;
  const reasons = `${code} ${message}`.toUpperCase();
  const [, what, hint] = HANDSHAKE_FAULTS.find(([reason]) => reason.test(reasons)) ?? [];
  if (what !== undefined && hint !== undefined) return { what, hint: hint(at) };
  return {
    what: `could not agree on TLS with this client (${code})`,
    hint: `Check the port, and the TLS versions that ${at.host} allows.`,
  };
}

/** Proxies that inspect TLS sign with an authority of their own: the most common cause of an unknown one behind a proxy. */
function inspectionHint(code: string, { proxy }: FailedRequest): string {
  if (proxy === undefined || !/SIGN|ISSUER/.test(code)) return '';
  return ` The proxy ${proxy.host} may inspect TLS: then name its authority.`;
}
