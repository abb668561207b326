import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import { VERIFY_OPTIONS, type VerifyFlags } from '../options/tables.ts';
import { interruptible, withJsonErrors } from '../runCommand.ts';

export function verifyCommand(): Command {
  const command = new Command('verify')
    .description(
      'Hash every file of a tree, or every blob of a bundle, and compare it with what it should be. Needs no network and writes nothing.',
    )
    .argument(
      '[bundle]',
      'a bundle to verify instead of the tree: a tar, its first part or .sha256 file, or a folder',
      path,
    );
  return addOptions(command, VERIFY_OPTIONS)
    .addHelpText(
      'after',
      '\nExit codes: 0 intact; 1 files or blobs are damaged or missing; 3 there are unknown files, or the lockfile differs.',
    )
    .action(run);
}

async function run(bundle: string | undefined, flags: VerifyFlags, command: Command): Promise<void> {
  const { runVerify, runVerifyBundle } = await import('./run.ts');
  const hasTree = command.getOptionValueSource('tree') === 'cli';
  await withJsonErrors(flags.format, () =>
    interruptible(signal =>
      bundle === undefined ? runVerify(flags, signal) : runVerifyBundle({ bundle, hasTree, flags, signal }),
    ),
  );
}
