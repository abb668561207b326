import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Credential, DOCKER_HUB_KEY } from '../credentials/credentialsFile.ts';
import { type CredentialsOptions, CredentialsSource, withoutHelperError } from '../credentials/credentialsSource.ts';
import { RegistryDenied, type RegistryRefusal, RegistryUnauthorized } from '../errors.ts';
import { isDockerHub } from '../hosts/hosts.ts';
import type { Reference } from '../reference.ts';

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
