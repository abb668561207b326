import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Credential, DOCKER_HUB_KEY } from '../credentials/credentialsFile.ts';
import { type CredentialsOptions, CredentialsSource } from '../credentials/credentialsSource.ts';
import { isDockerHub } from '../hosts/hosts.ts';

/**
 * Credentials for ORAS, found as the built-in engine finds them and written into a file that only this user can read: a
 * command line is everybody's to read. The file holds one registry's, so that no other gets to see them.
 */
export class OrasCredentials {
  readonly #source: CredentialsSource;
  readonly #dir: string;
  readonly #files = new Map<string, Promise<string>>();

  constructor(options: CredentialsOptions, dir: string) {
    this.#source = new CredentialsSource(options);
    this.#dir = dir;
  }

  /** The file for `--registry-config`. Without credentials it is empty, so that ORAS looks nowhere else. */
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
