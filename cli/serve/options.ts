import {
  action,
  choice,
  count,
  duration,
  file,
  parsed,
  several,
  text,
  toggle,
  type ValuesOf,
} from '../options/declare.ts';
import { wholeNumber } from '../options/environment.ts';

const DEFAULT_PORT = 8080;

/** All options of `serve`. Limits that no option sets are constants in server/options.ts. */
export const SERVE_OPTIONS = {
  tree: file('--tree <dir>', 'folder that sync publishes into', 'plugins'),
  images: file(
    '--images <path>',
    'also serve the images of this bundle (tar or folder) through the read-only OCI registry API at /v2/',
  ),
  host: text('--host <address>', 'address to listen on; :: means all addresses, IPv6 and IPv4', '::'),
  port: parsed('--port <number>', 'port to listen on; 0 chooses a free one', portNumber, DEFAULT_PORT),
  basePath: text(
    '--base-path <path>',
    'prefix of all paths, such as /mirror; /healthz, /readyz and /metrics also work without it',
    '',
  ),
  urlPattern: several(
    '--url-pattern <pattern>',
    "another path for each plugin.wasm, such as '/wasm-plugins/${name}.wasm' (repeatable; without ${version}: the highest version)",
  ),
  latest: toggle('--latest', 'also serve the highest version at /plugins/<name>/latest/'),
  encoding: choice(
    '--encoding <when>',
    'when to send compressed files to clients that accept them: never (off), under load or over slow links (auto), always (on)',
    ['off', 'auto', 'on'],
    'auto',
  ),
  memoryCache: count('--memory-cache <MiB>', 'memory for cached parts of files', [1, 65_536], 48),
  maxDownloads: count('--max-downloads <n>', 'concurrent downloads; further ones wait in a queue', [1, 100_000], 1536),
  stallTimeout: duration(
    '--stall-timeout',
    'cut a connection whose client reads nothing for this long',
    [0.1, 3600],
    60,
  ),
  trustedProxies: count(
    '--trusted-proxies <n>',
    'number of proxies in front of the server whose X-Forwarded-For, -Proto, -Host and -Prefix are trusted',
    [0, 16],
    0,
  ),
  sharedAddress: several(
    '--shared-address <address>',
    'address or network (10.0.0.0/8) of a NAT or a proxy that many clients share; it may use more than a quarter of the downloads while others wait (repeatable)',
  ),
  tlsCert: file('--tls-cert <file>', 'serve HTTPS with this certificate (PEM); the file is read again when it changes'),
  tlsKey: file('--tls-key <file>', "the certificate's key (PEM)"),
  tlsClientCa: file(
    '--tls-client-ca <file>',
    'require a client certificate of these authorities (PEM); other clients get 403',
  ),
  authTokenFile: file(
    '--auth-token-file <file>',
    'require the token in this file (Authorization: Bearer); PLUGIN_MIRROR_AUTH_TOKEN may hold it instead',
  ),
  authUser: text('--auth-user <name>', 'require this user and a password (Authorization: Basic)'),
  authPasswordFile: file(
    '--auth-password-file <file>',
    'file with the password; PLUGIN_MIRROR_AUTH_PASSWORD may hold it instead',
  ),
  status: choice('--status <when>', 'serve /status and /status.json', ['on', 'off'], 'on'),
  lock: file('--lock <file>', 'the manifest.lock.json from which the tree was made; /status shows its digest'),
  logLevel: choice('--log-level <level>', 'minimum level of messages on stderr', ['error', 'warn', 'info'], 'info'),
  logFormat: choice(
    '--log-format <format>',
    'format of messages on stderr; auto is text in a terminal and JSON lines otherwise',
    ['auto', 'text', 'json'],
    'auto',
  ),
  accessLog: choice(
    '--access-log <kind>',
    'JSON lines on stdout for all responses but successful health checks (json), failed ones (errors), every one (all), or none (off)',
    ['json', 'errors', 'all', 'off'],
    'json',
  ),
  drainDelay: duration(
    '--drain-delay',
    'how long to keep serving after SIGTERM, while /readyz returns 503',
    [0, 600],
    3,
  ),
  grace: duration('--grace', 'how long running downloads may then take to end', [0, 3600], 25),
  printConfig: action('--print-config', 'print the effective options as JSON and exit'),
} as const;

export type ServeFlags = ValuesOf<typeof SERVE_OPTIONS>;

/** Kubernetes sets PLUGIN_MIRROR_PORT=tcp://… in pods next to a Service named plugin-mirror: such a value is ignored. */
function portNumber(value: string): number {
  return /^(?:tcp|udp|sctp):\/\//.test(value) ? DEFAULT_PORT : wholeNumber(0, 65_535)(value);
}
