import { readFileSync } from 'node:fs';
import process from 'node:process';
import { Command } from 'commander';
import { cacheCommand } from './cache/command.ts';
import { checkCommand } from './check/command.ts';
import { doctorCommand } from './doctor/command.ts';
import { finish } from './exit.ts';
import { importCommand } from './import/command.ts';
import { applyEnvironment } from './options/environment.ts';
import { tellUnknownVariables } from './options/unknownVariables.ts';
import { tellWrongLine } from './options/wrongLine.ts';
import { outdatedCommand } from './outdated/command.ts';
import { serveCommand } from './serve/command.ts';
import { syncCommand } from './sync/command.ts';
import { verifyCommand } from './verify/command.ts';

/** Runs the command that this process was started for. The process ends, with an exit code of cli/exit.ts, when it is done. */
export async function runProgram(): Promise<void> {
  finishWithoutReader();
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  try {
    await buildProgram(version).parseAsync(process.argv);
  } catch (error) {
    finish(error);
  }
}

/**
 * Lets a command finish its work although its output cannot be written. A reader that went away (`plugin-mirror … | head`)
 * is no failure; any other error, such as a log file on a full disk, is reported once on stderr and by the exit code.
 */
function finishWithoutReader(): void {
  let isReported = false;
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || isReported) return;
      isReported = true;
      process.once('exit', code => (process.exitCode = code || 1));
      if (stream === process.stdout)
        process.stderr.write(`plugin-mirror: the output cannot be written: ${error.message}\n`);
    });
}

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
  return settle(program).hook('preSubcommand', (_program, command) => warnOfVariables(program, command.name()));
}

/** `serve` warns in the format of its log. */
function warnOfVariables(program: Command, command: string): Promise<void> | undefined {
  if (command === 'serve') return undefined;
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
