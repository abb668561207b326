import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { OUTDATED_OPTIONS, type OutdatedFlags } from '../options/tables.ts';
import { runReported } from '../runCommand.ts';

export function outdatedCommand(): Command {
  const command = new Command('outdated').description(
    'List plugins for which the registry has a newer version than the manifest names.',
  );
  return addOptions(command, OUTDATED_OPTIONS).action(run);
}

async function run(flags: OutdatedFlags): Promise<void> {
  const { runOutdated } = await import('./run.ts');
  await runReported('outdated', flags, context => runOutdated({ ...context, flags }));
}
