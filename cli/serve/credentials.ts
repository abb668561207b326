import { readFileSync } from 'node:fs';
import type { Credentials } from '../../server/options.ts';
import { OptionConflict, OptionInvalid } from '../options/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface CredentialFlags {
  readonly authTokenFile?: string | undefined;
  readonly authUser?: string | undefined;
  readonly authPasswordFile?: string | undefined;
}

/**
 * Reads token and password from files or from PLUGIN_MIRROR_AUTH_TOKEN and PLUGIN_MIRROR_AUTH_PASSWORD, never from the
 * command line, which every user of the machine can read. A line break at the end of a file, and a byte order mark at its start, are not a part of the secret.
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

function secret(file: string | undefined, option: string, fromEnv: string | undefined): string | undefined {
  if (file === undefined) return fromEnv === '' ? undefined : fromEnv;
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new OptionInvalid(`${option}: ${file} cannot be read`, {
      subject: option,
      expected: 'a file that this user may read',
      found: cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause),
      hint: 'Check the path, and the owner of the file.',
      cause,
    });
  }
  if (UTF_16.has(bytes.subarray(0, 2).toString('latin1')))
    throw new OptionInvalid(`${option}: ${file} is a text in UTF-16`, {
      subject: option,
      expected: 'a text in UTF-8 or ASCII',
      found: 'the byte order mark of UTF-16, which PowerShell writes by default',
      hint: 'Write the file again as UTF-8 (in PowerShell: `Set-Content -Encoding utf8NoBOM`).',
    });
  return bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replace(/\r?\n$/, '');
}

/** The byte order marks of UTF-16, both orders, as Latin-1. */
const UTF_16: ReadonlySet<string> = new Set(['\xff\xfe', '\xfe\xff']);
