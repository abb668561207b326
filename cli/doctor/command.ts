import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { DOCTOR_OPTIONS, type DoctorFlags } from '../options/tables.ts';
import { runWithRegistry } from '../runCommand.ts';

export function doctorCommand(): Command {
  const command = new Command('doctor')
    .description(
      'Test the connection to each registry step by step: name, connection, TLS, proxy, login, manifest, blob. Shows which step fails, how to fix it, and which hosts a firewall must allow.',
    )
    .argument('[ref]', 'image or registry to test instead of those in the manifest');
  return addOptions(command, DOCTOR_OPTIONS)
    .addHelpText('after', '\nExit codes: 0 every step succeeded; 1 a step failed.')
    .action(run);
}

async function run(ref: string | undefined, flags: DoctorFlags): Promise<void> {
  const { runDoctor } = await import('./run.ts');
  await runWithRegistry(flags, context => runDoctor({ ...context, ref, flags }));
}
