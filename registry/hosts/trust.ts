import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import tls from 'node:tls';
import { opensslWords } from '../../base/openssl.ts';
import { RegistryOptionsInvalid } from '../errors.ts';
import type { RegistryOptions } from '../registry.ts';
import { includesHost } from './hosts.ts';
import { CertificateDamaged, readCertificates, readPrivateKey } from './pem.ts';

export type TrustOptions = Pick<
  RegistryOptions,
  'caFile' | 'certFile' | 'keyFile' | 'certsDir' | 'insecure' | 'env' | 'onEvent'
>;

/** TLS options of a connection. */
export interface TlsSettings {
  readonly secureContext: tls.SecureContext;
  readonly rejectUnauthorized: boolean;
}

/** @throws RegistryOptionsInvalid for a client certificate without its key, or a key without its certificate */
export function requireBothFiles({ certFile, keyFile }: Pick<TrustOptions, 'certFile' | 'keyFile'>): void {
  if ((certFile === undefined) === (keyFile === undefined)) return;
  throw new RegistryOptionsInvalid('A client certificate needs both its files', {
    expected: 'a certificate file and a key file',
    found: certFile === undefined ? 'only a key file' : 'only a certificate file',
    hint: 'Name both, or neither.',
  });
}

/** Certificate authorities and client certificates, per host. Hosts without a folder in certs.d share one context, because parsing the roots takes long. */
export class Trust {
  readonly #options: TrustOptions;
  readonly #settings = new Map<string, Promise<TlsSettings>>();
  #shared: Promise<tls.SecureContext> | undefined;
  #extraRead: Promise<readonly string[]> | undefined;

  constructor(options: TrustOptions) {
    requireBothFiles(options);
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
    const { insecure, certsDir } = this.#options;
    const { authorities, pair } = await certificatesFor(host, certsDir);
    const rejectUnauthorized = !includesHost(insecure, host, 'https');
    if (authorities.length > 0 || pair !== undefined)
      return { secureContext: await this.#contextWith(authorities, pair, host), rejectUnauthorized };
    this.#shared ??= this.#contextWith([], undefined, 'every registry');
    return { secureContext: await this.#shared, rejectUnauthorized };
  }

  /** Combines the options with a host's own folder; a client certificate of the options goes first. */
  async #contextWith(more: readonly string[], ownPair: Pair | undefined, subject: string): Promise<tls.SecureContext> {
    const { caFile, certFile, keyFile } = this.#options;
    const authorities = caFile === undefined ? more : [...(await readCertificates(caFile)), ...more];
    const [cert, key] =
      certFile === undefined || keyFile === undefined
        ? (ownPair ?? [])
        : [(await readCertificates(certFile)).join(''), await readPrivateKey(keyFile)];
    const extra = await this.#extra();
    const isOwn = authorities.length > 0 || extra.length > 0;
    const ca = isOwn ? [...(await systemRoots(this.#options.env)), ...authorities, ...extra] : undefined;
    try {
      return tls.createSecureContext({ ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) });
    } catch (error) {
      const isNamed = certFile !== undefined;
      throw new RegistryOptionsInvalid(
        `${isNamed ? `The client certificate ${certFile} with the key ${keyFile}` : `The certificates for ${subject}`} cannot be used: ${opensslWords(error)}`,
        {
          subject: certFile ?? subject,
          expected: 'PEM certificates, and the unencrypted key that belongs to the client certificate',
          hint: isNamed
            ? `Name the certificate and its own key; "openssl pkey -in ${keyFile} -out NEW" removes a passphrase.`
            : "Check the CA file, and the certificates and keys in docker's certs.d folder.",
          cause: error,
        },
      );
    }
  }

  /**
   * Returns the certificates of NODE_EXTRA_CA_CERTS if Node itself does not read them: it reads no markers within a line, and
   * nothing after a damaged certificate. Warns of such files, which other programs on Node do not read either.
   */
  #extra(): Promise<readonly string[]> {
    this.#extraRead ??= this.#readExtra();
    return this.#extraRead;
  }

  async #readExtra(): Promise<readonly string[]> {
    const { env, onEvent } = this.#options;
    const warn = (message: string): void => onEvent?.({ type: 'warning', subject: 'NODE_EXTRA_CA_CERTS', message });
    let untidy: string | undefined;
    try {
      const certificates = await extraAuthorities(env, which => (untidy = which));
      if (untidy === undefined) return [];
      warn(
        `in ${env?.NODE_EXTRA_CA_CERTS}, a marker of ${untidy}, is not at the beginning of a line: plugin-mirror reads the file, other programs on Node.js do not. Put a line break before each -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----.`,
      );
      return certificates;
    } catch (error) {
      if (!(error instanceof RegistryOptionsInvalid)) throw error;
      const { message, found = '', hint } = error;
      const used =
        error instanceof CertificateDamaged ? 'Node.js uses at most what is before it' : 'no authority is added';
      warn(`${message}${message.endsWith(found) ? '' : ` (${found})`}; ${used}. ${hint}`);
      return [];
    }
  }
}

/** Returns the default authorities, with NODE_EXTRA_CA_CERTS as Node adds it: the option `ca` replaces them. */
export async function systemRoots(env: RegistryOptions['env']): Promise<readonly string[]> {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  if (getCACertificates !== undefined) return getCACertificates('default');
  return [...tls.rootCertificates, ...(await extraAuthorities(env).catch(() => []))];
}

/** Returns the certificates of NODE_EXTRA_CA_CERTS. @throws RegistryOptionsInvalid */
export async function extraAuthorities(
  env: RegistryOptions['env'] = {},
  onUntidy?: (which: string) => void,
): Promise<readonly string[]> {
  const { NODE_EXTRA_CA_CERTS: path } = env;
  return path === undefined || path === '' ? [] : readCertificates(path, onUntidy);
}

export type Pair = readonly [certificate: string, key: string];

export interface HostCertificates {
  /** PEM. */
  readonly authorities: readonly string[];
  readonly pair: Pair | undefined;
}

/** Reads the certificates of `HOST[:PORT]` from docker's folder. @throws RegistryOptionsInvalid */
export async function certificatesFor(host: string, certsDir: string | undefined): Promise<HostCertificates> {
  // The default port is 443; a folder may be named with or without it.
  const names = /:\d+$/.test(host) ? [host, host.replace(/:443$/, '')] : [host, `${host}:443`];
  const authorities: string[] = [];
  let pair: Pair | undefined;
  for (const name of new Set(names)) {
    const folder = await readCertsFolder(join(certsDir ?? '/etc/docker/certs.d', name), certsDir === undefined);
    authorities.push(...folder.authorities);
    pair ??= folder.pair;
  }
  return { authorities, pair };
}

async function readCertsFolder(folder: string, isDefault: boolean): Promise<HostCertificates> {
  let names: string[];
  try {
    names = (await readdir(folder)).sort();
  } catch {
    return { authorities: [], pair: undefined };
  }
  const authorities: string[] = [];
  for (const name of names.filter(it => it.endsWith('.crt')))
    authorities.push(...((await ifReadable(isDefault, () => readCertificates(join(folder, name)))) ?? []));
  const certificate = names.find(name => name.endsWith('.cert') && names.includes(name.replace(/\.cert$/, '.key')));
  if (certificate === undefined) return { authorities, pair: undefined };
  const cert = await ifReadable(isDefault, () => readCertificates(join(folder, certificate)));
  const keyFile = join(folder, certificate.replace(/\.cert$/, '.key'));
  const key = await ifReadable(isDefault, () => readPrivateKey(keyFile));
  return { authorities, pair: cert === undefined || key === undefined ? undefined : [cert.join(''), key] };
}

/** Docker reads its default folder as root: a file there that this user may not read is skipped. */
async function ifReadable<T>(isDefault: boolean, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isDefault && error instanceof RegistryOptionsInvalid && error.found === 'EACCES') return undefined;
    throw error;
  }
}
