import process from 'node:process';
import { Command, Option } from 'commander';
import { interruptible } from '../interruptible.ts';
import { formatOption } from '../options/declare.ts';
import { isBuildMachine, path } from '../options/environment.ts';
import { blobCacheDir, stampsFileOf } from '../options/paths.ts';
import { addRegistryOptions, registryOptions } from '../options/registryOptions.ts';
import type { CheckFlags } from './run.ts';

export function checkCommand(): Command {
  const command = new Command('check')
    .description(
      'Report what sync would find: missing, damaged, moved, gone, extra, unknown, unreachable. Sends HEAD requests only and changes nothing; exits 3 if anything differs.',
    )
    .addOption(
      new Option('--manifest <file>', 'the manifest')
        .env('PLUGIN_MIRROR_MANIFEST')
        .argParser(path)
        .default('manifest.json'),
    )
    .addOption(
      new Option('--out <dir>', 'the tree to check').env('PLUGIN_MIRROR_OUT').argParser(path).default('plugins'),
    )
    .addOption(
      new Option('--rehash', 'hash every published byte even where nothing looks changed').env('PLUGIN_MIRROR_REHASH'),
    );
  return addRegistryOptions(command).addOption(formatOption()).action(run);
}

async function run(flags: CheckFlags): Promise<void> {
  const [{ runCheck }, { withJsonErrors }] = await Promise.all([import('./run.ts'), import('../render/jsonErrors.ts')]);
  const stampsFile = stampsFileOf(process.env, flags.out);
  process.exitCode = await withJsonErrors(flags.format, async () => {
    const options = await registryOptions(flags, blobCacheDir(process.env, flags.cacheDir));
    return interruptible(signal =>
      runCheck({ flags, ci: isBuildMachine(process.env), registryOptions: options, stampsFile, signal }),
    );
  });
}
