import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { isBuildMachine } from '../options/environment.ts';
import { stampsFileOf } from '../options/paths.ts';
import { registryOptions } from '../options/registryOptions.ts';
import { SYNC_OPTIONS, type SyncFlags } from '../options/tables.ts';

export function syncCommand(): Command {
  const command = new Command('sync').description(
    'Pull the plugins that manifest.json lists and publish them as plugins/<name>/<version>/plugin.wasm.',
  );
  return addOptions(command, SYNC_OPTIONS).action(run);
}

async function run(flags: SyncFlags, command: Command): Promise<void> {
  const [{ runSync }, { withJsonErrors }, { SyncDeadline }, { withReport }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
    import('./deadline.ts'),
    import('../report/reporting.ts'),
  ]);
  const stampsFile = stampsFileOf(process.env, flags.out);
  const ci = isBuildMachine(process.env);
  const manifestPath = command.getOptionValueSource('manifest') === 'default' ? undefined : flags.manifest;
  const reporting = { command: 'sync', manifest: flags.manifest, file: flags.report };
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
