import { access, constants } from 'node:fs/promises';
import { withoutLogin } from '../../registry/reference.ts';
import { OptionConflict, OptionInvalid } from './errors.ts';
import type { RegistryFlags } from './tables.ts';

/**
 * Refuses options that cannot work before any request is sent or any file is changed. Otherwise each plugin would fail with
 * the same error, or the mistake would go unnoticed in a run that needs no request.
 * @throws OptionInvalid, OptionConflict, RegistryOptionsInvalid
 */
export async function checkOptions(
  flags: RegistryFlags,
  hasPasswordVariable: boolean,
  isTerminal: boolean,
): Promise<void> {
  const { platform, caFile, certFile, keyFile, certsDir, registryConfig } = flags;
  if (platform !== undefined) (await import('../../registry/image.ts')).parsePlatform(platform);
  const files = { '--ca-file': caFile, '--cert-file': certFile, '--key-file': keyFile };
  for (const [option, file] of Object.entries({
    ...files,
    '--certs-dir': certsDir,
    '--registry-config': registryConfig,
  }))
    if (file !== undefined) await requireReadable(option, file);
  if (registryConfig !== undefined)
    await (await import('./credentialsFiles.ts')).requireCredentialsFile(registryConfig);
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new OptionConflict('--cert-file and --key-file go together', {
      expected: 'both options, or neither',
      found: `only ${certFile === undefined ? '--key-file' : '--cert-file'}`,
      hint: 'Give both options.',
    });
  checkLogin(flags, hasPasswordVariable, isTerminal);
}

const PIPE = 'Read the password from a file or a pipe: plugin-mirror … --username NAME --password-stdin < FILE';

/** A user name needs a password, a password needs a user name, and there may be only one password. */
function checkLogin(
  { username, passwordStdin = false }: RegistryFlags,
  hasVariable: boolean,
  isTerminal: boolean,
): void {
  const where = passwordStdin ? '--password-stdin' : 'PLUGIN_MIRROR_PASSWORD';
  if (passwordStdin && hasVariable)
    throw new OptionConflict('--password-stdin and PLUGIN_MIRROR_PASSWORD both give a password', {
      expected: 'one password',
      found: 'two',
      hint: 'Leave out --password-stdin, or unset PLUGIN_MIRROR_PASSWORD.',
    });
  if (username === undefined && (passwordStdin || hasVariable))
    throw new OptionConflict(`${where} needs a user name`, {
      subject: where,
      expected: '--username or PLUGIN_MIRROR_USERNAME',
      found: 'neither',
      hint: `Give the user name with --username, or leave out ${where}: the logins of docker and podman are used without it.`,
    });
  if (username === undefined) return;
  if (!passwordStdin && !hasVariable)
    throw new OptionConflict('--username needs a password', {
      subject: '--username',
      expected: '--password-stdin or PLUGIN_MIRROR_PASSWORD',
      found: 'neither',
      hint: PIPE,
    });
  if (username === '' || username.includes(':'))
    throw new OptionInvalid('--username has a name that cannot be sent', {
      subject: '--username',
      expected: 'a name without a colon (RFC 7617)',
      found: username === '' ? 'an empty name' : 'a name with a colon',
      hint: 'Give only the name. The password is read with --password-stdin or from PLUGIN_MIRROR_PASSWORD.',
    });
  if (passwordStdin && isTerminal)
    throw new OptionInvalid('--password-stdin does not read from a terminal, which would show the password', {
      subject: '--password-stdin',
      expected: 'a file or a pipe',
      found: 'a terminal',
      hint: PIPE,
    });
}

async function requireReadable(option: string, file: string): Promise<void> {
  try {
    await access(file, constants.R_OK);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    // A path may contain an @. A URL, given by mistake, may contain a login.
    const shown = /:.*@|\?.*=/s.test(file) ? withoutLogin(file) : file;
    throw new OptionInvalid(`${option}: ${shown} cannot be read`, {
      subject: option,
      expected: 'a file that this user may read',
      found: code === 'ENOENT' ? 'no such file' : code,
      hint: 'Check the path. It is relative to the current folder.',
      cause: error,
    });
  }
}
