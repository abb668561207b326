import process from 'node:process';
import { Command } from 'commander';
import { cacheCommand } from './cache/command.ts';
import { checkCommand } from './check/command.ts';
import { doctorCommand } from './doctor/command.ts';
import { importCommand } from './import/command.ts';
import { applyEnvironment } from './options/environment.ts';
import { tellUnknownVariables } from './options/unknownVariables.ts';
import { tellWrongLine } from './options/wrongLine.ts';
import { outdatedCommand } from './outdated/command.ts';
import { serveCommand } from './serve/command.ts';
import { syncCommand } from './sync/command.ts';
import { verifyCommand } from './verify/command.ts';

/**
 * The whole command line. The command modules only declare their arguments; what a command needs to work is loaded when it
 * runs, so that `--version` and `--help` answer at once.
 */
export function buildProgram(version: string): Command {
  const program = new Command('plugin-mirror')
    .description('Mirror Higress Wasm plugins from OCI registries into a folder, and serve them over plain HTTP.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show the help of a command')
    .helpOption('-h, --help', 'show help')
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for all options)')
    .addHelpText('after', EXAMPLES);
  for (const command of [
    syncCommand(),
    serveCommand(),
    checkCommand(),
    verifyCommand(),
    outdatedCommand(),
    importCommand(),
    doctorCommand(),
    cacheCommand(),
  ])
    program.addCommand(command);
  return settle(program).hook('preSubcommand', () => warnOfVariables(program));
}

/** Not by each of the processes that share the port of `serve`. */
function warnOfVariables(program: Command): Promise<void> | undefined {
  if (process.send !== undefined) return undefined;
  return tellUnknownVariables(program, process.env, line => process.stderr.write(`${line}\n`));
}

/** Usage errors are thrown and end in cli/exit.ts, as everything does. */
function settle(command: Command): Command {
  for (const below of command.commands) settle(below);
  return command
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ outputError: (said, write) => tellWrongLine(said, write, command) })
    .configureHelp({ sortSubcommands: false })
    .hook('preSubcommand', (_command, below) => applyEnvironment(below, process.env));
}

const EXAMPLES = `
Examples:
  plugin-mirror sync                          pull what manifest.json lists into plugins/
  plugin-mirror sync --only 'ai-*'            only some of it
  plugin-mirror serve --port 8080             serve plugins/ at http://localhost:8080/plugins/<name>/<version>/plugin.wasm
  plugin-mirror import plugins.properties     turn upstream's list into a manifest.json
`;
