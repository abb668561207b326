import { Argument, Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { interruptible, withJsonErrors } from '../runCommand.ts';
import { COVERAGE_OPTIONS, type CoverageFlags } from './options.ts';

export function coverageCommand(): Command {
  const command = new Command('coverage')
    .description(
      'Look up every plugin that a cluster requests in the manifest, a tree, a bundle or a running server. Exits with 3 if one is not served.',
    )
    .addArgument(
      new Argument('[files...]', 'WasmPlugin resources in YAML or JSON: files, folders, or - for standard input'),
    )
    .addHelpText('after', EXAMPLES);
  return addOptions(command, COVERAGE_OPTIONS).action(run);
}

async function run(files: readonly string[], flags: CoverageFlags): Promise<void> {
  const { runCoverage } = await import('./run.ts');
  await withJsonErrors(flags.format, () => interruptible(signal => runCoverage(files, flags, signal)));
}

const EXAMPLES = `
Examples:
  plugin-mirror coverage --higress 2.2.5
  kubectl get wasmplugins.extensions.higress.io -A -o yaml | plugin-mirror coverage -
  plugin-mirror coverage --env-file .env --against http://127.0.0.1:8080
`;
