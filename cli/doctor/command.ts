import process from 'node:process';
import { Command } from 'commander';
import { interruptible } from '../interruptible.ts';
import { addOptions } from '../options/declare.ts';
import { registryOptions } from '../options/registryOptions.ts';
import { DOCTOR_OPTIONS, type DoctorFlags } from '../options/tables.ts';

export function doctorCommand(): Command {
  const command = new Command('doctor')
    .description(
      'Test the way to each registry step by step: name, connection, TLS, proxy, login, manifest, blob. Shows which step fails, how to fix it, and which hosts a firewall must allow.',
    )
    .argument('[ref]', 'image or registry to test instead of those in the manifest');
  return addOptions(command, DOCTOR_OPTIONS)
    .addHelpText('after', '\nExit codes: 0 every step succeeded; 1 a step failed.')
    .action(run);
}

async function run(ref: string | undefined, flags: DoctorFlags): Promise<void> {
  const [{ runDoctor }, { withJsonErrors }] = await Promise.all([
    import('./run.ts'),
    import('../render/jsonErrors.ts'),
  ]);
  process.exitCode = await withJsonErrors(flags.format, async () => {
    const options = await registryOptions(flags);
    return interruptible(signal => runDoctor({ ref, flags, registryOptions: options, signal }));
  });
}
