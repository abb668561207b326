import { isRecord } from '../../base/shape.ts';
import { isUtf16 } from '../../base/utf16.ts';
import { RegistryCredentials } from '../errors.ts';
import { isDockerHub } from '../hosts/hosts.ts';

/** Credentials for a registry; `source` is where they were found, for messages. */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string; readonly source: string }
  /** An OAuth2 refresh token (distribution-spec, token authentication). */
  | { readonly kind: 'identityToken'; readonly token: string; readonly source: string };

/** The parts of docker's config.json or podman's auth.json that pulling needs. */
export interface CredentialsFile {
  readonly path: string;
  readonly auths: ReadonlyMap<string, Credential>;
  readonly credHelpers: ReadonlyMap<string, string>;
  readonly credsStore: string | undefined;
}

/** Docker's key for Docker Hub, in files and for credential helpers. */
export const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

const CONTENT = 'docker\'s config.json or podman\'s auth.json: an object such as {"auths": {"HOST": {"auth": "…"}}}';

/** Decodes the bytes of a credentials file. @throws RegistryCredentials for UTF-16, in which some tools of Windows write */
export function decodeCredentialsFile(bytes: Buffer, path: string): string {
  if (!isUtf16(bytes)) return bytes.toString('utf8');
  throw new RegistryCredentials(`The credentials file ${path} is not UTF-8: it looks like UTF-16`, {
    subject: path,
    expected: 'UTF-8',
    found: 'UTF-16',
    hint: 'Save it as UTF-8; in PowerShell with: Set-Content -Encoding utf8. Log in again with docker login where docker wrote it.',
  });
}

/** Parses docker's config.json or podman's auth.json. @throws RegistryCredentials, which never quotes the text */
export function parseCredentialsFile(text: string, path: string): CredentialsFile {
  const json = parseObject(text, path);
  for (const key of ['auths', 'credHelpers'] as const) requireKind(json, key, 'an object', isRecord, path);
  requireKind(json, 'credsStore', 'a text', value => typeof value === 'string', path);
  const misplaced = ['auths', 'credHelpers', 'credsStore'].some(key => key in json)
    ? undefined
    : entriesOf(json).find(([, value]) => isRecord(value) && (isText(value.auth) || isText(value.password)));
  if (misplaced !== undefined)
    throw new RegistryCredentials(`${kindOf(path)} has the entry of ${misplaced[0]}, but no "auths" around it`, {
      subject: path,
      expected: CONTENT,
      found: `an entry ${JSON.stringify(misplaced[0])} at the top`,
      hint: `Put the entries into an object: {"auths": {${JSON.stringify(misplaced[0])}: …}}.`,
    });
  const auths = new Map<string, Credential>();
  for (const [key, value] of entriesOf(json.auths)) {
    const credential = credentialOf(value, key, path);
    if (credential !== undefined) auths.set(key, credential);
  }
  const credHelpers = new Map<string, string>();
  for (const [key, value] of entriesOf(json.credHelpers)) if (isText(value)) credHelpers.set(key, value);
  return { path, auths, credHelpers, credsStore: isText(json.credsStore) ? json.credsStore : undefined };
}

/**
 * Returns the keys under which a file may have a registry, the most specific first: podman's `HOST/NAMESPACE/…`, the exact
 * host with its port, then Docker Hub's names. Older forms such as `https://HOST/v1/` are found by lookUp.
 */
export function keysFor(host: string, repository: string): string[] {
  const names = isDockerHub(host) ? ['docker.io', 'index.docker.io', 'registry-1.docker.io'] : [host];
  const parts = repository.split('/');
  const prefixes = parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
  const keys = prefixes.flatMap(prefix => names.map(name => `${name}/${prefix}`));
  return isDockerHub(host) ? [...keys, DOCKER_HUB_KEY, ...names] : [...keys, ...names];
}

/** Returns the value for a registry and repository; undefined if the map has none. */
export function lookUp<Value>(map: ReadonlyMap<string, Value>, host: string, repository: string): Value | undefined {
  for (const key of keysFor(host, repository)) {
    const value = map.get(key);
    if (value !== undefined) return value;
  }
  const names = new Set(
    (isDockerHub(host) ? ['docker.io', 'index.docker.io'] : [host]).map(name => name.toLowerCase()),
  );
  for (const [key, value] of map) if (names.has(hostOfKey(key))) return value;
  return undefined;
}

/** Returns the host of a key such as `https://HOST/v1/`; a key with another path is unchanged and fits no host. */
function hostOfKey(key: string): string {
  return key
    .toLowerCase()
    .replace(/^https?:\/\//, '')
    .replace(/\/(?:v[12]\/?)?$/, '');
}

/** Returns true for a key with a path, such as podman's `HOST/NAMESPACE`, at this host. */
export function isNamespaceOf(key: string, host: string): boolean {
  return key.toLowerCase().startsWith(`${host.toLowerCase()}/`) && hostOfKey(key) !== host.toLowerCase();
}

/**
 * Returns the keys that were meant for a host, or may have been, and that fit no repository of any host: with a wildcard, which
 * only Kubernetes knows, a URL with a path, a user name, or spaces around it.
 */
export function unusableKeys(map: ReadonlyMap<string, unknown>, host: string): string[] {
  return [...map.keys()].filter(key => {
    const { name, path, isStrange } = partsOf(key);
    if (name === '*') return true;
    if (name.includes('*')) return matchesWildcard(name, host.toLowerCase());
    if (name !== host.toLowerCase()) return false;
    const isPath = hostOfKey(key.trim()).includes('/');
    return isStrange || (isPath && (/^https?:/i.test(key) || path.some(part => /^$|[*]/.test(part))));
  });
}

/** Returns the keys that lack the port of the registry, or have one where the registry has none: each is another registry. */
export function keysOfOtherPorts(map: ReadonlyMap<string, unknown>, host: string): string[] {
  const withoutPort = (name: string): string => name.replace(/:\d+$/, '');
  const wanted = host.toLowerCase();
  const isWithout = withoutPort(wanted) === wanted;
  return [...map.keys()].filter(key => {
    const { name } = partsOf(key);
    return isWithout ? name !== wanted && withoutPort(name) === wanted : name === withoutPort(wanted);
  });
}

interface KeyParts {
  /** In lower case. */
  readonly name: string;
  readonly path: readonly string[];
  /** True if the key has spaces around it or a user name. */
  readonly isStrange: boolean;
}

function partsOf(key: string): KeyParts {
  const bare = key
    .trim()
    .toLowerCase()
    .replace(/^https?:\/\//, '');
  const withoutUser = bare.replace(/^[^/@]*@/, '');
  const [name = '', ...path] = withoutUser.split('/');
  return { name, path, isStrange: key !== key.trim() || withoutUser !== bare };
}

/** `*` stands for any text within one part of the name. */
function matchesWildcard(pattern: string, host: string): boolean {
  const parts = pattern.split('.');
  const names = host.split('.');
  return parts.length === names.length && parts.every((part, at) => matchesPart(part, names[at] ?? ''));
}

function matchesPart(pattern: string, name: string): boolean {
  const [first = '', ...more] = pattern.split('*');
  const last = more.at(-1) ?? '';
  return more.length === 0 ? pattern === name : name.startsWith(first) && name.endsWith(last);
}

function credentialOf(value: unknown, key: string, path: string): Credential | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entry = value as Record<string, unknown>;
  const source = path;
  const fromAuth = isText(entry.auth) ? decodeAuth(entry.auth, key, path) : undefined;
  const username = isText(entry.username) ? entry.username : fromAuth?.username;
  const password = isText(entry.password) ? entry.password : fromAuth?.password;
  if (isText(entry.identitytoken)) return { kind: 'identityToken', token: entry.identitytoken, source };
  if (username === undefined || password === undefined) return undefined;
  return credentialFrom(username, password, source);
}

/** The user name `<token>` marks the password as an identity token (docker-credential-helpers). */
export function credentialFrom(username: string, password: string, source: string): Credential {
  if (username === '<token>') return { kind: 'identityToken', token: password, source };
  return { kind: 'password', username, password, source };
}

/** A byte order mark and a line break, which `echo` and some editors add before text becomes base64, are not part of it. */
function decodeAuth(auth: string, key: string, path: string): { username: string; password: string } {
  const bytes = Buffer.from(auth, 'base64');
  const decoded = bytes.toString('utf8').replace(/^\ufeff/, '');
  let end = decoded.length;
  while (end > 0 && '\r\n\0'.includes(decoded[end - 1] ?? '')) end -= 1;
  const text = decoded.slice(0, end);
  const isWide = isUtf16(Buffer.from(text));
  const colon = text.indexOf(':');
  if (colon > 0 && !isWide) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
  throw new RegistryCredentials(`The credentials for ${key} in ${path} cannot be read`, {
    subject: path,
    expected: 'auths["…"].auth as base64 of USER:PASSWORD in UTF-8',
    found: isWide ? 'base64 of UTF-16' : 'something else',
    hint: `Log in again, for instance with "docker login", or fix the entry of ${key}.`,
  });
}

function parseObject(text: string, path: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch {
    // The parser's own error is dropped, because it quotes the text, which holds passwords.
    json = undefined;
  }
  if (isRecord(json)) return json;
  throw new RegistryCredentials(`${kindOf(path)} is not a JSON object`, {
    subject: path,
    expected: CONTENT,
    ...(text.trim() === '' ? { found: 'an empty file' } : {}),
    hint: `Fix ${path}, or name a file with --registry-config.`,
  });
}

/** Docker writes null for an empty member. @throws RegistryCredentials */
function requireKind(
  json: Record<string, unknown>,
  key: string,
  kind: string,
  fits: (value: unknown) => boolean,
  path: string,
): void {
  const value = json[key] ?? undefined;
  if (value === undefined || fits(value)) return;
  throw new RegistryCredentials(`${kindOf(path)} cannot be used: its "${key}" is not ${kind}`, {
    subject: path,
    expected: CONTENT,
    found: `${Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`} at ${key}`,
    hint: `Fix ${path}, or name a file with --registry-config.`,
  });
}

function entriesOf(value: unknown): [string, unknown][] {
  return isRecord(value) ? Object.entries(value) : [];
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** A file, or the text of a variable, which has no path. */
function kindOf(path: string): string {
  return /^[A-Z_]+$/.test(path) ? `The variable ${path}` : `The credentials file ${path}`;
}
