import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { ServerTlsUnusable } from '../errors.ts';
import type { ServerEvent } from '../events.ts';

/** PEM files. They are read again when they change, as a renewed certificate does. */
export interface TlsFilesSettings {
  /** The certificate and what leads from it to its authority. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Authorities of clients: who shows no certificate of theirs sees nothing but the health checks. Default: none. */
  readonly clientCaFile?: string;
}

export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** @throws ServerTlsUnusable */
export async function readTlsFiles({ certFile, keyFile, clientCaFile }: TlsFilesSettings): Promise<TlsMaterial> {
  const read = (path: string): Promise<string> =>
    readFile(path, 'utf8').catch(cause => {
      throw unusable(path, 'cannot be read', cause);
    });
  const [cert, key, ca] = await Promise.all([
    read(certFile),
    read(keyFile),
    clientCaFile === undefined ? undefined : read(clientCaFile),
  ]);
  const material = { cert, key, ...(ca === undefined ? {} : { ca }) };
  try {
    createSecureContext(material);
  } catch (cause) {
    throw unusable(certFile, `and ${keyFile} make no certificate with its key`, cause);
  }
  return material;
}

/** Looks at the files every `pollMs`; what cannot be used changes nothing but what is reported. */
export class TlsFollower {
  readonly #files: TlsFilesSettings;
  readonly #take: (material: TlsMaterial) => void;
  readonly #onEvent: (event: ServerEvent) => void;
  readonly #pollMs: number;
  #now: TlsMaterial;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #reported = '';
  #stopped = false;

  constructor(
    files: TlsFilesSettings,
    now: TlsMaterial,
    how: {
      readonly pollMs: number;
      readonly take: (material: TlsMaterial) => void;
      readonly onEvent: (event: ServerEvent) => void;
    },
  ) {
    this.#files = files;
    this.#now = now;
    this.#pollMs = how.pollMs;
    this.#take = how.take;
    this.#onEvent = how.onEvent;
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look().finally(() => this.#schedule());
    }, this.#pollMs);
  }

  async #look(): Promise<void> {
    try {
      const found = await readTlsFiles(this.#files);
      this.#reported = '';
      if (found.cert === this.#now.cert && found.key === this.#now.key && found.ca === this.#now.ca) return;
      this.#take(found);
      this.#now = found;
      this.#onEvent({ kind: 'tls-loaded' });
    } catch (error) {
      // In the midst of a renewal, certificate and key may not fit for a moment.
      if (String(error) !== this.#reported) this.#onEvent({ kind: 'tls-unusable', error });
      this.#reported = String(error);
    }
  }
}

function unusable(path: string, what: string, cause: unknown): ServerTlsUnusable {
  return new ServerTlsUnusable(`${path} ${what}`, {
    subject: path,
    expected: 'PEM files: a certificate, its key, and authorities of clients if they are to show one',
    found: cause instanceof Error ? cause.message : String(cause),
    hint: 'Check --tls-cert, --tls-key and --tls-client-ca, and that this user may read them.',
    cause,
  });
}
