import { Argument, Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { list } from '../options/environment.ts';
import { SYNC_OPTIONS, type SyncFlags } from '../options/tables.ts';
import { namedManifest, runReported } from '../runCommand.ts';

export function syncCommand(): Command {
  const command = new Command('sync').description(
    'Pull the plugins that manifest.json lists and publish them as plugins/<name>/<version>/plugin.wasm.',
  );
  command.addArgument(
    new Argument('[plugins...]', 'only these plugins, as --only: NAME, NAME/VERSION or a glob').argParser(list),
  );
  return addOptions(command, SYNC_OPTIONS).action(run);
}

async function run(plugins: readonly string[], given: SyncFlags, command: Command): Promise<void> {
  const flags = plugins.length === 0 ? given : { ...given, only: [...(given.only ?? []), ...plugins] };
  const { runSync, SyncDeadline } = await import('./run.ts');
  await runReported(
    'sync',
    flags,
    context => runSync({ ...context, flags, named: namedManifest(command) }),
    flags.deadline === undefined ? undefined : new SyncDeadline(flags.deadline),
  );
}
