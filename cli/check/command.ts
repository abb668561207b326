import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { CHECK_OPTIONS, type CheckFlags } from '../options/tables.ts';
import { namedManifest, runReported } from '../runCommand.ts';

export function checkCommand(): Command {
  const command = new Command('check').description(
    'Compare manifest, lockfile, tree and registry. Sends only HEAD requests, changes nothing, and exits with 3 if anything differs.',
  );
  return addOptions(command, CHECK_OPTIONS)
    .addHelpText(
      'after',
      '\nFindings: missing, damaged, stale, unlocked, extra and unknown (tree and lockfile); moved, gone, unreachable and untold (registry).',
    )
    .action(run);
}

async function run(flags: CheckFlags, command: Command): Promise<void> {
  const { runCheck } = await import('./run.ts');
  await runReported('check', flags, context => runCheck({ ...context, flags, named: namedManifest(command) }));
}
