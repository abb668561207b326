import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import { BUNDLE_DIFF_OPTIONS, BUNDLE_OPTIONS, type BundleDiffFlags, type BundleFlags } from '../options/tables.ts';
import { runWithRegistry, withJsonErrors } from '../runCommand.ts';

export function bundleCommand(): Command {
  const command = new Command('bundle').description(
    'Pack the images that manifest.json and its lockfile name, with their signatures, into one file to carry over an air gap.',
  );
  return addOptions(command, BUNDLE_OPTIONS)
    .addHelpText(
      'after',
      '\nOn the other network: plugin-mirror sync --from FILE. The bundle is an OCI image layout, which other tools read too.',
    )
    .action(run)
    .addCommand(diffCommand())
    .addCommand(commandsCommand());
}

const BUNDLE = 'a tar, its first part or .sha256 file, or a folder';

function diffCommand(): Command {
  const command = new Command('diff')
    .description('List what a newer bundle brings: versions that are added, changed or removed. Needs no network.')
    .argument('<old>', `the older bundle (${BUNDLE}), or its lockfile`, path)
    .argument('<new>', 'the newer one', path);
  return addOptions(command, BUNDLE_DIFF_OPTIONS).action(
    async (old: string, newer: string, { exitCode }: BundleDiffFlags) => {
      // commander gives an option that both commands have to the upper one.
      const { format } = command.optsWithGlobals<BundleDiffFlags>();
      refuseOthers(command, ['format']);
      const { runBundleDiff } = await import('./diff.ts');
      await withJsonErrors(format, () => runBundleDiff(old, newer, { exitCode, format }));
    },
  );
}

/** Options of `bundle` itself would be accepted below it and do nothing. @throws CommanderError */
function refuseOthers(command: Command, allowed: readonly string[]): void {
  const { parent } = command;
  for (const option of parent?.options ?? [])
    if (parent?.getOptionValueSource(option.attributeName()) === 'cli' && !allowed.includes(option.attributeName()))
      command.error(`error: unknown option '${option.long}'`);
}

function commandsCommand(): Command {
  const command = new Command('commands');
  return command
    .description('Print the commands with which ORAS, skopeo, regctl, crane, ctr and docker read a bundle.')
    .argument('<bundle>', BUNDLE, path)
    .action(async (bundle: string) => {
      refuseOthers(command, []);
      await (await import('./commands.ts')).runBundleCommands(bundle);
    });
}

async function run(flags: BundleFlags, { parent }: Command): Promise<void> {
  const { runBundle } = await import('./run.ts');
  await runWithRegistry(flags, context => runBundle({ ...context, flags, version: parent?.version() ?? '' }));
}
