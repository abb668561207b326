import process from 'node:process';
import type { Command } from 'commander';
import { withoutLogin } from '../../registry/reference.ts';
import { removedFlag } from './removedOptions.ts';

/**
 * Says what is wrong with a command line, as commander words it but without secrets: on stderr, and under `--format json`
 * on stdout too, where a reader then finds the same object as for every other error.
 */
export function tellWrongLine(said: string, write: (text: string) => void, command: Command): void {
  const shown = secretFree(said, command);
  write(shown);
  if (!wantsJson(command, process.env)) return;
  const message = shown.replace(/^error: /, '').trimEnd();
  const hint = `plugin-mirror ${command.name()} --help shows all options.`;
  process.stdout.write(
    `${JSON.stringify({ schemaVersion: 1, error: { code: 'OPTION_INVALID', message, hint } }, null, 2)}\n`,
  );
}

/** Commander may have stopped before it came to `--format`: the last one on the line counts, else the variable. */
function wantsJson(command: Command, env: NodeJS.ProcessEnv): boolean {
  const option = command.options.find(({ long }) => long === '--format');
  if (option === undefined) return false;
  const words = command.parent?.args ?? [];
  const line = words.includes('--') ? words.slice(0, words.indexOf('--')) : words;
  const kinds = line.flatMap((word, at) =>
    word === '--format' ? [line[at + 1]] : word.startsWith('--format=') ? [word.slice('--format='.length)] : [],
  );
  return (kinds.length > 0 ? kinds.at(-1) : option.envVar && env[option.envVar]) === 'json';
}

const ECHOED = /(argument|value|unknown command) '(.*)'/s;
/** docker has `--password` and `-p`, with the password in the same argument or the next. */
const PASSWORD = /^-(?:-pass(?:word|wd)?(?:-stdin)?$|p)/;

/** What commander says of a wrong command line or environment, which repeats what was written, without a secret in it. */
export function secretFree(said: string, command: Command): string {
  const [, option, suggestion = ''] = /^error: unknown option '(--?[^=:\s]*).*'(.*)$/s.exec(said) ?? [];
  if (option === undefined)
    return said.replace(ECHOED, (_, what: string, text: string) => `${what} '${withoutLogin(text)}'`);
  // One letter, and whatever is written after it is its value.
  const name = /^-[^-]/.test(option) ? option.slice(0, 2) : option;
  const removed = removedFlag(command.name(), name);
  if (removed !== undefined) return `error: ${removed}\n`;
  if (!PASSWORD.test(name) || !readsPassword(command)) return `error: unknown option '${name}'${suggestion}`;
  return (
    `error: no password is taken from the command line, where everybody on this machine can read it ('${name}'):` +
    ' it is read with --password-stdin or from PLUGIN_MIRROR_PASSWORD\n'
  );
}

function readsPassword(command: Command): boolean {
  return [command, ...command.commands].some(({ options }) => options.some(({ long }) => long === '--password-stdin'));
}
