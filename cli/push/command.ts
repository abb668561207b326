import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { PUSH_OPTIONS, type PushFlags } from '../options/tables.ts';
import { namedManifest, runWithRegistry } from '../runCommand.ts';

export function pushCommand(): Command {
  const command = new Command('push')
    .description(
      'Copy the images that manifest.json and its lockfile name to another registry, unchanged, with their signatures.',
    )
    .argument('<host[/prefix]>', 'the registry to push to; the prefix goes in front of each repository name');
  return addOptions(command, PUSH_OPTIONS).action(run);
}

async function run(target: string, flags: PushFlags, command: Command): Promise<void> {
  const { runPush } = await import('./run.ts');
  await runWithRegistry(flags, context => runPush({ ...context, target, flags, named: namedManifest(command) }));
}
