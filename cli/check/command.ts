import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { isBuildMachine } from '../options/environment.ts';
import { registryOptions } from '../options/registryOptions.ts';
import { CHECK_OPTIONS, type CheckFlags } from '../options/tables.ts';
import { stampsFileOf } from '../options/userFolders.ts';

export function checkCommand(): Command {
  const command = new Command('check').description(
    'Report what sync would find: missing, damaged, moved, gone, extra, unknown, unreachable. Sends HEAD requests only and changes nothing; exits 3 if anything differs.',
  );
  return addOptions(command, CHECK_OPTIONS).action(run);
}

async function run(flags: CheckFlags, command: Command): Promise<void> {
  const [{ runCheck }, { withJsonErrors }, { withReport }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
    import('../report/reporting.ts'),
  ]);
  const stampsFile = stampsFileOf(process.env, flags.tree);
  const manifestPath = command.getOptionValueSource('manifest') === 'default' ? undefined : flags.manifest;
  const { manifest, report: file, tree, lock } = flags;
  const reporting = { command: 'check', manifest, file, tree, lock };
  process.exitCode = await withJsonErrors(flags.format, () =>
    withReport(reporting, async collect => {
      const options = await registryOptions(flags);
      const ci = isBuildMachine(process.env);
      return interruptible(signal =>
        runCheck({ flags, ci, registryOptions: options, stampsFile, manifestPath, signal, collect }),
      );
    }),
  );
}
