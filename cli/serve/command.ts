import { Command, Option } from 'commander';
import { ignoredFlags } from '../options/usageErrors.ts';
import { SERVE_OPTIONS, type ServeFlags } from './options.ts';

export function serveCommand(): Command {
  const command = new Command('serve').description(
    'Serve the tree over HTTP: /plugins/<name>/<version>/plugin.wasm, the catalog /, /status, /healthz, /readyz, /metrics.',
  );
  for (const { option } of Object.values(SERVE_OPTIONS)) command.addOption(option);
  for (const flag of ignoredFlags('serve')) command.addOption(new Option(`${flag} <value>`).hideHelp());
  return command.action(async (flags: ServeFlags) => {
    const { runServe } = await import('./run.ts');
    await runServe(flags, command);
  });
}
