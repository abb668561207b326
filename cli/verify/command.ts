import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { VERIFY_OPTIONS, type VerifyFlags } from '../options/tables.ts';

export function verifyCommand(): Command {
  const command = new Command('verify').description(
    'Hash every file of a tree and compare it with index.json. Needs no network and writes nothing.',
  );
  return addOptions(command, VERIFY_OPTIONS)
    .addHelpText(
      'after',
      '\nExit codes: 0 intact; 1 files are damaged or missing; 3 there are unknown files, or the lock differs.',
    )
    .action(run);
}

async function run(flags: VerifyFlags): Promise<void> {
  const [{ runVerify }, { withJsonErrors }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
  ]);
  process.exitCode = await interruptible(signal => withJsonErrors(flags.format, () => runVerify(flags, signal)));
}
