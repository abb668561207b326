import { RegistryCredentials } from '../errors.ts';
import { type Credential, credentialFrom } from './credentialsFile.ts';

const TIMEOUT_MS = 30_000;

/**
 * Asks `docker-credential-NAME get` for a server (docker-credential-helpers' protocol: the server on stdin, JSON on stdout).
 * Undefined if the helper knows none. @throws RegistryCredentials if the helper is missing, fails or answers nonsense
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  const command = `docker-credential-${name}`;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) throw broken(command, server, 'its name is not that of a program');
  const { execa } = await import('execa');
  signal.throwIfAborted();
  const result = await execa(command, ['get'], {
    input: server,
    env,
    extendEnv: false,
    timeout: TIMEOUT_MS,
    cancelSignal: signal,
    forceKillAfterDelay: 1000,
    maxBuffer: 1_000_000,
    reject: false,
    stripFinalNewline: true,
  });
  signal.throwIfAborted();
  if (result.code === 'ENOENT') throw broken(command, server, 'it is not in PATH');
  if (result.timedOut) throw broken(command, server, `it did not answer within ${TIMEOUT_MS / 1000} s`);
  if (result.failed) {
    // The reference helpers say this on stdout, with exit code 1.
    const said = `${result.stdout}\n${result.stderr}`;
    if (/credentials not found|no credentials|not found in native keychain/i.test(said)) return undefined;
    throw broken(command, server, reasonOf(result.exitCode, result.code, said));
  }
  return readAnswer(result.stdout, command, server);
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

/** The helper's own words if they cannot be an answer with a secret in it. */
function reasonOf(exitCode: number | undefined, errno: string | undefined, said: string): string {
  const words = said
    .replace(/[\u0000-\u001f\u007f]+/g, ' ')
    .trim()
    .slice(0, 200);
  const end =
    exitCode === undefined ? `it could not be run (${errno ?? 'stopped by a signal'})` : `exit code ${exitCode}`;
  return words === '' || /["{}]/.test(words) ? end : `${end}: ${words}`;
}

function broken(command: string, server: string, reason: string): RegistryCredentials {
  return new RegistryCredentials(`The credential helper ${command} failed for ${server}: ${reason}`, {
    subject: command,
    found: reason,
    hint: `Run "echo ${server} | ${command} get" to see what it says, or take it out of credHelpers and credsStore.`,
  });
}
