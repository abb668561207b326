import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import tls from 'node:tls';
import { RegistryOptionsInvalid } from '../errors.ts';
import type { RegistryOptions } from '../registry.ts';

export type TrustOptions = Pick<RegistryOptions, 'caFile' | 'certFile' | 'keyFile' | 'insecure' | 'env'> & {
  /** Docker's folder of certificates per registry: `HOST:PORT/{*.crt,client.cert,client.key}`. Default /etc/docker/certs.d. */
  readonly certsDir?: string;
};

/** What a TLS connection is opened with. */
export interface TlsSettings {
  readonly secureContext: tls.SecureContext;
  readonly rejectUnauthorized: boolean;
}

/** Whom to trust and who we are, per host. Read once per host; built once, since parsing the roots takes long. */
export class Trust {
  readonly #options: TrustOptions;
  readonly #settings = new Map<string, Promise<TlsSettings>>();

  constructor(options: TrustOptions) {
    if ((options.certFile === undefined) !== (options.keyFile === undefined))
      throw new RegistryOptionsInvalid('A client certificate needs both its files', {
        expected: 'a certificate file and a key file',
        found: options.certFile === undefined ? 'only a key file' : 'only a certificate file',
        hint: 'Name both, or neither.',
      });
    this.#options = options;
  }

  /** `host` is `HOST[:PORT]`. @throws RegistryOptionsInvalid */
  settingsFor(host: string): Promise<TlsSettings> {
    const known = this.#settings.get(host);
    if (known !== undefined) return known;
    const settings = this.#read(host);
    this.#settings.set(host, settings);
    return settings;
  }

  async #read(host: string): Promise<TlsSettings> {
    const { caFile, certFile, keyFile, insecure = false, certsDir = '/etc/docker/certs.d' } = this.#options;
    const authorities = caFile === undefined ? [] : [await readPem(caFile, 'CERTIFICATE')];
    let certificate = certFile === undefined ? undefined : await readPem(certFile, 'CERTIFICATE');
    let key = keyFile === undefined ? undefined : await readPem(keyFile, 'PRIVATE KEY');
    // A host without a port stands for 443; a folder may be named either way.
    const names = /:\d+$/.test(host) ? [host, host.replace(/:443$/, '')] : [host, `${host}:443`];
    for (const name of new Set(names)) {
      const folder = await readCertsFolder(join(certsDir, name));
      authorities.push(...folder.authorities);
      if (certificate === undefined && folder.pair !== undefined) [certificate, key] = folder.pair;
    }
    try {
      const secureContext = tls.createSecureContext({
        ...(authorities.length === 0 ? {} : { ca: [...(await this.#systemRoots()), ...authorities] }),
        ...(certificate === undefined ? {} : { cert: certificate }),
        ...(key === undefined ? {} : { key }),
      });
      return { secureContext, rejectUnauthorized: !insecure };
    } catch (error) {
      throw new RegistryOptionsInvalid(`The certificates for ${host} cannot be used: ${(error as Error).message}`, {
        subject: host,
        expected: 'PEM certificates, and the unencrypted key that belongs to the client certificate',
        hint: `Check the CA file, the client certificate and its key, and ${join(certsDir, host)}.`,
        cause: error,
      });
    }
  }

  /** Naming authorities replaces the default ones, so those come along, with NODE_EXTRA_CA_CERTS as Node itself adds it. */
  async #systemRoots(): Promise<readonly string[]> {
    const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
    if (getCACertificates !== undefined) return getCACertificates('default');
    const extra = this.#options.env?.NODE_EXTRA_CA_CERTS;
    if (!extra) return tls.rootCertificates;
    return [...tls.rootCertificates, await readPem(extra, 'CERTIFICATE')];
  }
}

interface CertsFolder {
  readonly authorities: readonly string[];
  readonly pair: readonly [certificate: string, key: string] | undefined;
}

async function readCertsFolder(folder: string): Promise<CertsFolder> {
  let names: string[];
  try {
    names = (await readdir(folder)).sort();
  } catch {
    return { authorities: [], pair: undefined };
  }
  const authorities: string[] = [];
  for (const name of names)
    if (name.endsWith('.crt')) authorities.push(await readPem(join(folder, name), 'CERTIFICATE'));
  const certificate = names.find(name => name.endsWith('.cert') && names.includes(name.replace(/\.cert$/, '.key')));
  if (certificate === undefined) return { authorities, pair: undefined };
  const path = join(folder, certificate);
  return {
    authorities,
    pair: [await readPem(path, 'CERTIFICATE'), await readPem(path.replace(/\.cert$/, '.key'), 'PRIVATE KEY')],
  };
}

async function readPem(path: string, label: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new RegistryOptionsInvalid(`The file ${path} cannot be read: ${code}`, {
      subject: path,
      expected: `a PEM file with a ${label.toLowerCase()}`,
      found: code,
      hint: 'Name a file that exists and that you may read.',
      cause: error,
    });
  }
  if (new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(text)) return text;
  throw new RegistryOptionsInvalid(`The file ${path} holds no PEM ${label.toLowerCase()}`, {
    subject: path,
    expected: `-----BEGIN ${label}-----`,
    hint: 'Convert it to PEM, for instance with "openssl x509 -inform der -in FILE".',
  });
}
