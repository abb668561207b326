import { access, constants } from 'node:fs/promises';
import { withoutLogin } from '../../registry/reference.ts';
import { OptionConflict, OptionInvalid } from './errors.ts';
import type { RegistryFlags } from './registryFlags.ts';

/**
 * Refuses what can be seen to be wrong before anything is asked or touched; else each plugin would fail of it by itself, or
 * none would where nothing has to be asked. @throws OptionInvalid, OptionConflict, RegistryOptionsInvalid
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
    throw new OptionConflict('--cert-file and --key-file belong together', {
      expected: 'both of them, or neither',
      found: certFile === undefined ? '--key-file alone' : '--cert-file alone',
      hint: 'Name the other file as well.',
    });
  checkLogin(flags, hasPasswordVariable, isTerminal);
}

const PIPE = 'Pipe the password in: plugin-mirror … --username NAME --password-stdin < FILE';

/** A user name and a password, each from one place, or neither. */
function checkLogin(
  { username, passwordStdin = false }: RegistryFlags,
  hasVariable: boolean,
  isTerminal: boolean,
): void {
  const where = passwordStdin ? '--password-stdin' : 'PLUGIN_MIRROR_PASSWORD';
  if (passwordStdin && hasVariable)
    throw new OptionConflict('There are two passwords', {
      expected: '--password-stdin or PLUGIN_MIRROR_PASSWORD',
      found: 'both',
      hint: 'Leave one of them out.',
    });
  if (username === undefined && (passwordStdin || hasVariable))
    throw new OptionConflict(`${where} comes without a user name`, {
      subject: where,
      expected: '--username or PLUGIN_MIRROR_USERNAME beside it',
      found: 'neither',
      hint: `Name the user with --username, or leave ${where} out: docker's and podman's logins are used by themselves.`,
    });
  if (username === undefined) return;
  if (!passwordStdin && !hasVariable)
    throw new OptionConflict('--username comes without a password', {
      subject: '--username',
      expected: '--password-stdin or PLUGIN_MIRROR_PASSWORD beside it',
      found: 'neither',
      hint: PIPE,
    });
  if (username === '' || username.includes(':'))
    throw new OptionInvalid('The user name of --username cannot be sent', {
      subject: '--username',
      expected: 'a name without a colon (RFC 7617)',
      found: username === '' ? 'an empty one' : 'a name with a colon in it',
      hint: 'Give the name alone; the password comes by --password-stdin or PLUGIN_MIRROR_PASSWORD.',
    });
  if (passwordStdin && isTerminal)
    throw new OptionInvalid('--password-stdin reads no terminal, which would show the password', {
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
    // A path may well have an @ in it; a URL, which is none, may have a login.
    const shown = /:.*@|\?.*=/s.test(file) ? withoutLogin(file) : file;
    throw new OptionInvalid(`The file of ${option} cannot be read: ${shown}`, {
      subject: option,
      expected: 'a file that the user who runs this may read',
      found: code === 'ENOENT' ? 'no such file' : code,
      hint: 'Check the path; it is relative to the folder that the command runs in.',
      cause: error,
    });
  }
}
