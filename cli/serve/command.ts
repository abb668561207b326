import { Command, Option } from 'commander';
import { list, path, seconds, wholeNumber } from '../options/environment.ts';
import type { ServeFlags } from './flags.ts';

const DEFAULT_PORT = 8080;

export function serveCommand(): Command {
  const command = new Command('serve').description(
    'Serve the tree over HTTP: /plugins/<name>/<version>/plugin.wasm, a start page, /healthz, /readyz, /metrics.',
  );
  const timed = (flag: string, about: string, env: string, most: number, byDefaultMs: number): Option =>
    new Option(`${flag} <seconds>`, about)
      .env(env)
      .argParser(seconds(0, most))
      .default(byDefaultMs, String(byDefaultMs / 1000));
  const counted = (
    flag: string,
    about: string,
    env: string,
    [least, most]: [number, number],
    byDefault: number,
  ): Option => new Option(flag, about).env(env).argParser(wholeNumber(least, most)).default(byDefault);
  const options = [
    new Option('--tree <dir>', 'the folder that sync published into')
      .env('PLUGIN_MIRROR_TREE')
      .argParser(path)
      .default('plugins'),
    new Option('--host <address>', 'where to listen').env('PLUGIN_MIRROR_HOST').default('0.0.0.0'),
    new Option('--port <number>', 'where to listen; 0 takes any free port')
      .env('PLUGIN_MIRROR_PORT')
      .argParser(portNumber)
      .default(DEFAULT_PORT),
    new Option('--base-path <path>', 'put everything below this path').env('PLUGIN_MIRROR_BASE_PATH').default(''),
    new Option(
      '--url-pattern <pattern>',
      "a further path of each plugin.wasm, such as '/wasm-plugins/${name}.wasm' (repeatable; without ${version} the highest)",
    )
      .env('PLUGIN_MIRROR_URL_PATTERN')
      .argParser(list),
    new Option('--latest', 'serve the highest version as /plugins/<name>/latest/, too').env('PLUGIN_MIRROR_LATEST'),
    new Option('--encoding <when>', 'send compressed forms that lie beside plugin.wasm: never, when it pays, or always')
      .env('PLUGIN_MIRROR_ENCODING')
      .choices(['off', 'auto', 'on'])
      .default('auto'),
    new Option(
      '--cache-pinned <value>',
      'Cache-Control of versions whose digest is pinned (default: public, max-age=31536000, immutable; private instead of public where a token or password is asked for)',
    ).env('PLUGIN_MIRROR_CACHE_PINNED'),
    new Option('--cache-other <value>', 'Cache-Control of everything else')
      .env('PLUGIN_MIRROR_CACHE_OTHER')
      .default('no-cache'),
    counted('--memory-cache <MiB>', 'memory for pieces of files', 'PLUGIN_MIRROR_MEMORY_CACHE', [1, 65_536], 48),
    counted('--max-downloads <n>', 'downloads that run at once', 'PLUGIN_MIRROR_MAX_DOWNLOADS', [1, 100_000], 1536),
    counted(
      '--max-queue <n>',
      'downloads that wait in line beyond that',
      'PLUGIN_MIRROR_MAX_QUEUE',
      [0, 100_000],
      1024,
    ),
    timed('--queue-timeout', 'how long one may wait before 503', 'PLUGIN_MIRROR_QUEUE_TIMEOUT', 600, 10_000),
    counted('--max-connections <n>', 'open connections', 'PLUGIN_MIRROR_MAX_CONNECTIONS', [1, 1_000_000], 8192),
    counted('--retry-after <seconds>', 'what a 503 asks for', 'PLUGIN_MIRROR_RETRY_AFTER', [0, 3600], 2),
    timed('--headers-timeout', 'until the header of a request is there', 'PLUGIN_MIRROR_HEADERS_TIMEOUT', 3600, 15_000),
    timed('--request-timeout', 'until the whole request is there', 'PLUGIN_MIRROR_REQUEST_TIMEOUT', 3600, 30_000),
    timed('--stall-timeout', 'how long a body may make no progress', 'PLUGIN_MIRROR_STALL_TIMEOUT', 3600, 60_000),
    timed(
      '--keep-alive-timeout',
      'how long to keep an idle connection',
      'PLUGIN_MIRROR_KEEP_ALIVE_TIMEOUT',
      3600,
      90_000,
    ),
    timed('--poll-interval', 'how often to look for a new tree', 'PLUGIN_MIRROR_POLL_INTERVAL', 3600, 1000),
    timed('--check-interval', 'pause between two looks at all files', 'PLUGIN_MIRROR_CHECK_INTERVAL', 86_400, 5000),
    timed(
      '--verify-interval',
      'after how long a file is hashed again',
      'PLUGIN_MIRROR_VERIFY_INTERVAL',
      31_536_000,
      21_600_000,
    ),
    counted('--verify-rate <MiB>', 'how much of them a second', 'PLUGIN_MIRROR_VERIFY_RATE', [1, 65_536], 64),
    counted(
      '--trusted-proxies <n>',
      'proxies in front whose X-Forwarded-For counts',
      'PLUGIN_MIRROR_TRUSTED_PROXIES',
      [0, 16],
      0,
    ),
    new Option('--tls-cert <file>', 'serve HTTPS with this certificate (PEM); read again when it changes')
      .env('PLUGIN_MIRROR_TLS_CERT')
      .argParser(path),
    new Option('--tls-key <file>', 'the key of that certificate').env('PLUGIN_MIRROR_TLS_KEY').argParser(path),
    new Option('--tls-client-ca <file>', 'authorities of clients: who shows no certificate of theirs gets 403')
      .env('PLUGIN_MIRROR_TLS_CLIENT_CA')
      .argParser(path),
    new Option(
      '--auth-token-file <file>',
      'ask for this token (Authorization: Bearer); or put the token into PLUGIN_MIRROR_AUTH_TOKEN',
    )
      .env('PLUGIN_MIRROR_AUTH_TOKEN_FILE')
      .argParser(path),
    new Option('--auth-user <name>', 'ask for this user and a password (Authorization: Basic)').env(
      'PLUGIN_MIRROR_AUTH_USER',
    ),
    new Option('--auth-password-file <file>', 'that password; or put it into PLUGIN_MIRROR_AUTH_PASSWORD')
      .env('PLUGIN_MIRROR_AUTH_PASSWORD_FILE')
      .argParser(path),
    counted(
      '--workers <n>',
      'processes that share the port, and the limits above',
      'PLUGIN_MIRROR_WORKERS',
      [1, 256],
      1,
    ),
    new Option('--log-level <level>', 'what is told on stderr')
      .env('PLUGIN_MIRROR_LOG_LEVEL')
      .choices(['error', 'warn', 'info'])
      .default('info'),
    new Option('--access-log <kind>', 'one JSON line per answer on stdout, per failed answer, or none')
      .env('PLUGIN_MIRROR_ACCESS_LOG')
      .choices(['json', 'errors', 'off'])
      .default('json'),
    counted('--log-sample <n>', 'of answers below 400, log one in n', 'PLUGIN_MIRROR_LOG_SAMPLE', [1, 1_000_000], 1),
    timed(
      '--drain-delay',
      'on SIGTERM, how long to serve on while /readyz says no',
      'PLUGIN_MIRROR_DRAIN_DELAY',
      600,
      3000,
    ),
    timed('--grace', 'how long running downloads may take to end after that', 'PLUGIN_MIRROR_GRACE', 3600, 25_000),
    new Option('--print-config', 'print what would be used, as JSON, and end'),
  ];
  for (const option of options) command.addOption(option);
  return command.action(run);
}

/** Kubernetes sets PLUGIN_MIRROR_PORT=tcp://… where a Service is named plugin-mirror: that is not meant for us. */
function portNumber(text: string): number {
  return /^(?:tcp|udp|sctp):\/\//.test(text) ? DEFAULT_PORT : wholeNumber(0, 65_535)(text);
}

async function run(flags: ServeFlags, command: Command): Promise<void> {
  const { runServe } = await import('./run.ts');
  await runServe(flags, command.parent?.version() ?? '');
}
