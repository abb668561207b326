import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { registryOptions } from '../options/registryOptions.ts';
import { PUSH_OPTIONS, type PushFlags } from '../options/tables.ts';

export function pushCommand(): Command {
  const command = new Command('push')
    .description(
      'Copy the images that manifest.json and its lockfile name to another registry, unchanged, with their signatures.',
    )
    .argument('<host[/prefix]>', 'the registry to push to; the prefix is put before the repository names of upstream');
  return addOptions(command, PUSH_OPTIONS).action(run);
}

async function run(target: string, flags: PushFlags, command: Command): Promise<void> {
  const [{ runPush }, { withJsonErrors }] = await Promise.all([import('./run.ts'), import('../render/jsonErrors.ts')]);
  const manifestPath = command.getOptionValueSource('manifest') === 'default' ? undefined : flags.manifest;
  process.exitCode = await withJsonErrors(flags.format, async () => {
    const options = await registryOptions(flags);
    return interruptible(signal => runPush({ target, flags, manifestPath, registryOptions: options, signal }));
  });
}
