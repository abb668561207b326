import { join } from 'node:path';
import { readBoundedFile, whyUnread } from '../../base/boundedFile.ts';
import { errno } from '../../base/errno.ts';
import { SharedWork } from '../concurrency/sharedWork.ts';
import { RegistryCredentials, type RegistryRefusal } from '../errors.ts';
import { isDockerHub } from '../hosts/hosts.ts';
import type { RegistryOptions } from '../registry.ts';
import { runCredentialHelper } from './credentialHelper.ts';
import {
  type Credential,
  type CredentialsFile,
  DOCKER_HUB_KEY,
  decodeCredentialsFile,
  isNamespaceOf,
  keysFor,
  keysOfOtherPorts,
  lookUp,
  parseCredentialsFile,
  unusableKeys,
} from './credentialsFile.ts';

/** Logins for a hundred registries have 20 KiB. */
export const MOST_CREDENTIALS_BYTES = 1024 * 1024;

export type CredentialsOptions = Pick<
  RegistryOptions,
  'env' | 'registryConfig' | 'username' | 'password' | 'credentialsFor' | 'timeoutMs' | 'onEvent'
>;

/**
 * Finds the credentials for a registry: from the options, then from files and helpers. Files are read once; a helper runs once
 * per server. A helper that is missing or fails causes a warning: without it an anonymous pull may do.
 */
export class CredentialsSource {
  readonly #options: CredentialsOptions;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #lookups = new Map<string, SharedWork<Credential | undefined>>();
  readonly #failures = new Map<string, RegistryCredentials>();
  readonly #reported = new Set<string>();
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
      for (const key of unusableKeys(file.auths, host)) this.#reportKey(file.path, key, host);
    }
    return undefined;
  }

  /** Returns why a helper gave no credentials for this host; undefined if none failed. */
  failureFor(host: string): RegistryCredentials | undefined {
    return this.#failures.get(host);
  }

  /** Returns a hint that names keys of files that do not fit this host and repository, but may be meant for them; empty if there are none. */
  async hintFor(host: string, repository: string): Promise<string> {
    for (const { path, auths } of (await this.#files) ?? []) {
      const unusable = unusableKeys(auths, host);
      const [first] = unusable;
      if (first !== undefined)
        return ` The key "${shownKey(first)}" of "auths" in ${path} fits no registry: write it as "${host}".`;
      const fitting = keysFor(host, repository);
      const others = [...auths.keys()].filter(key => isNamespaceOf(key, host) && !fitting.includes(key));
      if (others.length > 0)
        return ` ${path} has credentials only for ${others.slice(0, 3).join(', ')}, which do not fit ${repository}.`;
      const ports = keysOfOtherPorts(auths, host);
      if (ports.length > 0)
        return ` ${path} has credentials only for ${ports.slice(0, 3).join(', ')}, which is not ${host}: the port is a part of the key.`;
    }
    return '';
  }

  /** Returns the reasons why no credentials were found, for the error of a registry that refuses the anonymous request. */
  async whyNone(
    host: string,
    repository: string,
  ): Promise<{ readonly helperFailure: RegistryCredentials | undefined; readonly credentialHint: string }> {
    return { helperFailure: this.failureFor(host), credentialHint: await this.hintFor(host, repository) };
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
    try {
      return await lookup.join(signal, credential => credential);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryCredentials)) throw error;
      this.#failures.set(host, error);
      this.#warn(key, helper, `${error.message}; going on without its credentials. ${error.hint}`);
      return undefined;
    }
  }

  #reportKey(path: string, key: string, host: string): void {
    this.#warn(
      `${path} ${key}`,
      path,
      `the key "${shownKey(key)}" of "auths" fits no registry: write it as "${host}", or as "${host}/NAMESPACE"`,
    );
  }

  #warn(key: string, subject: string, message: string): void {
    if (this.#reported.has(key)) return;
    this.#reported.add(key);
    this.#options.onEvent?.({ type: 'warning', subject, message });
  }

  async #readFiles(): Promise<readonly CredentialsFile[]> {
    const named = this.#options.registryConfig;
    const files: (CredentialsFile | undefined)[] = [];
    if (named !== undefined) files.push(await readCredentialsFile(named, true));
    try {
      files.push(credentialsVariable(this.#env));
    } catch (error) {
      ignoreBroken(error);
    }
    if (named !== undefined) return files.filter(isDefined);
    for (const path of defaultPaths(this.#env)) {
      files.push(await readCredentialsFile(path, false).catch(ignoreBroken));
    }
    return files.filter(isDefined);
  }
}

/** The variable with the text of a config.json, which docker (from 28.3 on) and GitLab's runner read. */
const CREDENTIALS_VARIABLE = 'DOCKER_AUTH_CONFIG';

/**
 * Returns the errors of broken files at the default paths, and of a broken DOCKER_AUTH_CONFIG. Such files are ignored when
 * credentials are looked up, because the user did not name them and an anonymous pull may do; the caller should warn.
 * `withFiles` is false where --registry-config takes the place of the files.
 */
export async function brokenDefaultFiles(
  env: Readonly<Record<string, string | undefined>>,
  withFiles = true,
): Promise<RegistryCredentials[]> {
  const broken: RegistryCredentials[] = [];
  const reading = [
    async () => credentialsVariable(env),
    ...[...new Set(withFiles ? defaultPaths(env) : [])].map(path => () => readCredentialsFile(path, false)),
  ];
  for (const read of reading)
    await read().catch(error => {
      ignoreBroken(error);
      broken.push(error as RegistryCredentials);
    });
  return broken;
}

/** @throws RegistryCredentials */
function credentialsVariable(env: Readonly<Record<string, string | undefined>>): CredentialsFile | undefined {
  const text = env[CREDENTIALS_VARIABLE];
  return text === undefined || text.trim() === '' ? undefined : parseCredentialsFile(text, CREDENTIALS_VARIABLE);
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
    const bytes = await readBoundedFile(path, MOST_CREDENTIALS_BYTES);
    if (bytes === undefined) throw tooLarge(path);
    return parseCredentialsFile(decodeCredentialsFile(bytes, path), path);
  } catch (error) {
    if (error instanceof RegistryCredentials) throw error;
    const code = errno(error) ?? '';
    if (!mustExist && ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(code)) return undefined;
    // Service accounts often have another user's HOME, which must not stop an anonymous pull.
    if (!mustExist && ['EACCES', 'EPERM'].includes(code)) return undefined;
    const found = whyUnread(error);
    throw new RegistryCredentials(`The credentials file ${path} cannot be read: ${found}`, {
      subject: path,
      found,
      hint: 'Name a file that exists and that you may read with --registry-config, or leave the option out.',
      cause: error,
    });
  }
}

/** A key may contain a login, whose password is not shown. */
function shownKey(key: string): string {
  return key.replace(/^(\s*(?:https?:\/\/)?[^:/@]*):(?!\/\/).*@/is, '$1:***@');
}

function sameHost(left: string, right: string): boolean {
  return left.toLowerCase() === right.toLowerCase() || (isDockerHub(left) && isDockerHub(right));
}

function isDefined<Value>(value: Value | undefined): value is Value {
  return value !== undefined;
}

/** Returns the error for a registry that refuses an anonymous request, where a helper was to have the credentials. */
export function withoutHelperError(
  registry: string,
  repository: string,
  failure: RegistryCredentials,
  refused: Partial<Pick<RegistryRefusal, 'subject' | 'status' | 'request' | 'registrySaid'>>,
): RegistryCredentials {
  const { subject, status, request, registrySaid } = refused;
  return new RegistryCredentials(`${registry} requires a login for ${repository}. ${failure.message}`, {
    ...Object.fromEntries(
      Object.entries({ subject, status, request, registrySaid }).filter(([, it]) => it !== undefined),
    ),
    found: failure.found ?? '',
    faultIn: failure.subject ?? '',
    hint: failure.hint,
    cause: failure,
  });
}

function tooLarge(path: string): RegistryCredentials {
  return new RegistryCredentials(`The credentials file ${path} is too large`, {
    subject: path,
    expected: `at most ${MOST_CREDENTIALS_BYTES >> 20} MiB`,
    found: 'more',
    hint: `Fix ${path}, or name a file with --registry-config.`,
  });
}
