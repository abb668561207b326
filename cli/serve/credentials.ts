import { readFileSync, statSync } from 'node:fs';
import { errno } from '../../base/errno.ts';
import { isUtf16 } from '../../base/utf16.ts';
import type { Credentials } from '../../server/options.ts';
import { tidySecret } from '../options/environment.ts';
import { OptionConflict, OptionInvalid } from '../options/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface CredentialFlags {
  readonly authTokenFile?: string | undefined;
  readonly authUser?: string | undefined;
  readonly authPasswordFile?: string | undefined;
}

/**
 * Reads token and password from files or from PLUGIN_MIRROR_AUTH_TOKEN and PLUGIN_MIRROR_AUTH_PASSWORD, never from the
 * command line, which every user of the machine can read. A byte order mark and a line break at the end of a file are not
 * part of the secret.
 * @throws OptionInvalid, OptionConflict
 */
export function readCredentials(flags: CredentialFlags, env: Environment): Credentials | undefined {
  const token = secret(flags.authTokenFile, '--auth-token-file', env.PLUGIN_MIRROR_AUTH_TOKEN);
  const password = secret(flags.authPasswordFile, '--auth-password-file', env.PLUGIN_MIRROR_AUTH_PASSWORD);
  const user = flags.authUser;
  if ((user === undefined) !== (password === undefined))
    throw new OptionConflict('A user and a password go together', {
      expected: '--auth-user with --auth-password-file or PLUGIN_MIRROR_AUTH_PASSWORD',
      found: user === undefined ? 'a password without a user' : 'a user without a password',
      hint: 'Give both, or neither.',
    });
  if (token === undefined && password === undefined) return undefined;
  return {
    ...(token === undefined ? {} : { token }),
    ...(user === undefined || password === undefined ? {} : { login: { user, password } }),
  };
}

/** Longer than any secret that fits into a header. */
const MAX_BYTES = 64 * 1024;

function secret(file: string | undefined, option: string, fromEnv: string | undefined): string | undefined {
  if (file === undefined) return fromEnv === '' ? undefined : fromEnv;
  let bytes: Buffer;
  try {
    // The server reads the file again and again: a pipe in its place would block it.
    const stats = statSync(file);
    if (!stats.isFile() || stats.size > MAX_BYTES)
      throw new Error(stats.isFile() ? `a file of ${stats.size} bytes` : 'no regular file');
    bytes = readFileSync(file);
  } catch (cause) {
    throw new OptionInvalid(`${option}: ${file} cannot be read`, {
      subject: option,
      expected: `a file of at most ${MAX_BYTES} bytes that this user may read`,
      found: cause instanceof Error && !('code' in cause) ? cause.message : (errno(cause) ?? String(cause)),
      hint: 'Check the path, and the owner of the file.',
      cause,
    });
  }
  const text = tidySecret(bytes.toString('utf8'));
  if (isUtf16(bytes))
    throw new OptionInvalid(`${option}: ${file} is in UTF-16`, {
      subject: option,
      expected: 'UTF-8',
      found: 'UTF-16',
      hint: 'Save it as UTF-8; in PowerShell with: Set-Content -Encoding utf8.',
    });
  if (text === '')
    throw new OptionInvalid(`${option}: ${file} is empty`, {
      subject: option,
      expected: 'a file that contains the secret',
      found: 'an empty file',
      hint: 'Write the secret into it, or leave the option out.',
    });
  return text;
}
