import type { Credentials } from './connections/access.ts';
import type { TlsFilesSettings } from './connections/tlsFiles.ts';
import { ServerOptionInvalid } from './errors.ts';
import type { ServerEvent } from './events.ts';
import type { MetricFamily } from './metricFamily.ts';

/** Everything that a server can be told. Times in milliseconds unless the name says otherwise. */
export interface ServerOptions {
  /** The folder with index.json. It may be missing yet: 503 is answered until there is a tree. */
  readonly treeDir: string;
  /** This program's version, for /version. */
  readonly programVersion: string;
  /** Default 0.0.0.0. */
  readonly host?: string;
  /** Default 8080; 0 takes any free one. */
  readonly port?: number;
  /** All paths of the server lie below it (`/mirror`); health checks answer at the root as well. Default none. */
  readonly basePath?: string;
  /** `/wasm-plugins/${name}.wasm`: further paths of plugin.wasm; without `${version}` the highest. Default none. */
  readonly urlPatterns?: readonly string[];
  /** Whether /plugins/<name>/latest/ is the highest version. Default false. */
  readonly latest?: boolean;
  /**
   * Whether plugin.wasm is sent in a compressed form that lies beside it, to clients that take it: never, always, or
   * (`auto`, the default) when many download at once or the way to them is narrow.
   */
  readonly encoding?: 'off' | 'auto' | 'on';
  /** Cache-Control of pinned versions. Default `public, max-age=31536000, immutable`; `private` with credentials. */
  readonly cachePinned?: string;
  /** Cache-Control of all else. Default `no-cache`. */
  readonly cacheOther?: string;
  /** Memory for pieces of files. Default 48 MiB. */
  readonly cacheBytes?: number;
  /** Downloads that run at once; more wait in line. Default 1536. */
  readonly maxBodies?: number;
  /** Length of that line. Default 1024. */
  readonly maxWaitingBodies?: number;
  /** How long a download may stand in line before 503. Default 10 s. */
  readonly maxBodyWaitMs?: number;
  /** Default 8192. */
  readonly maxConnections?: number;
  /** Retry-After of 503. Default 2 s. */
  readonly retryAfterSeconds?: number;
  /** Until a request's header is there. Default 15 s. */
  readonly headersTimeoutMs?: number;
  /** Until a whole request is there, its body included. Default 30 s. */
  readonly requestTimeoutMs?: number;
  /** How long a body may make no progress at all. Default 60 s. */
  readonly stallTimeoutMs?: number;
  /** How long a connection is kept without a request; longer than the 75 s of common proxies. Default 90 s. */
  readonly keepAliveTimeoutMs?: number;
  /** How often the tree is looked at. Default 1 s. */
  readonly pollMs?: number;
  /** Pause between two looks at all files. Default 5 s. */
  readonly patrolMs?: number;
  /** After how long a file is hashed again. Default 6 h. */
  readonly verifyMs?: number;
  /** How fast, when nobody waits for it. Default 64 MiB/s. */
  readonly verifyBytesPerSecond?: number;
  /** How many proxies in front are trusted to tell the client's address in X-Forwarded-For. Default 0. */
  readonly trustedProxies?: number;
  /** Of answers below 400, one in so many is logged; 0: none. Default 1. */
  readonly logSampleEvery?: number;
  /** Writes lines of the access log; without it there is none. */
  readonly writeAccessLog?: (text: string) => Promise<void>;
  /** Serve HTTPS with these files. Default: plain HTTP. */
  readonly tls?: TlsFilesSettings;
  /** Who may see anything but the health checks. Default: everybody. */
  readonly credentials?: Credentials;
  /** Adds what other workers count to what this one does, for /metrics. Default: there are no others. */
  readonly gatherMetrics?: (own: readonly MetricFamily[]) => Promise<readonly MetricFamily[]>;
  readonly onEvent?: (event: ServerEvent) => void;
}

/** What has no default is off. */
type Optional = 'writeAccessLog' | 'tls' | 'credentials';
export type ServerSettings = Required<Omit<ServerOptions, Optional>> & Pick<ServerOptions, Optional>;

/** Fills in the defaults and refuses what cannot work, before anything is opened. @throws ServerOptionInvalid */
export function settleOptions(options: ServerOptions): ServerSettings {
  const settings: ServerSettings = {
    host: '0.0.0.0',
    port: 8080,
    basePath: '',
    urlPatterns: [],
    latest: false,
    encoding: 'auto',
    // RFC 9111, 3.5: "public" would let a shared cache hand out what only some may see.
    cachePinned: `${options.credentials === undefined ? 'public' : 'private'}, max-age=31536000, immutable`,
    cacheOther: 'no-cache',
    cacheBytes: 48 * 1024 * 1024,
    maxBodies: 1536,
    maxWaitingBodies: 1024,
    maxBodyWaitMs: 10_000,
    maxConnections: 8192,
    retryAfterSeconds: 2,
    headersTimeoutMs: 15_000,
    requestTimeoutMs: 30_000,
    stallTimeoutMs: 60_000,
    keepAliveTimeoutMs: 90_000,
    pollMs: 1000,
    patrolMs: 5000,
    verifyMs: 6 * 3600_000,
    verifyBytesPerSecond: 64 * 1024 * 1024,
    trustedProxies: 0,
    logSampleEvery: 1,
    gatherMetrics: async own => own,
    onEvent: () => {},
    ...options,
  };
  for (const [name, least, most] of LIMITS) {
    const value = settings[name];
    if (Number.isSafeInteger(value) && value >= least && value <= most) continue;
    if (name.endsWith('Ms')) throw unfit(name, `${least / 1000} to ${most / 1000} seconds`, `${value / 1000} s`);
    throw unfit(name, `a whole number from ${least} to ${most}`, String(value));
  }
  if (settings.treeDir === '') throw unfit('treeDir', 'a folder', 'nothing');
  if (settings.host === '') throw unfit('host', 'an address of this machine', 'nothing');
  if (!/^(?:\/[A-Za-z0-9._~-]+)*$/.test(settings.basePath) || settings.basePath.split('/').some(isDots))
    throw unfit('basePath', 'a path such as /mirror, without a slash at its end', settings.basePath);
  for (const name of ['cachePinned', 'cacheOther'] as const)
    if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(settings[name]))
      throw unfit(name, 'the value of a Cache-Control header', JSON.stringify(settings[name]));
  for (const pattern of settings.urlPatterns) checkPattern(pattern);
  checkCredentials(settings.credentials);
  return settings;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const LIMITS = [
  ['port', 0, 65_535],
  ['cacheBytes', 1024 * 1024, 64 * 1024 ** 3],
  ['maxBodies', 1, 100_000],
  ['maxWaitingBodies', 0, 100_000],
  ['maxBodyWaitMs', 0, 10 * MINUTE_MS],
  ['maxConnections', 1, 1_000_000],
  ['retryAfterSeconds', 0, 3600],
  ['headersTimeoutMs', 100, HOUR_MS],
  ['requestTimeoutMs', 100, HOUR_MS],
  ['stallTimeoutMs', 100, HOUR_MS],
  ['keepAliveTimeoutMs', 100, HOUR_MS],
  ['pollMs', 10, HOUR_MS],
  ['patrolMs', 10, 24 * HOUR_MS],
  ['verifyMs', 10, 365 * 24 * HOUR_MS],
  ['verifyBytesPerSecond', 64 * 1024, 64 * 1024 ** 3],
  ['trustedProxies', 0, 16],
  ['logSampleEvery', 0, 1_000_000],
] as const;

function checkCredentials(credentials: Credentials | undefined): void {
  const { token, login } = credentials ?? {};
  // RFC 6750, 2.1; and RFC 7617, 2: a colon would end the name.
  if (token !== undefined && !/^[A-Za-z0-9._~+/-]+=*$/.test(token))
    throw unfit('authToken', 'letters, digits and - . _ ~ + /', 'other characters, or nothing');
  if (login !== undefined && (login.user === '' || login.user.includes(':')))
    throw unfit('authUser', 'a name without a colon', JSON.stringify(login.user));
  if (login?.password === '') throw unfit('authPassword', 'a password', 'nothing');
}

function checkPattern(pattern: string): void {
  const expected = 'a path with ${name} in it, such as /wasm-plugins/${name}.wasm or /p/${name}/${version}.wasm';
  const rest = pattern.replaceAll('${name}', 'n').replaceAll('${version}', '1');
  const fits = pattern.includes('${name}') && /^(?:\/[A-Za-z0-9._~+@:-]+)+$/.test(rest);
  if (!fits || rest.split('/').some(isDots)) throw unfit('urlPatterns', expected, pattern);
}

function isDots(part: string): boolean {
  return part === '.' || part === '..';
}

/** Flags that are not called like their setting. */
const FLAGS: Readonly<Record<string, string>> = {
  treeDir: 'tree',
  urlPatterns: 'url-pattern',
  cacheBytes: 'memory-cache',
  maxBodies: 'max-downloads',
  maxWaitingBodies: 'max-queue',
  maxBodyWaitMs: 'queue-timeout',
  retryAfterSeconds: 'retry-after',
  pollMs: 'poll-interval',
  patrolMs: 'check-interval',
  verifyMs: 'verify-interval',
  verifyBytesPerSecond: 'verify-rate',
  logSampleEvery: 'log-sample',
  authToken: 'auth-token-file',
  authPassword: 'auth-password-file',
};

function unfit(name: string, expected: string, found: string): ServerOptionInvalid {
  const own = name.replace(/Ms$/, '').replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
  const flag = `--${FLAGS[name] ?? own}`;
  return new ServerOptionInvalid(`The server's option ${flag} cannot be ${found}`, {
    subject: flag,
    expected,
    found,
    hint: `See \`plugin-mirror serve --help\` for what it takes (${flag}, or its PLUGIN_MIRROR_ variable).`,
  });
}
