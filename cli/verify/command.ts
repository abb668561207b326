import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import { VERIFY_OPTIONS, type VerifyFlags } from '../options/tables.ts';

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
      '\nExit codes: 0 intact; 1 files or blobs are damaged or missing; 3 there are unknown files, or the lock differs.',
    )
    .action(run);
}

async function run(bundle: string | undefined, flags: VerifyFlags, command: Command): Promise<void> {
  const { withJsonErrors } = await import('../render/jsonErrors.ts');
  const hasTree = command.getOptionValueSource('tree') === 'cli';
  process.exitCode = await interruptible(signal =>
    withJsonErrors(flags.format, async () => {
      if (bundle === undefined) return (await import('./run.ts')).runVerify(flags, signal);
      return (await import('./bundle.ts')).runVerifyBundle({ bundle, hasTree, flags, signal });
    }),
  );
}
