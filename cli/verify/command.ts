import process from 'node:process';
import { Command, Option } from 'commander';
import { interruptible } from '../interruptible.ts';
import { formatOption } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import type { VerifyFlags } from './run.ts';

export function verifyCommand(): Command {
  return new Command('verify')
    .description('Hash every file of a tree and compare it with index.json. Needs no network and writes nothing.')
    .addOption(
      new Option('--tree <dir>', 'folder to verify').env('PLUGIN_MIRROR_TREE').argParser(path).default('plugins'),
    )
    .addOption(
      new Option('--lock <file>', 'also compare the tree with this manifest.lock.json')
        .env('PLUGIN_MIRROR_LOCK')
        .argParser(path),
    )
    .addOption(formatOption())
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
