import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { type Credential, DOCKER_HUB_KEY } from '../credentials/credentialsFile.ts';
import { type CredentialsOptions, CredentialsSource, withoutHelperError } from '../credentials/credentialsSource.ts';
import { RegistryDenied, type RegistryRefusal, RegistryUnauthorized } from '../errors.ts';
import { includesHost, isDockerHub } from '../hosts/hosts.ts';
import { readCertificates } from '../hosts/pem.ts';
import { certificatesFor, extraAuthorities, requireBothFiles } from '../hosts/trust.ts';
import type { Reference } from '../reference.ts';
import type { RegistryOptions } from '../registry.ts';

/**
 * Credentials for ORAS, looked up as for the built-in engine and written to a file that only this user can read, because every
 * user can read a command line. A file holds the credentials of one registry, so that no other gets them.
 */
export class OrasCredentials {
  readonly #source: CredentialsSource;
  readonly #dir: string;
  readonly #files = new Map<string, Promise<string>>();

  constructor(options: CredentialsOptions, dir: string) {
    this.#source = new CredentialsSource(options);
    this.#dir = dir;
  }

  /** Returns the error of a registry that refuses an anonymous request, with the helper that was to have credentials. */
  explained(error: RegistryRefusal, { registry, repository }: Reference): RegistryRefusal {
    const failure = this.#source.failureFor(registry);
    if (failure === undefined || !(error instanceof RegistryUnauthorized || error instanceof RegistryDenied))
      return error;
    return withoutHelperError(registry, repository, failure, error);
  }

  /** Returns the file for `--registry-config`. Without credentials it is an empty one, so that ORAS reads no default file. */
  async fileFor(host: string, repository: string, signal: AbortSignal): Promise<string> {
    const credential = await this.#source.find(host, repository, signal);
    const text = JSON.stringify({ auths: credential === undefined ? {} : { [keyOf(host)]: entryOf(credential) } });
    const known = this.#files.get(text);
    if (known !== undefined) return known;
    const path = join(this.#dir, `config-${this.#files.size}.json`);
    const written = writeFile(path, text, { mode: 0o600, flag: 'wx' }).then(() => path);
    this.#files.set(text, written);
    return written;
  }
}

function keyOf(host: string): string {
  return isDockerHub(host) ? DOCKER_HUB_KEY : host;
}

function entryOf(credential: Credential): Record<string, string> {
  if (credential.kind === 'identityToken') return { identitytoken: credential.token };
  const { username, password } = credential;
  return { auth: Buffer.from(`${username}:${password}`).toString('base64') };
}

/** ORAS' flags for certificate authorities and client certificates, per registry. */
export class HostFlags {
  readonly #options: RegistryOptions;
  readonly #dir: string;
  readonly #flags = new Map<string, Promise<readonly string[]>>();

  /** `dir` must be a folder that only this user can read. @throws RegistryOptionsInvalid */
  constructor(options: RegistryOptions, dir: string) {
    requireBothFiles(options);
    this.#options = options;
    this.#dir = dir;
  }

  /** `host` is `HOST[:PORT]`, or empty for the flags of every registry. @throws RegistryOptionsInvalid */
  of(host: string): Promise<readonly string[]> {
    const known = this.#flags.get(host);
    if (known !== undefined) return known;
    const flags = this.#make(host, this.#flags.size);
    this.#flags.set(host, flags);
    return flags;
  }

  async #make(host: string, serial: number): Promise<string[]> {
    const { insecure, caFile, certFile, keyFile, certsDir, env } = this.#options;
    const own = host === '' ? undefined : await certificatesFor(host, certsDir);
    const named = caFile === undefined ? [] : await readCertificates(caFile);
    const authorities = [...named, ...(await extraAuthorities(env).catch(() => [])), ...(own?.authorities ?? [])];
    const write = async (kind: string, text: string): Promise<string> => {
      const path = join(this.#dir, `${kind}-${serial}.pem`);
      await writeFile(path, text, { mode: 0o600 });
      return path;
    };
    const flags = includesHost(insecure, host, 'https') ? ['--insecure'] : [];
    // With `--ca-file` ORAS trusts only the authorities in it, so the default ones are added.
    if (authorities.length > 0)
      flags.push('--ca-file', await write('authorities', [...authorities, ...rootCertificates].join('\n')));
    if (certFile !== undefined && keyFile !== undefined) flags.push('--cert-file', certFile, '--key-file', keyFile);
    else if (own?.pair !== undefined) {
      const [certificate, key] = own.pair;
      flags.push('--cert-file', await write('certificate', certificate), '--key-file', await write('key', key));
    }
    return flags;
  }
}
