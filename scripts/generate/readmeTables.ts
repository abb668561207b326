import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { renderErrorTable } from './errorTable.ts';
import { renderOptionTable } from './optionTable.ts';

const root = resolve(import.meta.dirname, '../..');

/** A README with its generated tables brought up to date. @throws if it has no place for one of them */
export function withTables(text: string): string {
  const errors = readFileSync(join(root, 'docs/errors.md'), 'utf8');
  return withTable(withTable(text, 'options', renderOptionTable()), 'errors', renderErrorTable(errors));
}

function withTable(text: string, name: string, table: string): string {
  const begin = `<!-- ${name}: written by \`npm run options\` -->`;
  const end = `<!-- end of ${name} -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`no ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${table}\n\n${text.slice(to)}`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const file = join(root, name);
    writeFileSync(file, withTables(readFileSync(file, 'utf8')));
  }
