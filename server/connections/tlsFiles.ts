import { createPrivateKey, X509Certificate } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { opensslWords } from '../../base/openssl.ts';
import { isCertificate, isDer, pemBlocks } from '../../base/pem.ts';
import { isUtf16 } from '../../base/utf16.ts';
import { readRegular } from '../../tree/regularFile.ts';
import { ServerTlsUnusable } from '../errors.ts';
import type { TlsFilesSettings } from '../options.ts';

export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** A bundle of all public authorities has about 220 KB. */
const MAX_BYTES = 4 * 1024 * 1024;
/** RFC 5280, section 4.2.1.12: serverAuth and anyExtendedKeyUsage. */
const SERVER_USAGES: ReadonlySet<string> = new Set(['1.3.6.1.5.5.7.3.1', '2.5.29.37.0']);

/**
 * Reads the files again and again while the server runs: a pipe in their place must not block it, nor an endless file fill it.
 * @throws ServerTlsUnusable
 */
export async function readTlsFiles({ certFile, keyFile, clientCaFile }: TlsFilesSettings): Promise<TlsMaterial> {
  const read = async (path: string): Promise<string> => {
    const file = await realpath(path)
      .then(real => readRegular(real, MAX_BYTES))
      .catch(cause => {
        throw tlsError(path, 'cannot be read', cause);
      });
    if (typeof file !== 'object') throw tlsError(path, 'cannot be read', file ?? 'ENOENT');
    const { bytes } = file;
    if (isUtf16(bytes) && !isDer(bytes)) throw tlsError(path, 'is not a PEM file: save it as ASCII or UTF-8', 'UTF-16');
    return bytes.toString('utf8');
  };
  const readCertificates = async (path: string): Promise<string> => certificatesIn(path, await read(path));
  const [cert, key, ca] = await Promise.all([
    readCertificates(certFile),
    read(keyFile),
    clientCaFile === undefined ? undefined : readCertificates(clientCaFile),
  ]);
  if (clientCaFile !== undefined && ca !== undefined) requireRoot(clientCaFile, ca);
  requirePair(certFile, keyFile, cert, key);
  const material = { cert, key, ...(ca === undefined ? {} : { ca }) };
  try {
    createSecureContext(material);
  } catch (cause) {
    throw tlsError(certFile, 'cannot be used for TLS', cause);
  }
  return material;
}

/**
 * Whether clients that verify the certificate accept it now. A server whose certificate has expired still serves the others, so
 * this does not keep it from starting.
 * @throws ServerTlsUnusable
 */
export function requireAcceptable({ certFile }: TlsFilesSettings, { cert }: TlsMaterial): void {
  const certificate = new X509Certificate(cert);
  const { keyUsage, validFrom, validTo } = certificate;
  if (!isCurrent(certificate))
    throw tlsError(
      certFile,
      'contains a certificate that is not valid now',
      `validity from ${validFrom} to ${validTo}`,
    );
  // Despite its name, these are the extended key usages. @types/node does not know that there may be none.
  const usages = keyUsage as readonly string[] | undefined;
  if (usages !== undefined && !usages.some(usage => SERVER_USAGES.has(usage)))
    throw tlsError(
      certFile,
      'contains a certificate that is not for servers',
      'no serverAuth in its extended key usage',
    );
}

/**
 * OpenSSL admits a client only if its chain ends in a certificate that is its own issuer. With a file of intermediate
 * authorities or of expired ones, every client would get 403.
 */
function requireRoot(path: string, ca: string): void {
  const roots = pemBlocks(ca)
    .map(({ text = '' }) => new X509Certificate(text))
    .filter(({ subject, issuer }) => subject === issuer);
  if (roots.length === 0)
    throw tlsError(
      path,
      'contains no root authority; append the one that issued the others',
      'only certificates with another issuer',
    );
  if (!roots.some(isCurrent))
    throw tlsError(path, 'contains no root authority that is valid now', `validity to ${roots[0]?.validTo}`);
}

function isCurrent({ validFrom, validTo }: X509Certificate): boolean {
  return Date.parse(validFrom) <= Date.now() && Date.now() <= Date.parse(validTo);
}

/** Node accepts an empty key, and a key of another certificate, with which every handshake fails. */
function requirePair(certFile: string, keyFile: string, cert: string, key: string): void {
  let isPair: boolean;
  try {
    isPair = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw tlsError(keyFile, 'contains no usable private key', cause);
  }
  if (!isPair) throw tlsError(certFile, `and ${keyFile} do not belong together`, 'the key of another certificate');
}

/**
 * Returns the certificates of a file. Node ignores what it cannot read there, and what follows it. Without any certificate of
 * a client's authority it then trusts all public authorities.
 */
function certificatesIn(path: string, text: string): string {
  const blocks = pemBlocks(text);
  const cut = blocks.find(block => block.text === undefined);
  if (cut !== undefined)
    throw tlsError(path, 'contains a PEM block that is cut off', `no end of the ${cut.label} at line ${cut.line}`);
  const certificates = blocks.filter(isCertificate);
  if (certificates.length === 0) throw tlsError(path, 'contains no certificate', 'no PEM block of a certificate');
  for (const [at, { text: pem = '' }] of certificates.entries())
    try {
      new X509Certificate(pem);
    } catch (cause) {
      const which = `number ${at + 1} of ${certificates.length}`;
      throw tlsError(path, `contains a certificate that cannot be read (${which})`, cause);
    }
  return certificates.map(({ text: pem }) => pem).join('');
}

function tlsError(path: string, problem: string, cause: unknown): ServerTlsUnusable {
  return new ServerTlsUnusable(`${path} ${problem}`, {
    subject: path,
    expected: 'PEM files: a certificate, its key and, if clients need certificates, their authorities',
    found: opensslWords(cause),
    hint: 'Check --tls-cert, --tls-key and --tls-client-ca, and that this user may read the files.',
    cause,
  });
}
