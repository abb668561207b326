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
    'also serve the images of this bundle (tar or folder) by the read-only OCI registry API at /v2/',
  ),
  host: text('--host <address>', 'address to listen on; :: is every address, IPv6 and IPv4', '::'),
  port: parsed('--port <number>', 'port to listen on; 0 takes any free one', portNumber, DEFAULT_PORT),
  basePath: text(
    '--base-path <path>',
    'prefix of all paths, such as /mirror; /healthz, /readyz and /metrics are also answered without it',
    '',
  ),
  urlPattern: several(
    '--url-pattern <pattern>',
    "further path of each plugin.wasm, such as '/wasm-plugins/${name}.wasm' (repeatable; without ${version}: the highest version)",
  ),
  latest: toggle('--latest', 'serve the highest version also as /plugins/<name>/latest/'),
  encoding: choice(
    '--encoding <when>',
    'when to send plugin.wasm.gz, .br or .zst to clients that accept it: never, under load or over slow links, or always',
    ['off', 'auto', 'on'],
    'auto',
  ),
  memoryCache: count('--memory-cache <MiB>', 'memory for parts of files', [1, 65_536], 48),
  maxDownloads: count('--max-downloads <n>', 'concurrent downloads; more wait in a queue', [1, 100_000], 1536),
  stallTimeout: duration(
    '--stall-timeout',
    'cut a connection whose client takes nothing of its answer for so long',
    [0.1, 3600],
    60,
  ),
  trustedProxies: count(
    '--trusted-proxies <n>',
    'proxies in front whose X-Forwarded-For, -Proto, -Host and -Prefix are trusted',
    [0, 16],
    0,
  ),
  sharedAddress: several(
    '--shared-address <address>',
    'address or network (10.0.0.0/8) that many clients share, such as a NAT or a proxy: may have more than a quarter of the downloads while others wait (repeatable)',
  ),
  tlsCert: file('--tls-cert <file>', 'serve HTTPS with this certificate (PEM); the file is read again when it changes'),
  tlsKey: file('--tls-key <file>', "the certificate's key (PEM)"),
  tlsClientCa: file('--tls-client-ca <file>', 'require client certificates of these authorities (PEM); others get 403'),
  authTokenFile: file(
    '--auth-token-file <file>',
    'require this token (Authorization: Bearer); PLUGIN_MIRROR_AUTH_TOKEN may hold it instead',
  ),
  authUser: text('--auth-user <name>', 'require this user and a password (Authorization: Basic)'),
  authPasswordFile: file(
    '--auth-password-file <file>',
    'that password; PLUGIN_MIRROR_AUTH_PASSWORD may hold it instead',
  ),
  status: choice('--status <when>', 'serve /status and /status.json', ['on', 'off'], 'on'),
  lock: file('--lock <file>', 'the manifest.lock.json that the tree was made from: /status shows its digest'),
  logLevel: choice('--log-level <level>', 'least level of messages on stderr', ['error', 'warn', 'info'], 'info'),
  logFormat: choice(
    '--log-format <format>',
    'format of messages on stderr; auto is text in a terminal and JSON lines otherwise',
    ['auto', 'text', 'json'],
    'auto',
  ),
  accessLog: choice(
    '--access-log <kind>',
    'JSON lines on stdout: one per answer except successful health checks (json), per failed answer (errors), per answer (all), or none (off)',
    ['json', 'errors', 'all', 'off'],
    'json',
  ),
  drainDelay: duration(
    '--drain-delay',
    'after SIGTERM, how long to keep serving while /readyz answers 503',
    [0, 600],
    3,
  ),
  grace: duration('--grace', 'after that, how long running downloads may take to end', [0, 3600], 25),
  printConfig: action('--print-config', 'print the effective options as JSON and exit'),
} as const;

export type ServeFlags = ValuesOf<typeof SERVE_OPTIONS>;

/** Kubernetes sets PLUGIN_MIRROR_PORT=tcp://… in pods next to a Service named plugin-mirror: such a value is ignored. */
function portNumber(value: string): number {
  return /^(?:tcp|udp|sctp):\/\//.test(value) ? DEFAULT_PORT : wholeNumber(0, 65_535)(value);
}
