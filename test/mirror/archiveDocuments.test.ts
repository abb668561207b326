import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { ArchiveDocuments } from '../../mirror/extract/documents.ts';
import { PluginSearch } from '../../mirror/extract/layers/pluginSearch.ts';
import type { TarEntry } from '../support/archive.ts';
import { imageOf, type LayerInput, MEDIA, type TestImage, tarLayer } from '../support/image.ts';
import { imageFormA, imageFormD } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { sample, times } from '../support/slow.ts';
import { type ExtractOptions, extracts, refuses } from './extraction.ts';
import { layOver, type StackEntry } from './layOver.ts';

const wasm = buildModule({ sizeBytes: 20_000 });
const png = Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from('icon')]);
const plugin: TarEntry = { name: 'plugin.wasm', body: wasm };
const text = (name: string, body: TarEntry['body'] = `${name}\n`): TarEntry => ({ name, body });
const stack = (...layers: (readonly TarEntry[])[]) => imageFormD({ wasm, layers });

interface Taken {
  /** The files next to plugin.wasm. */
  readonly texts: Record<string, string>;
  readonly warnings: string;
  /** How many layers were opened. */
  readonly opened: number;
}

async function take(image: TestImage, options?: ExtractOptions): Promise<Taken> {
  const texts: Record<string, string> = {};
  const { plugin, opened } = await extracts(
    image,
    async ({ files }, dir) => {
      assert.ok(wasm.equals(await readFile(join(dir, 'plugin.wasm'))));
      assert.deepEqual((await readdir(dir)).sort(), ['plugin.wasm', ...Object.keys(files)].sort());
      for (const [file, { sizeBytes }] of Object.entries(files)) {
        const bytes = await readFile(join(dir, file));
        assert.equal(bytes.length, sizeBytes);
        texts[file] = bytes.length > 100 ? `${bytes.length} bytes` : bytes.toString('latin1');
      }
    },
    options,
  );
  return { texts, warnings: plugin.warnings.join('\n'), opened: opened.length };
}

async function takes(image: TestImage, expected: Record<string, string>, options?: ExtractOptions): Promise<Taken> {
  const taken = await take(image, options);
  assert.deepEqual(taken.texts, expected);
  return taken;
}

test('documents next to plugin.wasm come out of one layer, in any order of its entries', async () => {
  const docs = [text('spec.yml'), text('README.md'), text('README_EN.markdown'), text('readme.zh-CN.md')];
  const entries = [...docs, text('icon.png', png), plugin, text('LICENSE'), text('README.txt')];
  const expected = {
    'spec.yaml': 'spec.yml\n',
    'README.md': 'README.md\n',
    'README_EN.md': 'README_EN.markdown\n',
    'README.zh-CN.md': 'readme.zh-CN.md\n',
    'icon.png': png.toString('latin1'),
  };
  for (const order of [entries, entries.toReversed()])
    for (const prefix of ['', './', './/'])
      for (const chunkBytes of sample([65_536, 700])) {
        const image = stack(order.map(entry => ({ ...entry, name: `${prefix}${entry.name}` })));
        assert.equal((await takes(image, expected, { chunkBytes })).warnings, '');
      }
});

test('forms A and B in a tar have their documents next to plugin.wasm, in every compression', async () => {
  for (const compression of ['gzip', 'zstd', 'none'] as const)
    for (const untitled of [true, false])
      await takes(imageFormA({ wasm, entries: [plugin, text('./README.md', 'README.md\n')], compression, untitled }), {
        'README.md': 'README.md\n',
      });
  const config: LayerInput = { mediaType: MEDIA.wasmConfig, body: Buffer.from('{}'), title: 'config.json' };
  const unknown: LayerInput = { ...tarLayer([text('README.md'), plugin]), mediaType: 'application/octet-stream' };
  await takes(imageOf({ layers: [config, unknown], wasm }), { 'README.md': 'README.md\n' });
});

test('documents in other archive layers than that of the module are not published', async () => {
  const docs = ['README.md', 'README_EN.md', 'spec.yaml'].map(name => [text(name)]);
  const last = await takes(stack(...docs, [plugin]), {});
  assert.equal(last.opened, 1);
  await takes(stack([plugin], ...docs), {});
  await takes(stack([text('README.md')], [plugin, text('spec.yaml')], [text('README_EN.md')]), {
    'spec.yaml': 'spec.yaml\n',
  });
  const apart = [{ name: 'out/', type: 'directory' }] as const;
  const inFolder = [{ ...plugin, name: 'out/main.wasm' }, text('out/spec.yaml', 'own')];
  for (const layers of [
    [apart, inFolder, [...apart, text('out/README.md')]],
    [apart, [...apart, text('out/README.md')], inFolder],
  ])
    await takes(stack(...layers), { 'spec.yaml': 'own' });
  // A plugin.wasm in the root of a lower layer replaces the module found so far, and so do the documents next to it.
  await takes(stack([plugin, text('spec.yaml', 'root')], inFolder), { 'spec.yaml': 'root' });
});

test('what upper layers hide or replace is not published', async () => {
  const below = [plugin, text('README.md', 'old'), text('spec.yaml', 'old')];
  const cases: [string, readonly TarEntry[], Record<string, string>][] = [
    ['replaced', [text('README.md', 'new')], { 'spec.yaml': 'old' }],
    ['a whiteout', [text('.wh.README.md', '')], { 'spec.yaml': 'old' }],
    ['a whiteout and a new one', [text('./.wh.README.md', ''), text('README.md', 'new')], { 'spec.yaml': 'old' }],
    ['a link', [{ name: 'README.md', type: 'symlink', linkTo: '/etc/passwd' }], { 'spec.yaml': 'old' }],
    ['a folder', [{ name: 'README.md/', type: 'directory' }], { 'spec.yaml': 'old' }],
    ['a file in a folder of its name', [text('README.md/x')], { 'spec.yaml': 'old' }],
    ['an opaque folder next to it', [text('a/.wh..wh..opq', '')], { 'README.md': 'old', 'spec.yaml': 'old' }],
    ['all hidden', [text('.wh..wh..opq', ''), plugin, text('README.md', 'new')], { 'README.md': 'new' }],
  ];
  for (const [name, top, expected] of cases) assert.deepEqual((await take(stack(below, top))).texts, expected, name);
});

test('random stacks publish the documents of the module’s layer that are visible in the merged layers', async () => {
  const name = fc.constantFrom('README.md', 'spec.yaml', 'a/README.md', 'README.md/x', 'a', 'spec.yaml/README.md');
  const kind = fc.constantFrom<StackEntry['kind']>('file', 'file', 'file', 'directory', 'link');
  const whiteout = fc.constantFrom(
    '.wh.README.md',
    '.wh.spec.yaml',
    'a/.wh.README.md',
    '.wh..wh..opq',
    'a/.wh..wh..opq',
  );
  const entry = fc.oneof(
    { weight: 3, arbitrary: fc.record({ path: name, kind }) },
    { weight: 1, arbitrary: whiteout.map(path => ({ path, kind: 'file' as const })) },
    { weight: 1, arbitrary: fc.constant({ path: 'plugin.wasm', kind: 'file' as const }) },
  );
  const layer = fc
    .uniqueArray(entry, { maxLength: 5, selector: ({ path }) => path })
    // Within one layer, no entry lies below a file of the same layer: no file system could have been packed so.
    .map(entries =>
      entries.filter(({ path }) => !entries.some(it => it.kind !== 'directory' && path.startsWith(`${it.path}/`))),
    );
  const layers = fc.array(layer, { minLength: 1, maxLength: 4 });
  const types = { file: 'file', directory: 'directory', link: 'symlink', special: 'fifo' };
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(layers, async layers => {
      const tree = layOver(layers);
      const module = tree.get('plugin.wasm');
      if (module === undefined) return;
      compared++;
      const shown = ['README.md', 'spec.yaml'].flatMap(file => {
        const seen = tree.get(file);
        return seen?.kind === 'file' && seen.layer === module.layer ? [[file, `${seen.layer}`]] : [];
      });
      const image = stack(
        ...layers.map((entries, index) =>
          entries.map(({ path, kind }) => ({
            name: path,
            type: types[kind],
            ...(kind === 'link' ? { linkTo: 'x' } : {}),
            body: path === 'plugin.wasm' ? wasm : kind === 'file' ? `${index}` : '',
          })),
        ),
      );
      await takes(image, Object.fromEntries(shown));
    }),
    { numRuns: times(40, 400) },
  );
  assert.ok(compared > times(5, 50));
});

test('only documents in the folder of the module are published', async () => {
  const elsewhere = [text('docs/README.md'), text('README.md/README.md'), text('a/b/spec.yaml')];
  await takes(stack([...elsewhere, plugin, ...elsewhere.map(it => ({ ...it, name: `z/${it.name}` }))]), {});
  const main = { ...plugin, name: 'dist/main.wasm' };
  const own = { 'README.md': 'dist/README.md\n', 'spec.yaml': 'dist/spec.yaml\n' };
  const others = [text('README.md'), text('a/README.md'), text('dist/docs/README.md'), text('distant/spec.yaml')];
  const walked = [text('README.md'), text('a/README.md'), text('dist/README.md'), text('dist/docs/README.md')];
  await takes(stack([...walked, main, text('dist/spec.yaml'), text('distant/spec.yaml')]), own);
  await takes(
    stack([
      main,
      ...others,
      text('dist/README.md'),
      ...others.map(it => ({ ...it, name: `z/${it.name}` })),
      text('dist/spec.yaml'),
    ]),
    own,
  );
  // The root's plugin.wasm wins over a module in a folder, and so do the documents there.
  await takes(stack([main, text('dist/README.md'), plugin, text('README.md')]), { 'README.md': 'README.md\n' });
});

test('links, folders and other things with the name of a document are skipped', async () => {
  const things: TarEntry[] = [
    { name: 'README.md', type: 'symlink', linkTo: '../../etc/passwd' },
    { name: 'README_EN.md', type: 'directory' },
    { name: 'spec.yaml', type: 'link', linkTo: 'plugin.wasm' },
    { name: 'icon.png', type: 'character' },
    { name: 'README_ZH.md', type: 'fifo' },
  ];
  assert.equal((await takes(stack([...things, plugin]), {})).warnings, '');
  assert.equal((await takes(stack([plugin, ...things]), {})).warnings, '');
  // As on disk, the last entry of a path is what it is.
  await takes(stack([text('README.md'), { name: './README.md', type: 'symlink', linkTo: 'x' }, plugin]), {});
  await takes(stack([text('README.md', 'a'), text('./README.md', 'b'), plugin]), { 'README.md': 'b' });
});

test('a document that is too large, not a PNG or has a name that is taken is left out with a warning', async () => {
  const limit = 4 * 1024 * 1024;
  const image = stack([
    text('README.md', Buffer.alloc(limit + 1)),
    text('README_EN.md', Buffer.alloc(limit)),
    text('icon.png', '<svg>'),
    text('spec.yml', 'first'),
    text('spec.yaml', 'second'),
    plugin,
  ]);
  const { warnings } = await takes(image, { 'README_EN.md': `${limit} bytes`, 'spec.yaml': 'first' });
  assert.match(
    warnings,
    /^p 1\.0\.0: README\.md is left out: it is larger than 4194304 bytes \(in the archive of plugin\.wasm\)$/m,
  );
  assert.match(warnings, /^p 1\.0\.0: icon\.png is left out: it is not a PNG image/m);
  assert.match(warnings, /^p 1\.0\.0: spec\.yaml is left out: another document has that name already/m);
  assert.equal(warnings.split('\n').length, 3);
  const icon = Buffer.concat([png, Buffer.alloc(1024 * 1024)]);
  assert.match((await takes(stack([text('icon.png', icon), plugin]), {})).warnings, /icon\.png .* 1048576 bytes/);
  const giant: TarEntry = { name: 'README.md', body: 'x', sizeBytes: 2 ** 40, binarySize: true };
  await refuses(stack([plugin, giant]), 'LAYER_CORRUPT', /truncated/);
});

test('at most twenty documents are published, with one warning for the others', async () => {
  const many = Array.from({ length: 5000 }, (_, index) => text(`README_${index}.md`, 'x'));
  const { texts, warnings } = await take(stack([...many, plugin]));
  assert.equal(Object.keys(texts).length, 20);
  assert.equal(warnings, 'p 1.0.0: 4980 documents in its archive are left out: an image may have 20');
});

test('a document that is a layer of its own replaces one in the archive', async () => {
  const entries = [plugin, text('README.md', 'inside'), text('spec.yaml', 'inside')];
  const { warnings } = await takes(imageFormA({ wasm, readme: 'own', readmeEn: 'own', entries }), {
    'README_EN.md': 'own',
    'README.md': 'own',
    'spec.yaml': 'inside',
  });
  assert.equal(warnings, '');
  const bad = await takes(imageFormA({ wasm, icon: Buffer.from('<svg>'), entries: [plugin, text('icon.png', png)] }), {
    'icon.png': png.toString('latin1'),
  });
  assert.match(bad.warnings, /icon\.png is left out: it is not a PNG image \(.*"icon\.png"/);
});

test('thousands of documents in other folders do not fill the memory', () => {
  const search = new PluginSearch();
  const documents = new ArchiveDocuments(search);
  search.enterLayer(1, true);
  documents.enterLayer(1);
  const offer = (path: string, sizeBytes: number) => {
    if (!search.offer({ path, kind: 'file' })) documents.offer({ path, kind: 'file', about: 'a file', sizeBytes });
  };
  for (let index = 0; index < 10_000; index++) {
    offer(`usr/share/doc/${index}/README.md`, 1000);
    assert.ok(documents.heldBytes <= 1000);
  }
  for (let depth = 1; depth < 200; depth++) offer(`${'d/'.repeat(depth)}README.md`, 4 * 1024 * 1024);
  assert.ok(documents.heldBytes <= 16 * 1024 * 1024);
  offer('plugin.wasm', wasm.length);
  offer('usr/share/doc/last/README.md', 1000);
  assert.equal(documents.heldBytes, 0);
});
