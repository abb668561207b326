import process from 'node:process';
import type { Readable } from 'node:stream';
import { RegistryCredentials } from '../errors.ts';
import { type Credential, credentialFrom } from './credentialsFile.ts';

/** What the helper has said is read for so long after its end: a child of its own may hold the pipe open for ever. */
const LAST_WORDS_MS = 500;

/**
 * Asks `docker-credential-NAME get` for a server (docker-credential-helpers' protocol: the server on stdin, JSON on stdout).
 * Undefined if the helper knows none. It is ended with all that it started when it takes longer than `timeoutMs`, or at the
 * signal. @throws RegistryCredentials if the helper is missing, fails or answers nonsense
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  env: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  const command = `docker-credential-${name}`;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) throw broken(command, server, 'its name is not that of a program');
  const { execa } = await import('execa');
  signal.throwIfAborted();
  const helper = execa(command, ['get'], {
    input: server,
    env,
    extendEnv: false,
    // A group of its own, so that all of it can be ended: many a helper is a script around another program.
    detached: process.platform !== 'win32',
    maxBuffer: 1_000_000,
    reject: false,
    stripFinalNewline: true,
  });
  const { timedOut } = await withinTime(helper, timeoutMs, signal);
  if (timedOut) throw broken(command, server, `it did not answer within ${timeoutMs / 1000} s`);
  const result = await helper;
  if (result.code === 'ENOENT') throw broken(command, server, 'it is not in PATH');
  if (result.exitCode !== 0) {
    // The reference helpers say this on stdout, with exit code 1.
    const said = `${result.stdout}\n${result.stderr}`;
    if (/credentials not found|no credentials|not found in native keychain/i.test(said)) return undefined;
    // Its other words stay unsaid: they may hold what it is there to keep.
    throw broken(command, server, reasonOf(result));
  }
  return readAnswer(result.stdout, command, server);
}

interface Helper extends Promise<unknown> {
  readonly pid?: number | undefined;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  kill(signal: NodeJS.Signals): boolean;
  once(event: 'exit', listener: () => void): unknown;
}

/** Waits for the helper's end and last words, no longer than allowed. @throws the signal's reason */
async function withinTime(helper: Helper, timeoutMs: number, signal: AbortSignal): Promise<{ timedOut: boolean }> {
  const shut = (): void => {
    helper.stdout?.destroy();
    helper.stderr?.destroy();
  };
  let timer: NodeJS.Timeout | undefined;
  let lastWords: NodeJS.Timeout | undefined;
  let stop = (): void => {};
  const ended = new Promise<'late' | 'left'>(resolve => {
    const leave = (): void => resolve('left');
    signal.addEventListener('abort', leave, { once: true });
    stop = () => signal.removeEventListener('abort', leave);
    timer = setTimeout(() => resolve('late'), timeoutMs);
  });
  helper.once('exit', () => {
    lastWords = setTimeout(shut, LAST_WORDS_MS);
  });
  try {
    const why = await Promise.race([helper.then(() => undefined), ended]);
    if (why === undefined) return { timedOut: false };
    killGroup(helper);
    shut();
    signal.throwIfAborted();
    return { timedOut: true };
  } finally {
    clearTimeout(timer);
    clearTimeout(lastWords);
    stop();
  }
}

function killGroup(helper: Helper): void {
  try {
    if (helper.pid !== undefined && process.platform !== 'win32') process.kill(-helper.pid, 'SIGKILL');
    else helper.kill('SIGKILL');
  } catch {
    // it has ended meanwhile
  }
}

function readAnswer(stdout: string, command: string, server: string): Credential | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    // Whatever stands there may be a secret: neither quoted nor kept as the cause.
    throw broken(command, server, 'its answer is not JSON');
  }
  const { Username: username, Secret: secret } = (answer ?? {}) as Record<string, unknown>;
  if (typeof username !== 'string' || typeof secret !== 'string')
    throw broken(command, server, 'its answer lacks Username or Secret');
  if (secret === '') return undefined;
  return credentialFrom(username, secret, command);
}

interface HelperEnd {
  readonly exitCode?: number | undefined;
  readonly code?: string | undefined;
  readonly signal?: string | undefined;
}

function reasonOf({ exitCode, code, signal }: HelperEnd): string {
  if (exitCode !== undefined) return `exit code ${exitCode}`;
  return signal === undefined ? `it could not be run (${code ?? 'no reason was given'})` : `it was ended by ${signal}`;
}

function broken(command: string, server: string, reason: string): RegistryCredentials {
  return new RegistryCredentials(`The credential helper ${command} failed for ${server}: ${reason}`, {
    subject: command,
    found: reason,
    hint: `Run "echo ${server} | ${command} get" to see what it says, or take it out of credHelpers and credsStore.`,
  });
}
