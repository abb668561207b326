import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SharedWork } from '../concurrency/sharedWork.ts';
import { RegistryCredentials } from '../errors.ts';
import { isDockerHub } from '../hosts/hosts.ts';
import type { RegistryOptions } from '../registry.ts';
import { askCredentialHelper } from './credentialHelper.ts';
import {
  type Credential,
  type CredentialsFile,
  DOCKER_HUB_KEY,
  lookUp,
  parseCredentialsFile,
} from './credentialsFile.ts';

export type CredentialsOptions = Pick<
  RegistryOptions,
  'env' | 'registryConfig' | 'username' | 'password' | 'credentialsFor' | 'timeoutMs'
>;

/** Finds who we are for a registry. Files are read once; a helper is asked once per server. */
export class CredentialsSource {
  readonly #options: CredentialsOptions;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #askings = new Map<string, SharedWork<Credential | undefined>>();
  #files: Promise<readonly CredentialsFile[]> | undefined;

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#env = options.env ?? {};
  }

  /** `host` as the reference writes it, port included. @throws RegistryCredentials */
  async find(host: string, repository: string, signal: AbortSignal): Promise<Credential | undefined> {
    const given = this.#given(host);
    if (given !== undefined) return given;
    this.#files ??= this.#readFiles();
    for (const file of await this.#files) {
      const credential = await this.#findIn(file, host, repository, signal);
      if (credential !== undefined) return credential;
    }
    return undefined;
  }

  #given(host: string): Credential | undefined {
    const { username, password, credentialsFor } = this.#options;
    if (username === undefined || password === undefined) return undefined;
    if (credentialsFor !== undefined && !credentialsFor.some(name => sameHost(name, host))) return undefined;
    return { kind: 'password', username, password, source: 'the options' };
  }

  async #findIn(
    file: CredentialsFile,
    host: string,
    repository: string,
    signal: AbortSignal,
  ): Promise<Credential | undefined> {
    const ownHelper = lookUp(file.credHelpers, host, repository);
    if (ownHelper !== undefined) {
      const credential = await this.#ask(ownHelper, host, signal);
      if (credential !== undefined) return credential;
    }
    const listed = lookUp(file.auths, host, repository);
    if (listed !== undefined || file.credsStore === undefined) return listed;
    return this.#ask(file.credsStore, host, signal);
  }

  async #ask(helper: string, host: string, signal: AbortSignal): Promise<Credential | undefined> {
    const server = isDockerHub(host) ? DOCKER_HUB_KEY : host;
    const { timeoutMs = 30_000 } = this.#options;
    signal.throwIfAborted();
    const key = `${helper} ${server}`;
    let asking = this.#askings.get(key);
    if (asking === undefined || asking.abandoned) {
      asking = new SharedWork(shared => askCredentialHelper(helper, server, this.#env, timeoutMs, shared));
      this.#askings.set(key, asking);
    }
    return asking.join(signal, credential => credential);
  }

  async #readFiles(): Promise<readonly CredentialsFile[]> {
    const named = this.#options.registryConfig;
    if (named !== undefined) return [await readCredentialsFile(named, true)].filter(isThere);
    const files: CredentialsFile[] = [];
    for (const path of usualPaths(this.#env)) {
      const file = await readCredentialsFile(path, false).catch(ignoreBroken);
      if (file !== undefined) files.push(file);
    }
    return files;
  }
}

/**
 * What is wrong with the files of the usual places. They are passed over when credentials are looked for, since nobody named
 * them and an anonymous pull may do; whoever starts a run should say so.
 */
export async function brokenUsualFiles(
  env: Readonly<Record<string, string | undefined>>,
): Promise<RegistryCredentials[]> {
  const broken: RegistryCredentials[] = [];
  for (const path of new Set(usualPaths(env)))
    await readCredentialsFile(path, false).catch(error => {
      ignoreBroken(error);
      broken.push(error as RegistryCredentials);
    });
  return broken;
}

function ignoreBroken(error: unknown): undefined {
  if (!(error instanceof RegistryCredentials)) throw error;
  return undefined;
}

/**
 * Where docker and podman keep credentials, the most deliberate place first: REGISTRY_AUTH_FILE (containers-auth.json(5)),
 * docker's DOCKER_CONFIG or ~/.docker, then podman's two.
 */
function usualPaths(env: Readonly<Record<string, string | undefined>>): string[] {
  const home = env.HOME || env.USERPROFILE;
  const configHome = env.XDG_CONFIG_HOME || (home && join(home, '.config'));
  return [
    env.REGISTRY_AUTH_FILE,
    env.DOCKER_CONFIG ? join(env.DOCKER_CONFIG, 'config.json') : home && join(home, '.docker', 'config.json'),
    env.XDG_RUNTIME_DIR && join(env.XDG_RUNTIME_DIR, 'containers', 'auth.json'),
    configHome && join(configHome, 'containers', 'auth.json'),
  ].filter((path): path is string => Boolean(path));
}

/** @throws RegistryCredentials, which never holds what stands in the file */
export async function readCredentialsFile(path: string, mustExist: boolean): Promise<CredentialsFile | undefined> {
  try {
    return parseCredentialsFile(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof RegistryCredentials) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    if (!mustExist && ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(code)) return undefined;
    // Another user's home, as a service account often meets it, is no reason to stop an anonymous pull.
    if (!mustExist && ['EACCES', 'EPERM'].includes(code)) return undefined;
    throw new RegistryCredentials(`The credentials file ${path} cannot be read: ${code}`, {
      subject: path,
      found: code,
      hint: 'Name a file that exists and that you may read with --registry-config, or leave the option out.',
      cause: error,
    });
  }
}

function sameHost(left: string, right: string): boolean {
  return left.toLowerCase() === right.toLowerCase() || (isDockerHub(left) && isDockerHub(right));
}

function isThere<Value>(value: Value | undefined): value is Value {
  return value !== undefined;
}
