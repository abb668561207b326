import { isNetwork } from './clientAddress.ts';
import { ServerOptionInvalid } from './errors.ts';
import type { ServerEvent } from './events.ts';
import type { HigressRequests } from './higressRequests.ts';
import type { SocketMemory } from './sending/socketMemory.ts';

const MINUTE_MS = 60_000;

/**
 * Limits and intervals that no option of the command line sets: these values fit small and large mirrors alike. Tests
 * replace them to run faster.
 */
export const CONSTANTS = {
  /** Downloads that may wait beyond `maxDownloads`; further ones get 503 immediately. */
  maxWaitingDownloads: 1024,
  /** A download that has waited this long gets 503. */
  maxDownloadWaitMs: 10_000,
  /** The kernel refuses further connections. */
  maxConnections: 8192,
  /** The same with TLS, where each takes 50 to 100 KiB. */
  maxTlsConnections: 2048,
  /** Retry-After of every 503. Envoy and Istio wait at least a second between attempts themselves. */
  retryAfterSeconds: 2,
  /** From a request's first byte, or from the connection's start, to the end of its header; then 408. */
  headersTimeoutMs: 15_000,
  /** The same up to the end of the request's body. */
  requestTimeoutMs: 30_000,
  /** An idle connection is closed. Longer than the 75 s for which common proxies keep theirs, so that they close first. */
  keepAliveTimeoutMs: 90_000,
  /** Interval at which index.json, the files for TLS and the secrets are checked for changes. */
  pollMs: 1000,
  /** Interval at which a lasting problem of the tree is reported again. */
  repeatReportMs: MINUTE_MS,
  /** Pause of the scrubber between two rounds over all files. */
  scrubPauseMs: 5000,
  /** Age at which the scrubber hashes a file again. */
  maxHashAgeMs: 6 * 60 * MINUTE_MS,
  /** Rate at which the scrubber hashes: a tenth of what one core can do. */
  scrubBytesPerSecond: 64 * 1024 * 1024,
} as const;

export type Constants = { readonly [Name in keyof typeof CONSTANTS]: number };

/**
 * What a client must send to see the tree; one of the two is enough if both are set. The command line takes neither, because
 * other users of the machine can read it.
 */
export interface Credentials {
  /** RFC 6750: `Authorization: Bearer …`. */
  readonly token?: string;
  /** RFC 7617: `Authorization: Basic …`. */
  readonly login?: { readonly user: string; readonly password: string };
}

/** PEM files. The server reads them again when they change, so that a renewed certificate needs no restart. */
export interface TlsFilesSettings {
  /** The certificate, followed by the intermediate certificates. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Authorities that issue clients' certificates. A client without one of these sees only the health checks. Default: none. */
  readonly clientCaFile?: string;
}

/** Times are in milliseconds unless the name has another unit. */
export interface ServerOptions extends Partial<Constants> {
  /** The folder with index.json. It need not exist yet: until it has been loaded, requests get 503. */
  readonly treeDir: string;
  /** An OCI image layout, a tar or a folder, to serve by the OCI distribution API at /v2/. Default: none. */
  readonly images?: string;
  /** The version of this program, for /version. */
  readonly programVersion: string;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Prefix of all paths (`/mirror`), or empty. Health checks are answered without it as well. */
  readonly basePath: string;
  /** Further paths of plugin.wasm (`/wasm-plugins/${name}.wasm`); without `${version}`, that of the highest version. */
  readonly urlPatterns: readonly string[];
  /** Whether /plugins/<name>/latest/ is the highest version. */
  readonly latest: boolean;
  /**
   * When plugin.wasm is sent in a compressed form from the tree, to clients that accept it: never, always, or (`auto`) while
   * many downloads run at once or a client's link is slow.
   */
  readonly encoding: 'off' | 'auto' | 'on';
  /** Memory for chunks of files. */
  readonly cacheBytes: number;
  /** Downloads that run at once; more wait in a queue. */
  readonly maxDownloads: number;
  /** A connection is cut when it takes no further byte of its answer for this long. */
  readonly stallTimeoutMs: number;
  /** Number of proxies in front whose X-Forwarded-For is trusted. */
  readonly trustedProxies: number;
  /** Whether /status and /status.json exist. Default: true. */
  readonly status?: boolean;
  /**
   * Addresses, or networks such as 10.0.0.0/8, that many clients share: proxies and NAT. Every other address may have a
   * quarter of all downloads while others wait. Default: none.
   */
  readonly sharedAddresses?: readonly string[];
  /** Which answers are logged: all; all but those of health checks (`json`); failed ones (`errors`). */
  readonly accessLog?: 'all' | 'json' | 'errors';
  /** Writes lines of the access log. Default: no access log. */
  readonly writeAccessLog?: (text: string) => Promise<void>;
  /** The lockfile that the tree was made from, for /status. Default: none. */
  readonly lockFile?: string;
  /** Default: plain HTTP. */
  readonly tls?: TlsFilesSettings;
  /** Required from every client for everything but the health checks. Default: none. */
  readonly credentials?: Credentials;
  /** Reads what Higress releases request, for the pages. Default: the pages show no coverage. */
  readonly readHigress?: () => Promise<HigressRequests>;
  /** Reads `credentials` again, so that new secrets need no restart. Default: they do not change. */
  readonly rereadCredentials?: () => Promise<Credentials>;
  /** The limit of open files. Default: that of the process. */
  readonly maxDescriptors?: number;
  /** What the kernel may hold for slow clients. Default: a quarter of the container's memory. */
  readonly socketMemory?: SocketMemory;
  readonly onEvent?: (event: ServerEvent) => void;
}

type WithoutDefault =
  | 'images'
  | 'lockFile'
  | 'writeAccessLog'
  | 'tls'
  | 'credentials'
  | 'readHigress'
  | 'rereadCredentials'
  | 'maxDescriptors'
  | 'socketMemory';
export type ServerSettings = Required<Omit<ServerOptions, WithoutDefault>> & Pick<ServerOptions, WithoutDefault>;

/** Returns the options with the constants filled in. @throws ServerOptionInvalid */
export function resolveOptions(options: ServerOptions): ServerSettings {
  const { treeDir, host, basePath, urlPatterns, credentials } = options;
  if (treeDir === '') throw invalid('--tree', 'a folder', 'nothing');
  if (host === '') throw invalid('--host', 'an address of this machine', 'nothing');
  if (!/^(?:\/[A-Za-z0-9._~-]+)*$/.test(basePath) || basePath.split('/').some(isDots))
    throw invalid('--base-path', 'a path such as /mirror, without a slash at its end', basePath);
  for (const pattern of urlPatterns) requirePattern(pattern);
  for (const entry of options.sharedAddresses ?? [])
    if (!isNetwork(entry)) throw invalid('--shared-address', 'an address or a network such as 10.0.0.0/8', entry);
  if (credentials !== undefined) requireCredentials(credentials);
  return { accessLog: 'json', sharedAddresses: [], status: true, onEvent: () => {}, ...CONSTANTS, ...options };
}

/** Returns the options for /status, by their names. Secrets are replaced. */
export function shownOptions(settings: ServerSettings): Readonly<Record<string, unknown>> {
  const { treeDir, host, port, basePath, urlPatterns, latest, encoding, cacheBytes, maxDownloads } = settings;
  const {
    stallTimeoutMs,
    trustedProxies,
    sharedAddresses,
    images,
    lockFile,
    writeAccessLog,
    accessLog,
    tls,
    credentials,
  } = settings;
  return {
    tree: treeDir,
    host,
    port,
    basePath,
    urlPatterns,
    latest,
    encoding,
    memoryCacheBytes: cacheBytes,
    maxDownloads,
    stallTimeoutMs,
    trustedProxies,
    sharedAddresses,
    images: images ?? null,
    lock: lockFile ?? null,
    accessLog: writeAccessLog === undefined ? 'off' : accessLog,
    tls: tls ?? null,
    authToken: credentials?.token === undefined ? null : '***',
    authUser: credentials?.login?.user ?? null,
    authPassword: credentials?.login === undefined ? null : '***',
  };
}

/** @throws ServerOptionInvalid */
export function requireCredentials({ token, login }: Credentials): void {
  // RFC 6750, section 2.1.
  if (token !== undefined && !/^[A-Za-z0-9._~+/-]+=*$/.test(token))
    throw invalid(
      '--auth-token-file',
      'letters, digits and - . _ ~ + /',
      token === '' ? 'an empty text' : 'a token with other characters',
    );
  // RFC 7617, section 2: the first colon ends the name.
  if (login !== undefined && (login.user === '' || login.user.includes(':')))
    throw invalid('--auth-user', 'a name without a colon', JSON.stringify(login.user));
  if (login?.password === '') throw invalid('--auth-password-file', 'a password', 'an empty text');
}

function requirePattern(pattern: string): void {
  const expected = 'a path with ${name} in it, such as /wasm-plugins/${name}.wasm or /p/${name}/${version}.wasm';
  const example = pattern.replaceAll('${name}', 'n').replaceAll('${version}', '1');
  const fits = pattern.includes('${name}') && /^(?:\/[A-Za-z0-9._~+@:-]+)+$/.test(example);
  if (!fits || example.split('/').some(isDots)) throw invalid('--url-pattern', expected, pattern);
}

function isDots(part: string): boolean {
  return part === '.' || part === '..';
}

function invalid(flag: string, expected: string, found: string): ServerOptionInvalid {
  return new ServerOptionInvalid(`The option ${flag} cannot be ${found}`, {
    subject: flag,
    expected,
    found,
    hint: `See \`plugin-mirror serve --help\` for the values of ${flag} (or of its PLUGIN_MIRROR_ variable).`,
  });
}
