import type { Command, Option } from 'commander';
import { buildProgram } from '../../cli/program.ts';
import { CHINESE_HELP } from './optionsZh.ts';

export type TableLanguage = 'en' | 'zh';

const HEADS: Readonly<Record<TableLanguage, string>> = {
  en: '| Option | Variable | Default | Commands | Meaning |',
  zh: '| 选项 | 环境变量 | 默认值 | 命令 | 含义 |',
};

/**
 * The table of all options, from the command line itself. An option that several commands share has one row. A help without a
 * translation stays English; a test finds it.
 */
export function renderOptionTable(language: TableLanguage): string {
  // By the English row, so that the tables have the same rows where a translation makes two helps one.
  const rows = new Map<string, { readonly option: Option; readonly commands: string[] }>();
  for (const { name, option } of documentedOptions()) {
    const key = rowOf(option, 'en');
    const commands = [...(rows.get(key)?.commands ?? []), name];
    rows.set(key, { option, commands });
  }
  const head = [HEADS[language], '|---|---|---|---|---|'];
  const lines = [...rows.values()].map(({ option, commands }) =>
    rowOf(option, language).replace('COMMANDS', commands.join(', ')),
  );
  return [...head, ...lines].join('\n');
}

/** All options with a help, of all commands. Removed options, which only cause a warning, have none. */
export function documentedOptions(): readonly { readonly name: string; readonly option: Option }[] {
  return buildProgram('')
    .commands.flatMap(each => commandsOf(each))
    .flatMap(({ name, command }) => command.options.map(option => ({ name, option })))
    .filter(({ option }) => option.long !== '--help-all' && option.description !== '');
}

/** A command and its subcommands, each with its full name: `cache`, `cache ls`. */
function commandsOf(command: Command, above = ''): { readonly name: string; readonly command: Command }[] {
  const name = `${above}${command.name()}`;
  return [{ name, command }, ...command.commands.flatMap(below => commandsOf(below, `${name} `))];
}

function rowOf(option: Option, language: TableLanguage): string {
  const { argChoices, description } = option;
  const choices =
    argChoices === undefined ? '' : language === 'en' ? ` (${argChoices.join(', ')})` : `（${argChoices.join('、')}）`;
  const help = language === 'en' ? description : (CHINESE_HELP[description] ?? description);
  const cells = [`\`${option.flags}\``, code(option.envVar), code(defaultOf(option)), 'COMMANDS', help + choices];
  return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function defaultOf({ defaultValue, defaultValueDescription }: Option): string | undefined {
  if (defaultValue === undefined || defaultValue === '' || typeof defaultValue === 'boolean') return undefined;
  return defaultValueDescription ?? String(defaultValue);
}

function code(text: string | undefined): string {
  return text === undefined ? '' : `\`${text}\``;
}
