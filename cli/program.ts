import { readFileSync } from 'node:fs';
import process from 'node:process';
import { Command } from 'commander';
import { misspelled } from '../base/nearest.ts';
import { PACKAGE_ROOT } from '../base/packageRoot.ts';
import { bundleCommand } from './bundle/command.ts';
import { cacheCommand } from './cache/command.ts';
import { checkCommand } from './check/command.ts';
import { completionCommand } from './completion/command.ts';
import { coverageCommand } from './coverage/command.ts';
import { doctorCommand } from './doctor/command.ts';
import { finish } from './exit.ts';
import { importCommand } from './import/command.ts';
import { initCommand } from './init/command.ts';
import { listCommand } from './list/command.ts';
import { applyEnvironment } from './options/environment.ts';
import { reportUsageError, wantsJson, warnOfUnknownVariables } from './options/usageErrors.ts';
import { outdatedCommand } from './outdated/command.ts';
import { pushCommand } from './push/command.ts';
import { arrangeHelp } from './render/help.ts';
import { printError } from './render/print.ts';
import { serveCommand } from './serve/command.ts';
import { syncCommand } from './sync/command.ts';
import { urlsCommand } from './urls/command.ts';
import { verifyCommand } from './verify/command.ts';

/** Runs the command that this process was started for. The process ends, with an exit code of cli/exit.ts, when it is done. */
export async function runProgram(): Promise<void> {
  finishWithoutReader();
  const { version } = JSON.parse(readFileSync(new URL('package.json', PACKAGE_ROOT), 'utf8')) as { version: string };
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
      if (stream === process.stdout) printError(`plugin-mirror: the output cannot be written: ${error.message}\n`);
    });
}

/**
 * Returns the command line with all commands. The command modules only declare their arguments. The code that a command
 * needs is loaded when the command runs, so that `--version` and `--help` stay quick.
 */
export function buildProgram(version: string): Command {
  const program = new Command('plugin-mirror')
    .description('Mirror Higress Wasm plugins from OCI registries into a folder, and serve them over plain HTTP.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show the help of a command')
    .helpOption('-h, --help', 'show help')
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for all options)')
    .addHelpText('after', EXAMPLES)
    .addHelpText('beforeAll', ({ command, error }) => (error ? requireKnown(command) : ''));
  for (const command of [
    initCommand(),
    syncCommand(),
    serveCommand(),
    bundleCommand(),
    pushCommand(),
    coverageCommand(),
    urlsCommand(),
    listCommand(),
    checkCommand(),
    verifyCommand(),
    outdatedCommand(),
    importCommand(),
    doctorCommand(),
    cacheCommand(),
    completionCommand(),
  ])
    program.addCommand(command);
  return (
    configure(program)
      .hook('preSubcommand', (_program, command) => warnOfVariables(program, command.name()))
      // Throws where the current folder was deleted: relative paths would look like missing trees and manifests.
      .hook('preAction', () => void process.cwd())
  );
}

/** `help NAME` of a command that does not exist would show the help of the program. @throws CommanderError */
function requireKnown(command: Command): string {
  const [help, name] = command.args;
  if (help !== 'help' || name === undefined || name === 'help') return '';
  const nearest = misspelled(
    name,
    command.commands.map(each => each.name()),
  );
  const suggestion = nearest === undefined ? '' : `\n(Did you mean ${nearest}?)`;
  return command.error(`error: unknown command '${name}'${suggestion}`);
}

/** `serve` reports these in the format of its log. */
function warnOfVariables(program: Command, command: string): Promise<void> | undefined {
  if (command === 'serve') return undefined;
  return warnOfUnknownVariables(program, process.env, line => printError(`${line}\n`));
}

/** Makes a command and those below it throw usage errors, which end in cli/exit.ts like all others. */
function configure(command: Command): Command {
  for (const below of command.commands) configure(below);
  if (command.commands.length === 0 || command.parent !== null) arrangeHelp(command);
  return command
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      outputError: (text, write) => reportUsageError(text, write, command),
      // "(add --help for all options)", which follows an error, does not belong into a log.
      writeErr: text => (wantsJson(command, '--log-format', process.env) ? undefined : printError(text)),
    })
    .hook('preSubcommand', (_command, below) => applyEnvironment(below, process.env));
}

const EXAMPLES = `
Examples:
  plugin-mirror sync                          pull the plugins of manifest.json into plugins/
  plugin-mirror sync --only 'ai-*'            only the plugins whose names begin with ai-
  plugin-mirror serve --port 8080             serve plugins/ at http://localhost:8080/plugins/<name>/<version>/plugin.wasm
  plugin-mirror import plugins.properties     make a manifest from a list of Higress
`;
