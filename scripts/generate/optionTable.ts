import type { Command, Option } from 'commander';
import { buildProgram } from '../../cli/program.ts';

/** The table of all options, from the command line itself. An option that several commands share has one row. */
export function renderOptionTable(): string {
  const rows = new Map<string, string[]>();
  for (const { name, command } of buildProgram('').commands.flatMap(each => commandsOf(each)))
    for (const option of command.options) {
      if (option.long === '--help-all') continue;
      const row = rowOf(option);
      rows.set(row, [...(rows.get(row) ?? []), name]);
    }
  const head = ['| Option | Variable | Default | Commands | Meaning |', '|---|---|---|---|---|'];
  return [...head, ...[...rows].map(([row, commands]) => row.replace('COMMANDS', commands.join(', ')))].join('\n');
}

/** A command and its subcommands, each with its full name: `cache`, `cache ls`. */
function commandsOf(command: Command, above = ''): { readonly name: string; readonly command: Command }[] {
  const name = `${above}${command.name()}`;
  return [{ name, command }, ...command.commands.flatMap(below => commandsOf(below, `${name} `))];
}

function rowOf(option: Option): string {
  const choices = option.argChoices === undefined ? '' : ` (${option.argChoices.join(', ')})`;
  const cells = [
    `\`${option.flags}\``,
    code(option.envVar),
    code(defaultOf(option)),
    'COMMANDS',
    option.description + choices,
  ];
  return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function defaultOf({ defaultValue, defaultValueDescription }: Option): string | undefined {
  if (defaultValue === undefined || defaultValue === '' || typeof defaultValue === 'boolean') return undefined;
  return defaultValueDescription ?? String(defaultValue);
}

function code(text: string | undefined): string {
  return text === undefined ? '' : `\`${text}\``;
}
