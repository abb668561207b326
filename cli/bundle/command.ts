import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { registryOptions } from '../options/registryOptions.ts';
import { BUNDLE_OPTIONS, type BundleFlags } from '../options/tables.ts';

export function bundleCommand(): Command {
  const command = new Command('bundle').description(
    'Pack the images that manifest.json and its lockfile name, with their signatures, into one file to carry over an air gap.',
  );
  return addOptions(command, BUNDLE_OPTIONS)
    .addHelpText(
      'after',
      '\nOn the other side: plugin-mirror sync --from FILE. The file is an OCI image layout, which other tools read as well.',
    )
    .action(run);
}

async function run(flags: BundleFlags, command: Command): Promise<void> {
  const [{ runBundle }, { withJsonErrors }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
  ]);
  const version = command.parent?.version() ?? '';
  process.exitCode = await withJsonErrors(flags.format, async () => {
    const options = await registryOptions(flags);
    return interruptible(signal => runBundle({ flags, version, registryOptions: options, signal }));
  });
}
