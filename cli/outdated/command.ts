import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { registryOptions } from '../options/registryOptions.ts';
import { OUTDATED_OPTIONS, type OutdatedFlags } from '../options/tables.ts';

export function outdatedCommand(): Command {
  const command = new Command('outdated').description(
    'List plugins for which the registry has a newer version than the manifest names.',
  );
  return addOptions(command, OUTDATED_OPTIONS).action(run);
}

async function run(flags: OutdatedFlags): Promise<void> {
  const [{ runOutdated }, { withJsonErrors }, { withReport }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
    import('../report/reporting.ts'),
  ]);
  const { manifest, report: file, tree, lock } = flags;
  const reporting = { command: 'outdated', manifest, file, tree, lock };
  process.exitCode = await withJsonErrors(flags.format, () =>
    withReport(reporting, async collect => {
      const options = await registryOptions(flags);
      return interruptible(signal => runOutdated({ flags, registryOptions: options, signal, collect }));
    }),
  );
}
