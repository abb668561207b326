import type { Command } from 'commander';
import { withoutLogin } from '../registry/withoutLogin.ts';

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
  if (!PASSWORD.test(name) || !readsPassword(command)) return `error: unknown option '${name}'${suggestion}`;
  return (
    `error: no password is taken from the command line, where everybody on this machine can read it ('${name}'):` +
    ' it is read with --password-stdin or from PLUGIN_MIRROR_PASSWORD\n'
  );
}

function readsPassword(command: Command): boolean {
  return [command, ...command.commands].some(({ options }) => options.some(({ long }) => long === '--password-stdin'));
}
