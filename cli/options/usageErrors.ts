import process from 'node:process';
import type { Command } from 'commander';
import { printable, printableLines } from '../../base/printable.ts';
import { withoutLogin } from '../../registry/reference.ts';
import { printJson, printLogLine } from '../render/print.ts';
import { removedFlag } from './removedOptions.ts';

/**
 * Reports an error in the command line in commander's words, without secrets: on stderr, and with `--format json` also on
 * stdout, as the same object that every other error has. With `--log-format json` stderr gets it as a line of the log.
 */
export function reportUsageError(text: string, write: (text: string) => void, command: Command): void {
  const shown = withTree(withoutSecrets(text, command), command);
  const message = shown.replace(/^error: /, '').trimEnd();
  const hint = `plugin-mirror ${command.name()} --help shows all options.`;
  if (wantsJson(command, '--log-format', process.env)) {
    const entry = { time: new Date().toISOString(), level: 'error', code: 'OPTION_INVALID', message, hint };
    printLogLine(entry);
  } else write(printableLines(shown));
  if (!wantsJson(command, '--format', process.env)) return;
  printJson({ schemaVersion: 1, error: { code: 'OPTION_INVALID', message, hint } });
}

/** Folders are named by options: `list plugins` means `list --tree plugins`. */
function withTree(message: string, command: Command): string {
  const [word] = command.args;
  const hasTree = command.options.some(({ long }) => long === '--tree');
  if (word === undefined || !hasTree || !message.startsWith('error: too many arguments')) return message;
  const isBundle = /\.tar(?:\.\d+|\.sha256)?$/.test(word) && command.options.some(({ long }) => long === '--bundle');
  const argument = /^[\w./~@:+-]+$/.test(word) ? word : isBundle ? 'FILE' : 'DIR';
  const hint = `plugin-mirror ${command.name()} ${isBundle ? '--bundle' : '--tree'} ${printable(withoutLogin(argument))}`;
  return `${message.trimEnd()}\n(Did you mean ${hint}?)\n`;
}

/** Commander may not have read the option yet. The last one on the command line counts, else the variable. */
export function wantsJson(command: Command, flag: string, env: NodeJS.ProcessEnv): boolean {
  const option = command.options.find(({ long }) => long === flag);
  if (option === undefined) return false;
  const words = command.parent?.args ?? [];
  const line = words.includes('--') ? words.slice(0, words.indexOf('--')) : words;
  const kinds = line.flatMap((word, at) =>
    word === flag ? [line[at + 1]] : word.startsWith(`${flag}=`) ? [word.slice(flag.length + 1)] : [],
  );
  return (kinds.length > 0 ? kinds.at(-1) : option.envVar && env[option.envVar]) === 'json';
}

const ECHOED = /(argument|value|unknown command) '(.*)'/s;
/** Users of docker write `--password` or `-p`, with the password in the same argument or the next. */
const PASSWORD = /^-(?:-pass(?:word|wd)?(?:-stdin)?$|p)/;

/** Commander repeats a wrong argument in its message. Returns the message without passwords and logins. */
export function withoutSecrets(message: string, command: Command): string {
  const [, option, suggestion = ''] = /^error: unknown option '(--?[^=:\s]*).*'(.*)$/s.exec(message) ?? [];
  if (option === undefined)
    return message.replace(ECHOED, (_, kind: string, text: string) => `${kind} '${printable(withoutLogin(text))}'`);
  // The text after a one-letter option is its value.
  const name = printable(/^-[^-]/.test(option) ? option.slice(0, 2) : option);
  const removed = removedFlag(command.name(), name);
  if (removed !== undefined) return `error: ${removed}\n`;
  if (!PASSWORD.test(name) || !readsPassword(command)) return `error: unknown option '${name}'${suggestion}`;
  return (
    `error: a password on the command line is not accepted, since every user of this machine can read it ('${name}');` +
    ' give it with --password-stdin or in PLUGIN_MIRROR_PASSWORD\n'
  );
}

function readsPassword(command: Command): boolean {
  return [command, ...command.commands].some(({ options }) => options.some(({ long }) => long === '--password-stdin'));
}
