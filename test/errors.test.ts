import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { Refusal } from '../base/refusal.ts';
import { EXIT, exitCodeOf } from '../cli/exit.ts';

const root = resolve(import.meta.dirname, '..');
const rooms = ['cli', 'mirror', 'registry', 'tree', 'layout', 'server', 'base'];

/** The codes of Node.js (ECONNRESET …) are left out, and the one that reports give to every warning of a plugin. */
const inSource = rooms
  .flatMap(room =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' }).map(name => join(root, room, name)),
  )
  .filter(path => path.endsWith('.ts'))
  .flatMap(path =>
    [...readFileSync(path, 'utf8').matchAll(/\bcode(?: =|:) '(?!E[A-Z]+'|WARNING')([A-Z][A-Z_]+)'/g)].map(
      ([, code]) => code ?? '',
    ),
  );

interface Row {
  readonly code: string;
  readonly means: string;
  readonly remedy: string;
  readonly exit: string;
}

const rows = readFileSync(join(root, 'docs/errors.md'), 'utf8')
  .split('\n')
  .flatMap((line): Row[] => {
    const [, code, means = '', remedy = '', exit = ''] = /^\| `([A-Z_]+)` \| (.+) \| (.+) \| (.+) \|$/.exec(line) ?? [];
    return code === undefined ? [] : [{ code, means, remedy, exit }];
  });

class Met extends Refusal {
  readonly code: string;
  constructor(code: string) {
    super(code, { hint: '' });
    this.code = code;
  }
}

test('docs/errors.md has every code of the source once, and no other', () => {
  assert.ok(inSource.length > 50, 'the search finds codes');
  assert.deepEqual(rows.map(({ code }) => code).sort(), [...new Set(inSource)].sort());
});

test('every code has a meaning and a remedy in full sentences', () => {
  const poor = rows.filter(({ means, remedy }) => !/\.$/.test(means) || !/[.]$/.test(remedy));
  assert.deepEqual(poor, []);
});

test('the exit codes listed are those that a command ends with', () => {
  const elsewhere = ['NOT_FOUND', 'INTERRUPTED'];
  for (const { code, exit } of rows)
    if (!elsewhere.includes(code)) assert.equal(String(exitCodeOf(new Met(code))), exit, code);
  assert.equal(rows.find(({ code }) => code === 'INTERRUPTED')?.exit, String(EXIT.interrupted));
});
