import process from 'node:process';
import { Command, Option } from 'commander';
import { interruptible } from '../interruptible.ts';
import { formatOption } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import { blobCacheDir } from '../options/paths.ts';
import { addRegistryOptions, registryOptions } from '../options/registryOptions.ts';
import type { OutdatedFlags } from './run.ts';

export function outdatedCommand(): Command {
  const command = new Command('outdated')
    .description('List plugins for which the registry has a newer version than the manifest names.')
    .addOption(
      new Option('--manifest <file>', 'the manifest')
        .env('PLUGIN_MIRROR_MANIFEST')
        .argParser(path)
        .default('manifest.json'),
    )
    .addOption(new Option('--out <dir>', 'the tree').env('PLUGIN_MIRROR_OUT').argParser(path).default('plugins'))
    .addOption(new Option('--pre', 'count pre-releases as newer versions too'))
    .addOption(new Option('--all', 'list plugins that are up to date as well'));
  return addRegistryOptions(command).addOption(formatOption()).action(run);
}

async function run(flags: OutdatedFlags): Promise<void> {
  const [{ runOutdated }, { withJsonErrors }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
  ]);
  process.exitCode = await withJsonErrors(flags.format, async () => {
    const options = await registryOptions(flags, blobCacheDir(process.env, flags.cacheDir));
    return interruptible(signal => runOutdated({ flags, registryOptions: options, signal }));
  });
}
