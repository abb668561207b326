import process from 'node:process';
import { Argument, Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { isBuildMachine, list } from '../options/environment.ts';
import { registryOptions } from '../options/registryOptions.ts';
import { SYNC_OPTIONS, type SyncFlags } from '../options/tables.ts';
import { stampsFileOf } from '../options/userFolders.ts';

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
  const [{ runSync }, { withJsonErrors }, { SyncDeadline }, { withReport }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
    import('./deadline.ts'),
    import('../report/reporting.ts'),
  ]);
  const stampsFile = stampsFileOf(process.env, flags.tree);
  const ci = isBuildMachine(process.env);
  const manifestPath = command.getOptionValueSource('manifest') === 'default' ? undefined : flags.manifest;
  const { manifest, report: file, tree, lock } = flags;
  const reporting = { command: 'sync', manifest, file, tree, lock };
  process.exitCode = await withJsonErrors(flags.format, () =>
    withReport(reporting, async collect => {
      const options = await registryOptions(flags);
      return interruptible(
        signal => runSync({ flags, ci, registryOptions: options, stampsFile, manifestPath, signal, collect }),
        flags.deadline === undefined ? undefined : new SyncDeadline(flags.deadline),
      );
    }),
  );
}
