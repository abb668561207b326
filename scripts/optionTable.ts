import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import type { Option } from 'commander';
import { buildProgram } from '../cli/program.ts';

const root = resolve(import.meta.dirname, '..');
const begin = '<!-- options: written by `npm run options` -->';
const end = '<!-- end of options -->';

/** Every option of every command, as the command line itself knows them; options that commands share stand once. */
export function renderOptionTable(): string {
  const rows = new Map<string, string[]>();
  for (const command of buildProgram('').commands)
    for (const option of command.options) {
      const row = rowOf(option);
      rows.set(row, [...(rows.get(row) ?? []), command.name()]);
    }
  const head = ['| Option | Variable | Default | Commands | Meaning |', '|---|---|---|---|---|'];
  return [...head, ...[...rows].map(([row, commands]) => row.replace('COMMANDS', commands.join(', ')))].join('\n');
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

/** The text with its table brought up to date. @throws if it has no place for one */
export function withOptionTable(text: string): string {
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`no ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${renderOptionTable()}\n\n${text.slice(to)}`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const file = join(root, name);
    await writeFile(file, withOptionTable(await readFile(file, 'utf8')));
  }
