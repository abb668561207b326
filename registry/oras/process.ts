import { stat } from 'node:fs/promises';
import { execa } from 'execa';
import { RegistryTimeout } from '../errors.ts';
import { OrasMissing } from './errors.ts';

/** ORAS handles SIGINT only (it removes nothing either way); what does not end on it is killed after this long. */
const KILL_AFTER_MS = 2000;
const STDOUT_BYTES = 8 * 1024 * 1024;

/** All that ORAS, written in Go, reads of its environment; the rest of ours, secrets included, is none of its business. */
const PASSED_ON = [
  ...['PATH', 'HOME', 'TMPDIR', 'SystemRoot', 'USERPROFILE', 'TEMP', 'LOCALAPPDATA', 'PATHEXT'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'],
  ...['SSL_CERT_FILE', 'SSL_CERT_DIR', 'GODEBUG'],
];

export interface OrasCall {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Ends it when it has been silent for so long: neither a byte of output nor growth of `growing`. */
  readonly timeoutMs: number;
  /** The file it writes. */
  readonly growing?: string;
  /** Hears each chunk of output; what it answers ends ORAS and is thrown. */
  readonly judge?: (chunk: Buffer) => Error | undefined;
  readonly subject: string;
}

export interface OrasResult {
  readonly failed: boolean;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs ORAS once. @throws the signal's reason; OrasMissing; what `judge` answers; RegistryTimeout if it was silent for too long */
export async function runOras(call: OrasCall): Promise<OrasResult> {
  const { args, env, signal, growing } = call;
  signal.throwIfAborted();
  const stopping = new AbortController();
  const onAbort = () => stopping.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  const subprocess = execa('oras', args, {
    env: pick(env),
    extendEnv: false,
    stdin: 'ignore',
    encoding: 'buffer',
    maxBuffer: STDOUT_BYTES,
    reject: false,
    cancelSignal: stopping.signal,
    killSignal: 'SIGINT',
    forceKillAfterDelay: KILL_AFTER_MS,
  });
  const watch = new Watch(call.timeoutMs, growing, () => stopping.abort());
  let verdict: Error | undefined;
  subprocess.stdout.on('data', (chunk: Buffer) => {
    watch.heard();
    verdict ??= call.judge?.(chunk);
    if (verdict !== undefined) stopping.abort();
  });
  try {
    const result = await subprocess;
    signal.throwIfAborted();
    if (verdict !== undefined) throw verdict;
    if (watch.expired) throw silent(call);
    if (result.code === 'ENOENT' || result.code === 'EACCES')
      throw new OrasMissing(`\`oras\` cannot be started (${result.code})`, result.cause);
    const { stdout, stderr } = result;
    return {
      failed: result.failed,
      stdout: Buffer.from(stdout),
      stderr: Buffer.from(stderr).toString('utf8') || (result.failed ? (result.shortMessage ?? '') : ''),
    };
  } finally {
    watch.stop();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Looks now and then whether something still happens. ORAS has no timeout of its own. */
class Watch {
  readonly #timer: NodeJS.Timeout;
  #silentSince = Date.now();
  #sizeBytes = 0;
  expired = false;

  constructor(timeoutMs: number, growing: string | undefined, onExpired: () => void) {
    let looking = false;
    const look = async () => {
      if (looking) return;
      looking = true;
      const sizeBytes = growing === undefined ? 0 : await sizeOf(growing);
      looking = false;
      if (sizeBytes !== this.#sizeBytes) this.heard();
      this.#sizeBytes = sizeBytes;
      if (Date.now() - this.#silentSince < timeoutMs) return;
      this.expired = true;
      onExpired();
    };
    this.#timer = setInterval(look, Math.max(20, Math.min(1000, timeoutMs / 4)));
  }

  heard(): void {
    this.#silentSince = Date.now();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}

function silent({ subject, timeoutMs }: OrasCall): RegistryTimeout {
  return new RegistryTimeout(`The registry was silent for ${timeoutMs / 1000} s when asked for ${subject}`, {
    subject,
    expected: `an answer, and then a byte at least every ${timeoutMs / 1000} s`,
    found: 'silence',
    temporary: true,
    retryLimit: 2,
    hint: 'Check the network and its proxies, or allow more time with --timeout.',
  });
}

function pick(env: OrasCall['env']): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = env[name];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}
