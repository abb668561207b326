import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { EXIT } from '../cli/exit.ts';
import { buildProgram } from '../cli/program.ts';
import { withOptionTable } from '../scripts/optionTable.ts';

const root = resolve(import.meta.dirname, '..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const readmes = { 'README.md': read('README.md'), 'README.zh-CN.md': read('README.zh-CN.md') };
const [english, chinese] = [readmes['README.md'], readmes['README.zh-CN.md']];

/** Fenced blocks without their comments, which are translated. */
function codeBlocks(text: string): string[] {
  return [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map(([, body = '']) => body.replace(/\s*# .*$/gm, ''));
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```$/gm, '');
}

/** What stands in the first cell of every row, headings of tables aside. */
function firstCells(text: string): string[] {
  return [...withoutCode(text).matchAll(/^\| (`[^|]*|\d+) \|/gm)].map(([, cell = '']) => cell.trim());
}

for (const [name, text] of Object.entries(readmes)) {
  test(`${name} lists every option and variable as the command line has them`, () => {
    assert.equal(text, withOptionTable(text), 'npm run options writes the table anew');
  });

  test(`${name} links to files that are there`, () => {
    const links = [...withoutCode(text).matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path = '']) => path);
    assert.ok(links.length > 4);
    assert.deepEqual(
      links.filter(path => !existsSync(join(root, path))),
      [],
    );
  });
}

test('both languages have the same sections, commands and rows', () => {
  const levels = (text: string) => [...withoutCode(text).matchAll(/^(#+) /gm)].map(([, marks]) => marks);
  assert.deepEqual(levels(chinese), levels(english));
  assert.deepEqual(codeBlocks(chinese), codeBlocks(english));
  assert.deepEqual(firstCells(chinese), firstCells(english));
});

test('the two commands that a newcomer needs stand first', () => {
  assert.deepEqual(codeBlocks(english)[0]?.trim().split('\n'), ['npm ci && npm run demo', 'npm ci && npm test']);
});

test('every key of the manifest has its row', () => {
  interface Schema {
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly additionalProperties?: Schema;
    readonly anyOf?: readonly Schema[];
  }
  const schema = JSON.parse(read('manifest.schema.json')) as Schema;
  const plugin = schema.properties?.plugins?.additionalProperties?.anyOf?.find(({ properties }) => properties);
  const keys = [
    ...Object.keys(schema.properties ?? {}),
    ...Object.keys(plugin?.properties ?? {}).map(key => `plugins.*.${key}`),
  ];
  assert.ok(keys.length >= 9);
  const rows = firstCells(english);
  assert.deepEqual(
    keys.filter(key => !rows.includes(`\`${key}\``)),
    [],
  );
});

test('every exit code and every build argument has its row', () => {
  const rows = firstCells(english);
  assert.deepEqual(
    Object.values(EXIT).filter(code => !rows.includes(String(code))),
    [],
  );
  const declared = new Set([...read('Dockerfile').matchAll(/^ARG (\w+)/gm)].map(([, name]) => name ?? ''));
  const told = rows.flatMap(row => row.match(/[A-Z_]{4,}/g) ?? []);
  assert.deepEqual(
    [...declared].filter(name => !told.includes(name)),
    [],
  );
});

test('every command has its row', () => {
  const rows = firstCells(english);
  const names = buildProgram('').commands.map(command => command.name());
  assert.deepEqual(
    names.filter(name => !rows.some(row => row.startsWith(`\`${name}`))),
    [],
  );
});
