import process from 'node:process';
import { Command, Option } from 'commander';
import { interruptible } from '../interruptible.ts';
import { formatOption } from '../options/declare.ts';
import { path } from '../options/environment.ts';
import { blobCacheDir } from '../options/paths.ts';
import { addRegistryOptions, registryOptions } from '../options/registryOptions.ts';
import type { DoctorFlags } from './run.ts';

export function doctorCommand(): Command {
  const command = new Command('doctor')
    .description(
      'Test the way to each registry step by step: name, connection, TLS, proxy, login, manifest, blob. Shows which step fails, how to fix it, and which hosts a firewall must allow.',
    )
    .argument('[ref]', 'image or registry to test instead of those in the manifest')
    .addOption(
      new Option('--manifest <file>', 'the manifest')
        .env('PLUGIN_MIRROR_MANIFEST')
        .argParser(path)
        .default('manifest.json'),
    );
  return addRegistryOptions(command)
    .addOption(formatOption())
    .addHelpText('after', '\nExit codes: 0 every step succeeded; 1 a step failed.')
    .action(run);
}

async function run(ref: string | undefined, flags: DoctorFlags): Promise<void> {
  const [{ runDoctor }, { withJsonErrors }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
  ]);
  process.exitCode = await withJsonErrors(flags.format, async () => {
    const options = await registryOptions(flags, blobCacheDir(process.env, flags.cacheDir));
    return interruptible(signal => runDoctor({ ref, flags, registryOptions: options, signal }));
  });
}
