import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isCertificate, type PemBlock, pemBlocks } from '../../base/pem.ts';
import { isUtf16 } from '../../base/utf16.ts';
import { RegistryOptionsInvalid } from '../errors.ts';

/**
 * Reads a file of PEM certificates and returns each of them. Every block is parsed, because OpenSSL ignores all that follows
 * one that it cannot read. Files that were joined without a line break are accepted.
 * @throws RegistryOptionsInvalid, which names the file, the block and its line
 */
export async function readCertificates(path: string): Promise<string[]> {
  const bytes = await readPemFile(path, 'certificate');
  const blocks = pemBlocks(bytes.toString('utf8'));
  const certificates = blocks.filter(isCertificate);
  if (certificates.length === 0) throw noCertificateError(path, bytes, blocks);
  return certificates.map(({ text, line }, index) => {
    const fault = text === undefined ? 'its -----END CERTIFICATE----- is missing' : faultIn(text);
    if (text !== undefined && fault === undefined) return text;
    const which = `certificate ${index + 1} of ${certificates.length}, which begins at line ${line}`;
    throw new RegistryOptionsInvalid(`The file ${path} holds a damaged certificate: ${which}`, {
      subject: path,
      expected: 'PEM certificates, each of them readable',
      found: fault ?? '',
      hint: `Copy that certificate into the file again, or remove its lines. The other certificates are not used without it.`,
    });
  });
}

/** Reads a file with a PEM private key and returns its text. @throws RegistryOptionsInvalid */
export async function readPrivateKey(path: string): Promise<string> {
  const text = (await readPemFile(path, 'private key')).toString('utf8');
  if (pemBlocks(text).some(({ label }) => label.endsWith('PRIVATE KEY'))) return text;
  throw new RegistryOptionsInvalid(`The file ${path} does not hold a PEM private key`, {
    subject: path,
    expected: '-----BEGIN PRIVATE KEY-----',
    hint: 'Convert it to PEM, for instance with "openssl pkey -inform der -in FILE".',
  });
}

async function readPemFile(path: string, content: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new RegistryOptionsInvalid(`The file ${path} cannot be read: ${code}`, {
      subject: path,
      expected: `a PEM file with a ${content}`,
      found: code,
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
    return `it is not a certificate: ${(error as Error).message}`;
  }
}

function noCertificateError(path: string, bytes: Buffer, blocks: readonly PemBlock[]): RegistryOptionsInvalid {
  const { found, hint } = otherContent(bytes, blocks);
  return new RegistryOptionsInvalid(`The file ${path} does not hold a PEM certificate`, {
    subject: path,
    expected: '-----BEGIN CERTIFICATE-----',
    found,
    hint,
  });
}

function otherContent(bytes: Buffer, blocks: readonly PemBlock[]): { readonly found: string; readonly hint: string } {
  const labels = [...new Set(blocks.map(({ label }) => label))];
  if (bytes.length === 0) return { found: 'an empty file', hint: 'Name the file that holds the certificate.' };
  if (labels.includes('PKCS7') || labels.includes('CMS'))
    return { found: 'PKCS #7', hint: 'Convert it with "openssl pkcs7 -print_certs -in FILE".' };
  if (labels.length > 0)
    return { found: labels.slice(0, 3).join(', '), hint: 'Name the file that holds the certificate.' };
  // A SEQUENCE, as which every certificate begins (ITU-T X.690).
  if (bytes[0] === 0x30)
    return { found: 'DER', hint: 'Convert it to PEM, for instance with "openssl x509 -inform der -in FILE".' };
  if (isUtf16(bytes))
    return { found: 'UTF-16', hint: 'Save it as ASCII or UTF-8; in PowerShell with: Set-Content -Encoding ascii.' };
  return { found: 'other text', hint: 'Name the file that holds the certificate.' };
}
