import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzip, type TarEntry, tarOf } from '../support/archive.ts';
import { imageOf, MEDIA } from '../support/image.ts';
import { buildModule } from '../support/module.ts';
import { RUNS_SLOW } from '../support/slow.ts';
import { refuses, takes } from './extraction.ts';

const wasm = buildModule();
const other = buildModule({ sizeBytes: 100_000 });
const big = Buffer.alloc(300_000, 'x');

const stack = (...layers: (readonly TarEntry[])[]) =>
  imageOf({ layers: layers.map(entries => ({ mediaType: MEDIA.tarGzip, body: gzip(tarOf(entries)) })) });
const file = (name: string, body: Buffer | string = wasm): TarEntry => ({ name, body });
const link = (name: string, linkTo: string): TarEntry => ({ name, type: 'link', linkTo });
const folder = (name: string): TarEntry => ({ name, type: 'directory' });

test('a root entry and leading slashes do not matter', async () => {
  await takes(stack([folder('/'), file('plugin.wasm')]), wasm, 'Kaniko');
  await takes(stack([folder('./'), file('/plugin.wasm')]), wasm, 'tar -P');
  await takes(stack([folder('/'), folder('/app/'), file('/app/main.wasm')]), wasm, 'in a folder');
  await takes(stack([file('//plugin.wasm', other), file('/main.wasm')]), other, 'two slashes');
  await takes(
    stack([file('/main.wasm', other)], [folder('/'), file('/.wh.main.wasm', ''), file('x.wasm')]),
    wasm,
    'whiteout',
  );
  await takes(stack([file('main.wasm', other), file('x.wasm')], [file('.wh.main.wasm', '')]), wasm, 'its own spelling');
  await takes(stack([file('/a/main.wasm', other)], [file('/.wh..wh..opq', ''), file('x.wasm')]), wasm, 'opaque root');
  await takes(stack([file('/plugin.wasm', other)], [file('./plugin.wasm')]), wasm, 'an upper layer');
});

test('a hard link to a file earlier in the layer is that file, whichever name comes first', async () => {
  const cases: Record<string, readonly TarEntry[]> = {
    'plugin.wasm second': [file('main.wasm'), link('plugin.wasm', 'main.wasm')],
    'plugin.wasm first': [file('plugin.wasm'), link('main.wasm', 'plugin.wasm')],
    'from a folder': [file('out/main.wasm'), link('plugin.wasm', '/out/main.wasm')],
    'a name without an ending': [file('cache/ab12'), file('big', big), link('plugin.wasm', './cache/ab12')],
    'another module first': [file('a.wasm', other), file('main.wasm'), link('plugin.wasm', 'main.wasm')],
    'a module that was read and dropped': [file('main.wasm'), file('x', big), link('b.wasm', 'main.wasm')],
    'a chain of links': [file('a'), link('b', 'a'), link('c', 'b'), link('plugin.wasm', 'c')],
    'links only': [file('object'), link('main.wasm', 'object'), link('second.wasm', 'main.wasm')],
    'the last file of a name': [file('object', other), file('object'), link('plugin.wasm', 'object')],
    'a later file with the name of the target': [file('object'), link('plugin.wasm', 'object'), file('object', other)],
  };
  for (const [what, entries] of Object.entries(cases)) {
    await takes(stack(entries), wasm, what);
    if (!RUNS_SLOW) continue;
    await takes(stack([file('lower.txt', 'x')], entries), wasm, `${what}, upper layer`);
    await takes(stack(entries, [file('upper.txt', 'x')]), wasm, `${what}, lower layer`);
  }
  await takes(
    stack([file('object'), link('main.wasm', 'object')], [file('.wh.object', '')]),
    wasm,
    'a whiteout hides one of the names',
  );
});

test('a link that cannot be followed is refused with what to do, and accuses nobody', async () => {
  for (const entries of [
    [link('plugin.wasm', 'main.wasm'), file('main.wasm')],
    [{ name: 'plugin.wasm', type: 'symlink', linkTo: 'main.wasm' }, file('main.wasm')],
  ]) {
    const { hint } = await refuses(
      stack(entries),
      'LAYER_HOSTILE',
      /plugin\.wasm is a (?:hard|symbolic) link to main\.wasm/,
    );
    assert.match(hint, /Copy the module/);
    assert.doesNotMatch(hint, /publisher|pushed it/);
  }
  await refuses(
    stack([file('a.wasm'), file('b', other), link('c.wasm', 'b')]),
    'LAYER_AMBIGUOUS',
    /2 modules could be/,
  );
});
