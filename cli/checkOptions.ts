import { access, constants } from 'node:fs/promises';
import { Refusal } from '../refusal/refusal.ts';
import type { RegistryFlags } from './registryOptions.ts';

/** An option whose value cannot be used, whatever the manifest says. */
export class OptionInvalid extends Refusal {
  readonly code = 'OPTION_INVALID';
}

/** Options that contradict each other. */
export class OptionConflict extends Refusal {
  readonly code = 'OPTION_CONFLICT';
}

/**
 * Refuses what can be seen to be wrong before anything is asked or touched; else each plugin would fail of it by itself, or
 * none would where nothing has to be asked. @throws OptionInvalid, OptionConflict, RegistryOptionsInvalid
 */
export async function checkOptions(flags: RegistryFlags, hasPassword: boolean): Promise<void> {
  const { platform, caFile, certFile, keyFile, registryConfig, username } = flags;
  if (platform !== undefined) (await import('../registry/choosePlatform.ts')).parsePlatform(platform);
  const files = { '--ca-file': caFile, '--cert-file': certFile, '--key-file': keyFile };
  for (const [option, file] of Object.entries({ ...files, '--registry-config': registryConfig }))
    if (file !== undefined) await requireReadable(option, file);
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new OptionConflict('--cert-file and --key-file belong together', {
      expected: 'both of them, or neither',
      found: certFile === undefined ? '--key-file alone' : '--cert-file alone',
      hint: 'Name the other file as well.',
    });
  if (username !== undefined && !hasPassword)
    throw new OptionConflict('--username comes without a password', {
      expected: '--password-stdin or PLUGIN_MIRROR_PASSWORD beside it',
      found: 'neither',
      hint: 'Pipe the password in: plugin-mirror … --username NAME --password-stdin < FILE',
    });
}

async function requireReadable(option: string, file: string): Promise<void> {
  try {
    await access(file, constants.R_OK);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new OptionInvalid(`The file of ${option} cannot be read: ${file}`, {
      subject: option,
      expected: 'a file that the user who runs this may read',
      found: code === 'ENOENT' ? 'no such file' : code,
      hint: 'Check the path; it is relative to the folder that the command runs in.',
      cause: error,
    });
  }
}
