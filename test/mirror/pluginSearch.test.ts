import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EntryHostile, type EntryKind } from '../../mirror/extract/layers/overlay.ts';
import { PluginSearch } from '../../mirror/extract/layers/pluginSearch.ts';
import { slow, times } from '../support/slow.ts';
import { type StackEntry as Entry, layOver } from './layOver.ts';

/** Layers as an image lists them, the bottom first, as extraction reads them. @returns `path@layer`, or how many are equally good */
function search(layers: readonly (readonly Entry[])[]): string | number {
  const found = new PluginSearch();
  for (let index = layers.length - 1; index >= 0 && !found.isFinal; index--) {
    found.enterLayer(index, index > 0);
    for (const { path, kind } of layers[index] ?? []) found.offer({ path, kind });
    found.leaveLayer();
  }
  return found.found === undefined ? found.candidates.length : `${found.found.path}@${found.found.layer}`;
}

/** The same, looked up in what the layers show. */
function naive(layers: readonly (readonly Entry[])[]): string | number {
  const tree = layOver(layers);
  const modules = [...tree].filter(([path, { kind }]) => kind === 'file' && path.endsWith('.wasm'));
  const root = modules.find(([path]) => path === 'plugin.wasm');
  const [only] = root ? [root] : modules.length === 1 ? modules : [];
  return only ? `${only[0]}@${only[1].layer}` : modules.length;
}

test('random stacks of layers give the files of the merged layers', () => {
  const name = fc.constantFrom('plugin.wasm', 'main.wasm', 'a', 'b', 'x.wasm', 'readme');
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map(parts => parts.join('/'));
  const file = fc.record({ path, kind: fc.constantFrom<EntryKind>('file', 'file', 'directory') });
  const whiteout = fc
    .tuple(fc.array(name, { maxLength: 2 }), fc.oneof(name, fc.constant('.wh..opq')))
    .map(([folder, target]) => ({ path: [...folder, `.wh.${target}`].join('/'), kind: 'file' as const }));
  const layer = fc
    .uniqueArray(fc.oneof({ weight: 3, arbitrary: file }, { weight: 1, arbitrary: whiteout }), {
      maxLength: 5,
      selector: entry => entry.path,
    })
    // Within one layer, no entry lies below a file of the same layer: no file system could have been packed so.
    .map(entries =>
      entries.filter(entry => !entries.some(other => other.kind === 'file' && entry.path.startsWith(`${other.path}/`))),
    );
  fc.assert(
    fc.property(fc.array(layer, { maxLength: 4 }), layers => assert.deepEqual(search(layers), naive(layers))),
    { numRuns: times(500, 3000) },
  );
});

const file = (path: string): Entry => ({ path, kind: 'file' });

test('paths that leave the layer, repeated modules and links named plugin.wasm are hostile', () => {
  const hostile: Entry[][] = [
    [file('../plugin.wasm')],
    [file('a/../../plugin.wasm')],
    [file('/../plugin.wasm')],
    [file('plugin.wasm'), file('//plugin.wasm')],
    [file('plugin.wasm'), file('./plugin.wasm')],
    [file('a/x.wasm'), file('a//x.wasm')],
    [file('plugin.wasm'), { path: 'plugin.wasm', kind: 'link' }],
    [{ path: 'plugin.wasm', kind: 'link' }],
    [{ path: './plugin.wasm', kind: 'special' }],
    [file(`${'a'.repeat(4097)}`)],
    [file('a/.wh...')],
    [file('a/.wh.')],
  ];
  for (const layer of hostile) assert.throws(() => search([layer]), EntryHostile, JSON.stringify(layer));
});

test('resource forks, folders and whiteouts are not modules', () => {
  assert.equal(search([[file('._main.wasm'), file('main.wasm')]]), 'main.wasm@0');
  assert.equal(search([[{ path: 'main.wasm', kind: 'link' }]]), 0);
  assert.equal(
    search([[{ path: 'plugin.wasm', kind: 'directory' }, file('plugin.wasm/main.wasm')]]),
    'plugin.wasm/main.wasm@0',
  );
});

test('a link in a lower layer does not matter if the plugin is in an upper layer', () => {
  assert.equal(search([[{ path: 'plugin.wasm', kind: 'link' }], [file('plugin.wasm')]]), 'plugin.wasm@1');
  assert.equal(
    search([[{ path: 'plugin.wasm', kind: 'link' }], [file('.wh.plugin.wasm'), file('main.wasm')]]),
    'main.wasm@1',
  );
});

test('a whiteout hides nothing in its own layer', () => {
  assert.equal(search([[file('plugin.wasm')], [file('.wh.plugin.wasm'), file('plugin.wasm')]]), 'plugin.wasm@1');
  assert.equal(search([[file('plugin.wasm')], [file('.wh..wh.plnk'), file('x')]]), 'plugin.wasm@0');
});

test('millions of names are refused before they fill the memory', () => {
  const found = new PluginSearch();
  found.enterLayer(1, true);
  assert.throws(() => {
    for (let count = 0; count < 1e6; count++) found.offer({ path: `${'n'.repeat(1000)}${count}`, kind: 'file' });
  }, EntryHostile);
});

test('too many files in deep folders are refused within seconds', slow, () => {
  const found = new PluginSearch();
  found.enterLayer(2, true);
  found.offer({ path: 'x', kind: 'file' });
  found.leaveLayer();
  found.enterLayer(1, false);
  assert.throws(() => {
    for (let count = 0; count < 1e5; count++)
      found.offer({ path: `${count}${'/d'.repeat(1900)}/x.wasm`, kind: 'file' });
  }, EntryHostile);
});

test('tens of thousands of modules are compared by their paths, not with each other', () => {
  const found = new PluginSearch();
  found.enterLayer(0, false);
  // Compared with each other, these took a minute.
  for (let at = 0; at < 60_000; at++) found.offer({ path: `m${at}.wasm`, kind: 'file' });
  for (let at = 0; at < 1000; at++)
    found.offer({ path: `l${at}.wasm`, kind: 'link', about: 'a link', target: `m${at}.wasm` });
  found.leaveLayer();
  assert.equal(found.candidates.length, 60_000);
});
