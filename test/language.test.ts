import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { Command } from 'commander';
import { buildProgram } from '../cli/program.ts';

const root = resolve(import.meta.dirname, '..');
const rooms = ['base', 'layout', 'registry', 'tree', 'mirror', 'server', 'cli', 'scripts'].filter(room =>
  existsSync(join(root, room)),
);

/** Words of a dialect that readers have to translate (CONTRIBUTING.md, "Language"). */
const BANNED =
  /\b(?:told|tells?|stands?|standing|lies|anew|mend(?:s|ed)?|beside|(?:is|are) none|nobody|whoever|settle[sd]?|foresee[sn]?|foresaw|barred|doomed|spare[sd]?|vouch(?:es|ed)?|crowded|twins?)\b/i;

/** Proper uses, as `file: text`; each with its reason. */
const ALLOWED: Readonly<Record<string, string>> = {};

/** Lines with a banned word, as `name: line`. */
function offences(name: string, text: string): string[] {
  return text
    .split('\n')
    .filter(line => BANNED.test(line))
    .map(line => `${name}: ${line.trim()}`)
    .filter(found => ALLOWED[found] === undefined);
}

function commandsBelow(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsBelow)];
}

/** String literals of a source that are prose, that is, contain a space; without the code in templates. */
function proseOf(source: string): string {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(?<=^|\s)\/\/.*$/gm, '');
  const literals = code.match(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g) ?? [];
  return literals
    .map(literal => literal.replace(/\$\{[^{}]*\}/g, '…').replaceAll('\n', ' '))
    .filter(literal => literal.includes(' '))
    .join('\n');
}

test('the test recognizes banned words', () => {
  assert.deepEqual(offences('a', 'it lies there\nbelieve it\nUntold\nToLD'), ['a: it lies there', 'a: ToLD']);
  assert.equal(proseOf("f('one two', `x ${told} y`); // 'it lies'\nimport 'a';"), "'one two'\n`x … y`");
});

test('--help is plain English', () => {
  const found = commandsBelow(buildProgram('')).flatMap(command =>
    offences(`${command.name()} --help`, command.helpInformation()),
  );
  assert.deepEqual(found, []);
});

test('messages are plain English', () => {
  const found = rooms.flatMap(room =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .filter(name => /\.(?:ts|cjs|js)$/.test(name))
      .flatMap(name => offences(`${room}/${name}`, proseOf(readFileSync(join(root, room, name), 'utf8')))),
  );
  assert.deepEqual(found, []);
});

test('documents are plain English', () => {
  const inFolder = (folder: string) =>
    readdirSync(join(root, folder))
      .filter(name => name.endsWith('.md') || name.endsWith('.yaml'))
      .map(name => join(folder, name));
  const files = [
    ...inFolder('.'),
    ...inFolder('docs'),
    ...inFolder('deploy/kubernetes'),
    ...rooms.flatMap(inFolder),
    ...inFolder('test'),
    ...inFolder('test/support'),
    ...inFolder('higress'),
    'Dockerfile',
    ...['manifest.schema.json', 'manifest.lock.schema.json'],
  ];
  assert.ok(files.length > 15);
  assert.deepEqual(
    files.flatMap(file => offences(file, readFileSync(join(root, file), 'utf8'))),
    [],
  );
});
