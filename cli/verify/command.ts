import process from 'node:process';
import { Command, Option } from 'commander';
import { interruptible } from '../interruptible.ts';
import { formatOption } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import type { VerifyFlags } from './run.ts';

export function verifyCommand(): Command {
  return new Command('verify')
    .description('Hash every byte of a tree and hold it against its index.json. Needs no network and writes nothing.')
    .addOption(new Option('--tree <dir>', 'the tree').env('PLUGIN_MIRROR_TREE').argParser(path).default('plugins'))
    .addOption(
      new Option('--lock <file>', 'a manifest.lock.json that the tree must agree with too')
        .env('PLUGIN_MIRROR_LOCK')
        .argParser(path),
    )
    .addOption(formatOption())
    .addHelpText(
      'after',
      '\nExit codes: 0 sound; 1 something is damaged or missing; 3 there are unknown files, or the lock disagrees.',
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
