import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { ServerTlsUnusable } from '../errors.ts';
import type { ServerEvent } from '../events.ts';
import type { TlsFilesSettings } from '../options.ts';
import { Poller } from '../poller.ts';

export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** @throws ServerTlsUnusable */
export async function readTlsFiles({ certFile, keyFile, clientCaFile }: TlsFilesSettings): Promise<TlsMaterial> {
  const read = (path: string): Promise<string> =>
    readFile(path, 'utf8').catch(cause => {
      throw tlsError(path, 'cannot be read', cause);
    });
  const [cert, key, ca] = await Promise.all([
    read(certFile),
    read(keyFile),
    clientCaFile === undefined ? undefined : read(clientCaFile),
  ]);
  requirePair(certFile, keyFile, cert, key);
  if (ca !== undefined) requireCertificates(clientCaFile ?? '', ca);
  const material = { cert, key, ...(ca === undefined ? {} : { ca }) };
  try {
    createSecureContext(material);
  } catch (cause) {
    throw tlsError(certFile, 'cannot be used for TLS', cause);
  }
  return material;
}

/** Node accepts an empty key, and a key of another certificate, with which every handshake fails. */
function requirePair(certFile: string, keyFile: string, cert: string, key: string): void {
  requireCertificates(certFile, cert);
  let isPair: boolean;
  try {
    isPair = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw tlsError(keyFile, 'contains no usable private key', cause);
  }
  if (!isPair) throw tlsError(certFile, `and ${keyFile} do not belong together`, 'the key of another certificate');
}

const CERTIFICATE = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/**
 * Node ignores what it cannot read in a file of certificates. Without any certificate of a client's authority it then trusts
 * all public authorities.
 */
function requireCertificates(path: string, pem: string): void {
  const blocks = pem.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) throw tlsError(path, 'contains no certificate', 'no PEM block of a certificate');
  const begun = pem.match(/-----BEGIN /g)?.length ?? 0;
  for (const [at, block] of blocks.entries())
    try {
      new X509Certificate(block);
    } catch (cause) {
      throw tlsError(path, `contains a certificate that cannot be read (number ${at + 1} of ${blocks.length})`, cause);
    }
  const keys = pem.match(/-----BEGIN [A-Z ]*PRIVATE KEY-----/g)?.length ?? 0;
  const parameters = pem.match(/-----BEGIN (?:EC|DH) PARAMETERS-----/g)?.length ?? 0;
  if (begun > blocks.length + keys + parameters)
    throw tlsError(path, 'contains a PEM block that is cut off', `${begun} blocks begin, ${blocks.length} are whole`);
}

export interface TlsChange {
  readonly material: TlsMaterial;
  /** Whether clients need certificates of other authorities than before. */
  readonly hasNewClientCa: boolean;
}

/** Reads the files again from time to time and passes on new material. Files that cannot be used are only reported. */
export class TlsFollower {
  readonly #files: TlsFilesSettings;
  readonly #onChange: (change: TlsChange) => void;
  readonly #onEvent: (event: ServerEvent) => void;
  readonly #poller: Poller;
  #current: TlsMaterial;
  #reported = '';

  constructor(
    files: TlsFilesSettings,
    current: TlsMaterial,
    options: {
      readonly pollMs: number;
      readonly onChange: (change: TlsChange) => void;
      readonly onEvent: (event: ServerEvent) => void;
    },
  ) {
    this.#files = files;
    this.#current = current;
    this.#onChange = options.onChange;
    this.#onEvent = options.onEvent;
    this.#poller = new Poller(options.pollMs, () => this.#check());
    this.#poller.start();
  }

  /** Reads the files now. */
  reload(): Promise<void> {
    return this.#poller.checkAgain();
  }

  stop(): Promise<void> {
    return this.#poller.stop();
  }

  async #check(): Promise<void> {
    try {
      const found = await readTlsFiles(this.#files);
      this.#reported = '';
      const { cert, key, ca } = this.#current;
      if (found.cert === cert && found.key === key && found.ca === ca) return;
      this.#onChange({ material: found, hasNewClientCa: found.ca !== ca });
      this.#current = found;
      this.#onEvent({ kind: 'tls-loaded' });
    } catch (error) {
      // During a renewal, certificate and key may not match for a moment; each error is reported once.
      if (String(error) !== this.#reported) this.#onEvent({ kind: 'tls-unusable', error });
      this.#reported = String(error);
    }
  }
}

function tlsError(path: string, problem: string, cause: unknown): ServerTlsUnusable {
  return new ServerTlsUnusable(`${path} ${problem}`, {
    subject: path,
    expected: 'PEM files: a certificate, its key and, if clients need certificates, their authorities',
    found: cause instanceof Error ? cause.message : String(cause),
    hint: 'Check --tls-cert, --tls-key and --tls-client-ca, and that this user may read the files.',
    cause,
  });
}
