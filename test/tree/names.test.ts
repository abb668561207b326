import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileNameProblem, modulePath, nameProblem, versionProblem } from '../../tree/names.ts';
import { code } from './fixture.ts';

test('names and versions of real lists are valid', () => {
  for (const name of ['ai-proxy', 'mcp-server', 'a', 'A_b.c~d', 'x'.repeat(128), '1', '__proto__', 'index', 'a..b'])
    assert.equal(nameProblem(name), undefined, name);
  for (const version of ['1.0.0', 'v2.0.0-rc.1+build.5', 'latest', `sha256:${'0'.repeat(64)}`])
    assert.equal(versionProblem(version), undefined, version);
  for (const file of ['spec.yaml', 'README.md', 'README_EN.md', 'icon.png'])
    assert.equal(fileNameProblem(file), undefined, file);
});

test('names that file systems use in the root of a volume are no plugin names', () => {
  for (const name of ['lost+found', '@eaDir', 'System Volume Information', '$RECYCLE.BIN'])
    assert.match(nameProblem(name) ?? 'fit', /file systems use/, name);
  assert.equal(nameProblem('lost-and-found'), undefined);
});

test('a name that could leave the tree, hide in it or break a URL is refused with its problem', () => {
  const cases: [string, RegExp][] = [
    ['', /empty/],
    ['.', /path/],
    ['..', /path/],
    ['a/b', /slash/],
    ['..\\a', /dot|backslash/],
    ['a\\b', /backslash/],
    ['%2e%2e', /%/],
    ['a%2fb', /%/],
    ['a\u0000', /control character \(U\+0000\)/],
    ['a\n', /control character/],
    ['a\u007f', /control character/],
    ['x'.repeat(129), /128/],
    ['.hidden', /dot/],
    ['a b', /white space/],
    ['a\u3000b', /white space|ASCII/],
    ['é', /ASCII/],
    ['插件', /ASCII/],
    ['😀', /ASCII \(U\+1F600\)/],
    ...[...'*?"<>|#&;$`\'(){}[]!^=,'].map(character => [`a${character}b`, /contains/] as [string, RegExp]),
  ];
  for (const [text, expected] of cases) {
    assert.match(nameProblem(text) ?? 'fit', expected, JSON.stringify(text));
    assert.match(versionProblem(text) ?? 'fit', expected, JSON.stringify(text));
    assert.match(fileNameProblem(text) ?? 'fit', expected, JSON.stringify(text));
  }
  assert.match(nameProblem('a:b') ?? '', /contains ":"/);
  assert.match(nameProblem('Index.json') ?? '', /file of the tree itself/);
  assert.match(nameProblem('snapshot-inventory.json') ?? '', /file of the tree itself/);
  assert.match(fileNameProblem('Plugin.wasm') ?? '', /that sync makes/);
});

test('a path is made of valid parts only', () => {
  assert.equal(modulePath('a', '1.0.0'), 'a/1.0.0/plugin.wasm');
  assert.throws(() => modulePath('..', '1.0.0'), code('TREE_NAME_UNFIT'));
  assert.throws(() => modulePath('a', '../..'), code('TREE_NAME_UNFIT'));
});
