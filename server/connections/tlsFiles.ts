import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { ServerTlsUnusable } from '../errors.ts';
import type { ServerEvent } from '../events.ts';
import type { TlsFilesSettings } from '../options.ts';

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
  const material = { cert, key, ...(ca === undefined ? {} : { ca }) };
  try {
    createSecureContext(material);
    // Node accepts an empty key, with which every handshake fails.
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) throw new Error('they do not match');
  } catch (cause) {
    throw tlsError(certFile, `and ${keyFile} are not a certificate and its key`, cause);
  }
  try {
    // Node takes a file without certificates for no file at all, and then trusts all public authorities.
    if (ca !== undefined) new X509Certificate(ca);
  } catch (cause) {
    throw tlsError(clientCaFile ?? '', 'contains no certificate', cause);
  }
  return material;
}

/** Reads the files every `pollMs` and passes on new material. Files that cannot be used are only reported. */
export class TlsFollower {
  readonly #files: TlsFilesSettings;
  readonly #onChange: (material: TlsMaterial) => void;
  readonly #onEvent: (event: ServerEvent) => void;
  readonly #pollMs: number;
  #current: TlsMaterial;
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #reported = '';
  #stopped = false;

  constructor(
    files: TlsFilesSettings,
    current: TlsMaterial,
    options: {
      readonly pollMs: number;
      readonly onChange: (material: TlsMaterial) => void;
      readonly onEvent: (event: ServerEvent) => void;
    },
  ) {
    this.#files = files;
    this.#current = current;
    this.#pollMs = options.pollMs;
    this.#onChange = options.onChange;
    this.#onEvent = options.onEvent;
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#checking;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#checking = this.#check().finally(() => this.#schedule());
    }, this.#pollMs);
  }

  async #check(): Promise<void> {
    try {
      const found = await readTlsFiles(this.#files);
      this.#reported = '';
      if (found.cert === this.#current.cert && found.key === this.#current.key && found.ca === this.#current.ca) return;
      this.#onChange(found);
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
