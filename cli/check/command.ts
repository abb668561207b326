import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { CHECK_OPTIONS, type CheckFlags } from '../options/tables.ts';
import { namedManifest, runReported } from '../runCommand.ts';

export function checkCommand(): Command {
  const command = new Command('check').description(
    'Report what sync would find: missing, damaged, moved, gone, extra, unknown, unreachable. Sends HEAD requests only and changes nothing; exits 3 if anything differs.',
  );
  return addOptions(command, CHECK_OPTIONS).action(run);
}

async function run(flags: CheckFlags, command: Command): Promise<void> {
  const { runCheck } = await import('./run.ts');
  await runReported('check', flags, context => runCheck({ ...context, flags, named: namedManifest(command) }));
}
