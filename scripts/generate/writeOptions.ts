import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { renderOptionTable, type TableLanguage } from './optionTable.ts';

const root = resolve(import.meta.dirname, '../..');

/** The documents that have the table of options. */
export const OPTION_DOCUMENTS: Readonly<Record<TableLanguage, string>> = {
  en: 'docs/options.md',
  zh: 'docs/zh/options.md',
};

/** Returns the text of a document with its table brought up to date. @throws if it has no place for the table */
export function withOptionTable(text: string, language: TableLanguage): string {
  const begin = '<!-- options: written by `npm run options` -->';
  const end = '<!-- end of options -->';
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`no ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${renderOptionTable(language)}\n\n${text.slice(to)}`;
}

/** `npm run options` writes the tables. */
if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  for (const language of ['en', 'zh'] as const) {
    const file = join(root, OPTION_DOCUMENTS[language]);
    writeFileSync(file, withOptionTable(readFileSync(file, 'utf8'), language));
  }
