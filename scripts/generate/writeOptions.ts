import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { renderOptionTable } from './optionTable.ts';

const file = join(resolve(import.meta.dirname, '../..'), 'docs/options.md');

/** Returns the text of docs/options.md with its table brought up to date. @throws if it has no place for the table */
export function withOptionTable(text: string): string {
  const begin = '<!-- options: written by `npm run options` -->';
  const end = '<!-- end of options -->';
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`no ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${renderOptionTable()}\n\n${text.slice(to)}`;
}

/** `npm run options` writes the table. */
if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(file, withOptionTable(readFileSync(file, 'utf8')));
