import process from 'node:process';
import { Command, Option } from 'commander';
import { interruptible } from '../interruptible.ts';
import { formatOption } from '../options/declare.ts';
import { isBuildMachine, list, path, seconds } from '../options/environment.ts';
import { blobCacheDir, stampsFileOf } from '../options/paths.ts';
import { addRegistryOptions, registryOptions } from '../options/registryOptions.ts';
import { codings } from './compressOption.ts';
import type { SyncFlags } from './flags.ts';

export function syncCommand(): Command {
  const command = new Command('sync')
    .description('Pull the plugins that manifest.json lists and publish them as plugins/<name>/<version>/plugin.wasm.')
    .addOption(
      new Option('--manifest <file>', 'the manifest')
        .env('PLUGIN_MIRROR_MANIFEST')
        .argParser(path)
        .default('manifest.json'),
    )
    .addOption(
      new Option('--out <dir>', 'the tree to publish into').env('PLUGIN_MIRROR_OUT').argParser(path).default('plugins'),
    )
    .addOption(
      new Option('--only <glob...>', 'mirror only plugins whose NAME or NAME/VERSION matches; !GLOB takes away')
        .env('PLUGIN_MIRROR_ONLY')
        .argParser(list),
    )
    .addOption(
      new Option(
        '--frozen',
        'mirror exactly the images that manifest.lock.json locks, or fail (the default where CI is set)',
      ).env('PLUGIN_MIRROR_FROZEN'),
    )
    .addOption(new Option('--no-frozen', 'resolve tags even where CI is set').env('PLUGIN_MIRROR_NO_FROZEN'))
    .addOption(
      new Option('--update [names...]', 'resolve the tags of these plugins again, or of all')
        .env('PLUGIN_MIRROR_UPDATE')
        .argParser(list),
    )
    .addOption(new Option('--no-lock', 'neither read nor write manifest.lock.json').env('PLUGIN_MIRROR_NO_LOCK'))
    .addOption(
      new Option(
        '--prune',
        'remove versions that the manifest no longer names; with --only, those that it matches',
      ).env('PLUGIN_MIRROR_PRUNE'),
    )
    .addOption(
      new Option('--rehash', 'hash every published byte even where nothing looks changed').env('PLUGIN_MIRROR_REHASH'),
    )
    .addOption(
      new Option(
        '--compress <codings>',
        'also publish plugin.wasm.gz, .br or .zst: gzip, br, zstd (from Node 22.15 on) separated by commas; other forms are removed',
      )
        .env('PLUGIN_MIRROR_COMPRESS')
        .argParser(codings)
        .default([], 'off'),
    )
    .addOption(
      new Option('--dry-run', 'print what would be done and how much would be downloaded; touch nothing').env(
        'PLUGIN_MIRROR_DRY_RUN',
      ),
    )
    .addOption(
      new Option('--wait <seconds>', 'wait this long for another sync of the same tree')
        .env('PLUGIN_MIRROR_WAIT')
        .argParser(seconds(0, 86_400))
        .default(0, '0'),
    )
    .addOption(
      new Option('--deadline <seconds>', 'stop the whole run after this long; finished plugins are kept')
        .env('PLUGIN_MIRROR_DEADLINE')
        .argParser(seconds(0.1, 604_800)),
    );
  return addRegistryOptions(command).addOption(formatOption()).action(run);
}

async function run(flags: SyncFlags): Promise<void> {
  const [{ runSync }, { withJsonErrors }, { SyncDeadline }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
    import('./deadline.ts'),
  ]);
  const stampsFile = stampsFileOf(process.env, flags.out);
  const ci = isBuildMachine(process.env);
  process.exitCode = await withJsonErrors(flags.format, async () => {
    const options = await registryOptions(flags, blobCacheDir(process.env, flags.cacheDir));
    return interruptible(
      signal => runSync({ flags, ci, registryOptions: options, stampsFile, signal }),
      flags.deadline === undefined ? undefined : new SyncDeadline(flags.deadline),
    );
  });
}
