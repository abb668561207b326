import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { errno } from '../../base/errno.ts';
import { withinTime } from '../../base/withinTime.ts';
import { RegistryCredentials } from '../errors.ts';
import { type Credential, credentialFrom } from './credentialsFile.ts';

/** Output is read this long after the helper's end: a child of the helper may keep the pipe open forever. */
const DRAIN_MS = 500;
const MISSING = 'it is not in PATH';
const WITHOUT_INTERPRETER = 'it is in PATH, but the interpreter that it names is missing';

/**
 * Runs `docker-credential-NAME get` for a server (protocol of docker-credential-helpers: the server on stdin, JSON on stdout).
 * Returns undefined if the helper has no credentials for it. The helper and its children are killed after `timeoutMs`, or at
 * an abort. @throws RegistryCredentials if the helper is missing, fails or prints something else; the signal's reason
 */
export async function runCredentialHelper(
  name: string,
  server: string,
  env: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  const command = `docker-credential-${name}`;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw helperError(command, server, 'its name is not a valid program name');
  const { execa } = await import('execa');
  signal.throwIfAborted();
  const helper = execa(command, ['get'], {
    input: server,
    env,
    extendEnv: false,
    // A process group of its own, so that its children can be killed, too: many helpers are scripts around another program.
    detached: process.platform !== 'win32',
    maxBuffer: 1_000_000,
    reject: false,
    stripFinalNewline: true,
  });
  await endOf(helper, timeoutMs, signal).catch(error => {
    signal.throwIfAborted();
    if (errno(error) !== 'ETIMEDOUT') throw error;
    throw helperError(command, server, `it did not answer within ${timeoutMs / 1000} s`);
  });
  const result = await helper;
  if (result.code === 'ENOENT')
    throw helperError(command, server, (await isIn(env.PATH, command)) ? WITHOUT_INTERPRETER : MISSING);
  if (result.exitCode !== 0) {
    // The reference helpers print this on stdout, with exit code 1.
    const said = `${result.stdout}\n${result.stderr}`;
    if (/credentials not found|no credentials|not found in native keychain/i.test(said)) return undefined;
    // No other output is quoted, because it may hold a secret.
    throw helperError(command, server, reasonOf(result));
  }
  return parseOutput(result.stdout, command, server);
}

/** The system reports the same error for a missing program and for a missing interpreter of a script. */
async function isIn(path: string | undefined, command: string): Promise<boolean> {
  for (const folder of path?.split(delimiter) ?? []) {
    const found = await access(join(folder, command)).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}

interface Helper extends Promise<unknown> {
  readonly pid?: number | undefined;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  kill(signal: NodeJS.Signals): boolean;
  once(event: 'exit', listener: () => void): unknown;
}

/** Waits for the helper's end and its output, and kills it if that takes too long. @throws as withinTime */
async function endOf(helper: Helper, timeoutMs: number, signal: AbortSignal): Promise<void> {
  let drain: NodeJS.Timeout | undefined;
  const shut = (): void => {
    helper.stdout?.destroy();
    helper.stderr?.destroy();
  };
  helper.once('exit', () => {
    drain = setTimeout(shut, DRAIN_MS);
  });
  try {
    await withinTime(timeoutMs, signal, helper);
  } catch (error) {
    killGroup(helper);
    shut();
    throw error;
  } finally {
    clearTimeout(drain);
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

function parseOutput(stdout: string, command: string, server: string): Credential | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    // The output may hold a secret: it is neither quoted nor kept as the cause.
    throw helperError(command, server, 'its output is not JSON');
  }
  const { Username: username, Secret: secret } = (answer ?? {}) as Record<string, unknown>;
  if (typeof username !== 'string' || typeof secret !== 'string')
    throw helperError(command, server, 'its output lacks Username or Secret');
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

function helperError(command: string, server: string, reason: string): RegistryCredentials {
  return new RegistryCredentials(`The credential helper ${command} failed for ${server}: ${reason}`, {
    subject: command,
    found: reason,
    hint:
      reason === MISSING
        ? `${command} keeps the password, which is not in docker's configuration itself: install the helper, or give --username with --password-stdin or PLUGIN_MIRROR_PASSWORD; in an image build REGISTRY_USERNAME and the secret registry-password. Remove it from credHelpers and credsStore if no login is needed.`
        : `Run "echo ${server} | ${command} get" to see its output, or remove it from credHelpers and credsStore.`,
  });
}
