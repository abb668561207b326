import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SharedWork } from '../concurrency/sharedWork.ts';
import { RegistryCredentials } from '../errors.ts';
import { isDockerHub } from '../hosts/hosts.ts';
import type { RegistryOptions } from '../registry.ts';
import { runCredentialHelper } from './credentialHelper.ts';
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

/** Finds the credentials for a registry: from the options, then from files and helpers. Files are read once; a helper runs once per server. */
export class CredentialsSource {
  readonly #options: CredentialsOptions;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #lookups = new Map<string, SharedWork<Credential | undefined>>();
  #files: Promise<readonly CredentialsFile[]> | undefined;

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#env = options.env ?? {};
  }

  /** `host` is that of the reference, with its port. Undefined if there are none. @throws RegistryCredentials, or the signal's reason */
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
    let lookup = this.#lookups.get(key);
    if (lookup === undefined || lookup.abandoned) {
      lookup = new SharedWork(shared => runCredentialHelper(helper, server, this.#env, timeoutMs, shared));
      this.#lookups.set(key, lookup);
    }
    return lookup.join(signal, credential => credential);
  }

  async #readFiles(): Promise<readonly CredentialsFile[]> {
    const named = this.#options.registryConfig;
    if (named !== undefined) return [await readCredentialsFile(named, true)].filter(isDefined);
    const files: CredentialsFile[] = [];
    for (const path of defaultPaths(this.#env)) {
      const file = await readCredentialsFile(path, false).catch(ignoreBroken);
      if (file !== undefined) files.push(file);
    }
    return files;
  }
}

/**
 * Returns the errors of broken files at the default paths. Such files are ignored when credentials are looked up, because the
 * user did not name them and an anonymous pull may do; the caller should warn.
 */
export async function brokenDefaultFiles(
  env: Readonly<Record<string, string | undefined>>,
): Promise<RegistryCredentials[]> {
  const broken: RegistryCredentials[] = [];
  for (const path of new Set(defaultPaths(env)))
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
 * The default paths of docker and podman, in order of precedence: REGISTRY_AUTH_FILE (containers-auth.json(5)), docker's
 * DOCKER_CONFIG or ~/.docker, then podman's two.
 */
function defaultPaths(env: Readonly<Record<string, string | undefined>>): string[] {
  const home = env.HOME || env.USERPROFILE;
  const configHome = env.XDG_CONFIG_HOME || (home && join(home, '.config'));
  return [
    env.REGISTRY_AUTH_FILE,
    env.DOCKER_CONFIG ? join(env.DOCKER_CONFIG, 'config.json') : home && join(home, '.docker', 'config.json'),
    env.XDG_RUNTIME_DIR && join(env.XDG_RUNTIME_DIR, 'containers', 'auth.json'),
    configHome && join(configHome, 'containers', 'auth.json'),
  ].filter((path): path is string => Boolean(path));
}

/**
 * Reads a credentials file. Without `mustExist`, a file that is missing or that this user may not read is undefined.
 * @throws RegistryCredentials, which never quotes the file
 */
export async function readCredentialsFile(path: string, mustExist: boolean): Promise<CredentialsFile | undefined> {
  try {
    return parseCredentialsFile(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof RegistryCredentials) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    if (!mustExist && ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(code)) return undefined;
    // Service accounts often have another user's HOME, which must not stop an anonymous pull.
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

function isDefined<Value>(value: Value | undefined): value is Value {
  return value !== undefined;
}
