import { stat } from 'node:fs/promises';
import { execa } from 'execa';
import { Refusal } from '../../base/refusal.ts';
import { RegistryTimeout } from '../errors.ts';
import type { RegistryOptions } from '../registry.ts';

/** ORAS handles only SIGINT (and removes no files in any case); it is killed if it has not ended after this long. */
const KILL_AFTER_MS = 2000;
const STDOUT_BYTES = 8 * 1024 * 1024;

/** The variables that ORAS and Go read. The rest of the environment may hold secrets and is not passed on. */
const PASSED_ON = [
  ...['PATH', 'HOME', 'TMPDIR', 'SystemRoot', 'USERPROFILE', 'TEMP', 'LOCALAPPDATA', 'PATHEXT'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'],
  ...['SSL_CERT_FILE', 'SSL_CERT_DIR', 'GODEBUG'],
];

export interface OrasCall {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** The process is ended after this long without output and without growth of `growing`. */
  readonly timeoutMs: number;
  /** The file that the process writes. */
  readonly growing?: string;
  /** Called with each chunk of output; an error that it returns ends the process and is thrown. */
  readonly judge?: (chunk: Buffer) => Error | undefined;
  readonly subject: string;
}

export interface OrasResult {
  readonly failed: boolean;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs ORAS once. @throws OrasMissing; the error of `judge`; RegistryTimeout after `timeoutMs` of silence; the signal's reason */
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
    watch.progressed();
    verdict ??= call.judge?.(chunk);
    if (verdict !== undefined) stopping.abort();
  });
  try {
    const result = await subprocess;
    signal.throwIfAborted();
    if (verdict !== undefined) throw verdict;
    if (watch.expired) throw timeoutError(call);
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

/** Checks regularly for progress, because ORAS has no timeout. */
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
      if (sizeBytes !== this.#sizeBytes) this.progressed();
      this.#sizeBytes = sizeBytes;
      if (Date.now() - this.#silentSince < timeoutMs) return;
      this.expired = true;
      onExpired();
    };
    this.#timer = setInterval(look, Math.max(20, Math.min(1000, timeoutMs / 4)));
  }

  progressed(): void {
    this.#silentSince = Date.now();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Returns a file's size in bytes; 0 if there is no such file. */
export async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}

function timeoutError({ subject, timeoutMs }: OrasCall): RegistryTimeout {
  return new RegistryTimeout(`The registry sent nothing for ${timeoutMs / 1000} s while ORAS requested ${subject}`, {
    subject,
    expected: `a reply, and then a byte at least every ${timeoutMs / 1000} s`,
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

/** It has `blob fetch --no-tty`, `--cert-file` and everything else that is used here. */
const OLDEST = [1, 3, 0] as const;

/** Returns the version of the ORAS CLI on PATH, such as `1.3.3`. @throws OrasMissing, OrasTooOld */
export async function readOrasVersion(
  { env = {}, timeoutMs = 30_000 }: RegistryOptions,
  signal: AbortSignal,
): Promise<string> {
  const { stdout } = await runOras({ args: ['version'], env, signal, timeoutMs, subject: 'its version' });
  const [, major, minor, patch] = /^Version:\s+v?(\d+)\.(\d+)\.(\d+)/m.exec(stdout.toString('utf8')) ?? [];
  if (major === undefined) throw new OrasMissing('the `oras` on PATH is another program of that name');
  const version = [Number(major), Number(minor), Number(patch)];
  const differing = OLDEST.findIndex((part, index) => version[index] !== part);
  if (differing >= 0 && (version[differing] ?? 0) < (OLDEST[differing] ?? 0)) throw new OrasTooOld(version.join('.'));
  return version.join('.');
}

const HOW_TO_GET =
  'Get ORAS 1.3.0 or later: `apt install oras` (Debian 13 and later), `brew install oras`, copy /bin/oras out of the image ghcr.io/oras-project/oras:v1.3.3, or oras-project/setup-oras in GitHub Actions. The npm package of that name is another project. Or use --engine builtin, which needs no other program.';

/** There is no ORAS CLI on PATH, or another program of that name. */
export class OrasMissing extends Refusal {
  readonly code = 'ORAS_MISSING';

  constructor(found: string, cause?: unknown) {
    super(`The ORAS CLI is needed for --engine oras: ${found}`, {
      subject: 'oras',
      expected: 'the ORAS CLI, 1.3.0 or later, on PATH',
      found,
      hint: HOW_TO_GET,
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** The ORAS CLI lacks options that are used here. */
export class OrasTooOld extends Refusal {
  readonly code = 'ORAS_TOO_OLD';

  constructor(version: string) {
    super(`The ORAS CLI on PATH is ${version}, which is too old`, {
      subject: 'oras',
      expected: '1.3.0 or later',
      found: version,
      hint: HOW_TO_GET,
    });
  }
}
