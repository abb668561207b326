import { X509Certificate } from 'node:crypto';
import { readBoundedFile, whyUnread } from '../../base/boundedFile.ts';
import { opensslWords } from '../../base/openssl.ts';
import { isCertificate, isDer, type PemBlock, pemBlocks } from '../../base/pem.ts';
import { isUtf16 } from '../../base/utf16.ts';
import { RegistryOptionsInvalid } from '../errors.ts';

/** A hundred times the certificate authorities of a system. */
const MAX_PEM_BYTES = 16 * 1024 * 1024;

/** A file of certificates is read up to this one by programs that use OpenSSL. */
export class CertificateDamaged extends RegistryOptionsInvalid {}

/**
 * Reads a file of PEM certificates and returns each of them. Every block is parsed, because OpenSSL ignores all that follows
 * one that it cannot read. Files that were joined without a line break are accepted; `onUntidy` is then called with which
 * certificate is not read by OpenSSL itself.
 * @throws RegistryOptionsInvalid; CertificateDamaged, which names the block and its line
 */
export async function readCertificates(path: string, onUntidy?: (which: string) => void): Promise<string[]> {
  const bytes = await readPemFile(path, 'certificate');
  const blocks = pemBlocks(bytes.toString('utf8'));
  const certificates = blocks.filter(isCertificate);
  if (certificates.length === 0) throw noCertificateError(path, bytes, blocks);
  const which = (index: number): string =>
    `certificate ${index + 1} of ${certificates.length}, which begins at line ${certificates[index]?.line}`;
  const untidy = certificates.findIndex(({ isTidy }) => !isTidy);
  if (untidy >= 0) onUntidy?.(which(untidy));
  return certificates.map(({ text }, index) => {
    const fault = text === undefined ? 'its -----END CERTIFICATE----- is missing' : faultIn(text);
    if (text !== undefined && fault === undefined) return text;
    throw new CertificateDamaged(`The file ${path} holds a damaged certificate: ${which(index)}`, {
      subject: path,
      expected: 'PEM certificates, each of them readable',
      found: fault ?? '',
      hint: 'Copy that certificate into the file again, or remove its lines. The other certificates are not used without it.',
    });
  });
}

/** Reads a file with a PEM private key and returns its text. @throws RegistryOptionsInvalid */
export async function readPrivateKey(path: string): Promise<string> {
  const bytes = await readPemFile(path, 'private key');
  const whole = bytes.toString('utf8');
  const blocks = pemBlocks(whole);
  const key = blocks.find(({ label }) => /^(?:(?:RSA|EC|DSA|ENCRYPTED) )?PRIVATE KEY$/.test(label));
  if (key?.text !== undefined) return key.isTidy ? whole : key.text;
  const { found, hint } =
    key === undefined
      ? otherContent(bytes, blocks, 'private key', 'pkey')
      : { found: `no -----END ${key.label}-----`, hint: 'The file is cut off: copy it again.' };
  throw new RegistryOptionsInvalid(`The file ${path} does not hold a PEM private key`, {
    subject: path,
    expected: '-----BEGIN PRIVATE KEY-----',
    found,
    hint,
  });
}

/** Reads a file of at most 16 MiB. @throws the errors of readBoundedFile; an Error if it has more */
export async function readPemBytes(path: string): Promise<Buffer> {
  const bytes = await readBoundedFile(path, MAX_PEM_BYTES);
  if (bytes === undefined) throw new Error(`it has more than ${MAX_PEM_BYTES >> 20} MiB`);
  return bytes;
}

async function readPemFile(path: string, content: string): Promise<Buffer> {
  try {
    return await readPemBytes(path);
  } catch (error) {
    const found = whyUnread(error);
    throw new RegistryOptionsInvalid(`The file ${path} cannot be read: ${found}`, {
      subject: path,
      expected: `a PEM file with a ${content}`,
      found,
      hint: 'Name a file that exists and that you may read.',
      cause: error,
    });
  }
}

function faultIn(certificate: string): string | undefined {
  try {
    new X509Certificate(certificate);
    return undefined;
  } catch (error) {
    return opensslWords(error);
  }
}

function noCertificateError(path: string, bytes: Buffer, blocks: readonly PemBlock[]): RegistryOptionsInvalid {
  const { found, hint } = otherContent(bytes, blocks, 'certificate', 'x509');
  return new RegistryOptionsInvalid(`The file ${path} does not hold a PEM certificate`, {
    subject: path,
    expected: '-----BEGIN CERTIFICATE-----',
    found,
    hint,
  });
}

/** The object identifier 1.2.840.113549.1.7.1, with which a PKCS #12 file begins after its version (RFC 7292, 4). */
const PKCS7_DATA = Buffer.from('06092a864886f70d010701', 'hex');

function otherContent(
  bytes: Buffer,
  blocks: readonly PemBlock[],
  content: string,
  command: string,
): { readonly found: string; readonly hint: string } {
  const other = `Name the file that holds the ${content}.`;
  const labels = [...new Set(blocks.map(({ label }) => label))];
  if (bytes.length === 0) return { found: 'an empty file', hint: other };
  if (labels.includes('PKCS7') || labels.includes('CMS'))
    return { found: 'PKCS #7', hint: 'Convert it with "openssl pkcs7 -print_certs -in FILE".' };
  if (labels.length > 0) return { found: labels.slice(0, 3).join(', '), hint: other };
  if (isDer(bytes) && bytes.subarray(0, 64).includes(PKCS7_DATA))
    return {
      found: 'PKCS #12',
      hint: `Take the ${content} out of it with "openssl pkcs12 -in FILE ${command === 'pkey' ? '-nocerts -nodes' : '-nokeys'}".`,
    };
  if (isDer(bytes))
    return { found: 'DER', hint: `Convert it to PEM, for instance with "openssl ${command} -inform der -in FILE".` };
  if (isUtf16(bytes))
    return { found: 'UTF-16', hint: 'Save it as ASCII or UTF-8; in PowerShell with: Set-Content -Encoding ascii.' };
  const text = bytes.toString('utf8').trim();
  if (/^<(?:!doctype|html)/i.test(text))
    return { found: 'a web page', hint: `A download got a page instead of the ${content}: download it again.` };
  if (text.includes('-----END ') || (/^[A-Za-z0-9+/=\s]+$/.test(text) && isDer(Buffer.from(text, 'base64'))))
    return {
      found: 'base64 without its -----BEGIN line',
      hint: 'Copy the whole file again, both of its markers included.',
    };
  return { found: 'other text', hint: other };
}
