import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzip, tarOf, zstd } from '../support/archive.ts';
import { digestOf, imageOf, type LayerInput, MEDIA, type TestImage, tarLayer } from '../support/image.ts';
import { imageFormA, imageFormB, imageFormC, imageFormD, imageFormE } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { extract, extracts, refuses } from './extraction.ts';

const wasm = buildModule({ sizeBytes: 300_000 });
const other = buildModule({ sizeBytes: 5_000, seed: 'other' });
const png = Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from('icon')]);
const raw = (body: Buffer, title?: string, mediaType: string = MEDIA.wasm): LayerInput => ({
  mediaType,
  body,
  ...(title === undefined ? {} : { title }),
});
const entry = (name: string, body = wasm) => ({ name, body });
const images: Record<string, TestImage> = {
  'form A': imageFormA({ wasm, readme: '# zh', readmeEn: '# en', spec: 'info: {}' }),
  'form A without titles': imageFormA({ wasm, readme: '# zh', spec: 'info: {}', untitled: true }),
  'form A, plain tar': imageFormA({ wasm, compression: 'none' }),
  'form A, zstd': imageFormA({ wasm, compression: 'zstd' }),
  'form A, main.wasm': imageFormA({ wasm, entryName: 'main.wasm' }),
  'form A, ./plugin.wasm': imageFormA({ wasm, entryName: './plugin.wasm' }),
  'form A, a module in a folder': imageFormA({ wasm, entryName: 'out/main.wasm' }),
  'form A, plugin.wasm next to another': imageFormA({
    wasm,
    entries: [entry('a.wasm', other), entry('plugin.wasm'), entry('z.wasm', other)],
  }),
  'form B': imageFormB({ wasm, title: 'basic_auth.wasm' }),
  'form B without titles': imageFormB({ wasm, untitled: true }),
  'form C': imageFormC({ wasm }),
  'form D, Docker': imageFormD({ wasm }),
  'form D, OCI': imageFormD({ wasm, docker: false }),
  'form D, the last layer wins': imageFormD({
    wasm,
    layers: [[entry('plugin.wasm', other)], [entry('plugin.wasm')], [entry('x', other)]],
  }),
  'form D, a whiteout leaves another': imageFormD({
    wasm,
    layers: [[entry('plugin.wasm', other), entry('main.wasm')], [{ name: '.wh.plugin.wasm' }]],
  }),
  'form D, an opaque folder': imageFormD({
    wasm,
    layers: [[entry('a/x.wasm', other)], [{ name: 'a/.wh..wh..opq' }, entry('a/main.wasm')]],
  }),
  'form D, an empty layer on top': imageFormD({ wasm, layers: [[entry('plugin.wasm')], []] }),
  'form E': imageFormE({ wasm, readme: '# zh', readmeEn: '# en', spec: 'info: {}', icon: png }),
  'a raw module of a tar media type': imageOf({ layers: [raw(wasm, 'main.wasm', MEDIA.tar)], wasm }),
  'a raw module of tar+gzip, untitled': imageOf({ layers: [raw(wasm, undefined, MEDIA.tarGzip)], wasm }),
  'a raw module, gzip': imageOf({ layers: [raw(gzip(wasm), 'plugin.wasm.gz', 'application/octet-stream')], wasm }),
  'a raw module, zstd': imageOf({ layers: [raw(zstd(wasm), 'plugin.wasm', MEDIA.wasm)], wasm }),
  'tar+gzip under the title plugin.wasm': imageOf({
    layers: [{ ...tarLayer([entry('plugin.wasm')]), title: 'plugin.wasm' }],
    wasm,
  }),
  'tar+gzip that says it is plain': imageOf({
    layers: [{ ...tarLayer([entry('plugin.wasm')]), mediaType: MEDIA.tar }],
    wasm,
  }),
  'an untitled layer of no kind': imageOf({ layers: [raw(wasm, undefined, 'application/octet-stream')], wasm }),
  'the one that is titled plugin.wasm': imageOf({
    layers: [raw(other, 'test.wasm'), tarLayer([entry('x.wasm', other)]), raw(wasm, 'out/plugin.wasm')],
    wasm,
  }),
  'the same module twice': imageOf({ layers: [raw(wasm, 'a.wasm'), raw(wasm, 'b.wasm')], wasm }),
  'oras push of plain files': imageOf({
    layers: ['README.md', 'spec.yaml', 'LICENSE', 'go.mod', 'main.wasm'].map(title =>
      raw(title === 'main.wasm' ? wasm : Buffer.from(title), title, MEDIA.tar),
    ),
    wasm,
  }),
  'a folder pushed by oras': imageOf({
    layers: [
      {
        ...tarLayer([entry('dist.md/plugin.wasm')]),
        title: 'dist.md',
        annotations: { 'io.deis.oras.content.unpack': 'true' },
      },
    ],
    wasm,
  }),
  'a foreign layer below': imageOf({
    layers: [
      { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', body: Buffer.from('not to be had') },
      tarLayer([entry('plugin.wasm')]),
    ],
    wasm,
  }),
  'the OCI empty layer next to it': imageOf({
    layers: [raw(Buffer.from('{}'), undefined, MEDIA.empty), raw(wasm)],
    wasm,
  }),
  'concatenated gzip members': imageOf({
    layers: [
      {
        mediaType: MEDIA.tarGzip,
        body: Buffer.concat(
          [0, 100_000, 200_000].map((at, index, all) =>
            gzip(tarOf([entry('plugin.wasm')]).subarray(at, all[index + 1])),
          ),
        ),
      },
    ],
    wasm,
  }),
  'zstd frames, skippable ones between them': imageOf({
    layers: [
      {
        mediaType: MEDIA.tarZstd,
        body: Buffer.concat(
          [0, 100_000, 200_000].flatMap((at, index, all) => [
            Buffer.from('502a4d180400000061626364', 'hex'),
            zstd(tarOf([entry('plugin.wasm')]).subarray(at, all[index + 1])),
          ]),
        ),
      },
    ],
    wasm,
  }),
  'zero padding after gzip': imageOf({
    layers: [
      { mediaType: MEDIA.tarGzip, body: Buffer.concat([gzip(tarOf([entry('plugin.wasm')])), Buffer.alloc(200_000)]) },
    ],
    wasm,
  }),
  'a tar without its end mark': imageOf({ layers: [tarLayer(tarOf([entry('plugin.wasm')], { end: false }))], wasm }),
  'links, devices and long names next to it': imageOf({
    layers: [
      tarLayer([
        { name: 'etc', type: 'directory' },
        { name: 'lib', type: 'symlink', linkTo: '/usr/lib' },
        { name: 'null', type: 'character' },
        { name: 'pipe', type: 'fifo' },
        { name: 'x'.repeat(300), body: 'long', longNames: 'gnu' },
        { name: `${'y/'.repeat(100)}z`, body: 'long' },
        { name: 'plugin.wasm', body: wasm, pax: { 'SCHILY.xattr.user.x': 'a\nb=\u0000c' } },
        { name: 'hard', type: 'link', linkTo: 'plugin.wasm' },
      ]),
    ],
    wasm,
  }),
};

for (const [name, image] of Object.entries(images))
  for (const chunkBytes of [65_536, 1000])
    test(`${name}, ${chunkBytes} bytes at a time`, async () => {
      await extracts(
        image,
        async (plugin, dir) => {
          const expected = image.wasm ?? Buffer.alloc(0);
          assert.ok((await readFile(join(dir, 'plugin.wasm'))).equals(expected));
          assert.equal(plugin.sha256, createHash('sha256').update(expected).digest('hex'));
          assert.equal(plugin.md5, createHash('md5').update(expected).digest('hex'));
          assert.equal(plugin.sizeBytes, expected.length);
          assert.equal(plugin.abi, '0.2.1');
          assert.deepEqual(plugin.warnings, []);
          assert.deepEqual((await readdir(dir)).sort(), ['plugin.wasm', ...Object.keys(plugin.files)].sort());
          for (const [file, { sha256, sizeBytes }] of Object.entries(plugin.files)) {
            const bytes = await readFile(join(dir, file));
            assert.equal(createHash('sha256').update(bytes).digest('hex'), sha256);
            assert.equal(bytes.length, sizeBytes);
          }
        },
        { chunkBytes },
      );
    });

test('documents get safe names, by title or otherwise by media type', async () => {
  const names = async (image: TestImage) => Object.keys((await extract(image)).plugin.files).sort();
  assert.deepEqual(await names(images['form A'] as TestImage), ['README.md', 'README_EN.md', 'spec.yaml']);
  assert.deepEqual(await names(images['form A without titles'] as TestImage), ['README.md', 'spec.yaml']);
  assert.deepEqual(await names(images['form E'] as TestImage), ['README.md', 'README_EN.md', 'icon.png', 'spec.yaml']);
  const forms = { readme: 'a', readmeEn: 'b', spec: 'c', icon: png, untitled: true };
  assert.deepEqual(await names(imageFormE({ wasm, ...forms })), [
    'README_EN.md',
    'README_ZH.md',
    'icon.png',
    'spec.yaml',
  ]);
  const odd = [
    '../../README.md',
    'readme.MD',
    'a\\README_EN.md',
    'README/../x.md',
    'metadata.json',
    '.hidden',
    'README.zh-CN.md',
  ];
  const layers = odd.map((title, index) => raw(Buffer.from(`${index}`), title, 'text/markdown'));
  const { plugin } = await extract(imageOf({ layers: [...layers, raw(wasm)], wasm }));
  assert.deepEqual(Object.keys(plugin.files).sort(), ['README.md', 'README.zh-CN.md', 'README_EN.md']);
  assert.match(plugin.warnings.join('\n'), /README\.md is left out: another layer has that name/);
});

test('of 25,000 document layers twenty are opened, and one line reports the rest', async () => {
  const doc = (at: number) => raw(Buffer.from(`# ${at}`), `README_${at}.md`, MEDIA.readme);
  const documents = Array.from({ length: 25_000 }, (_, at) => doc(at));
  const { plugin, opened } = await extract(imageOf({ layers: [...documents, raw(wasm)], wasm }));
  assert.equal(opened.length, 21);
  assert.deepEqual(plugin.warnings, ['p 1.0.0: 24980 documents are left out: an image may have 20']);
});

test('documents that are too large or not PNG are left out with a warning and, if possible, not opened', async () => {
  const image = imageOf({
    layers: [
      raw(Buffer.alloc(4 * 1024 * 1024 + 1), 'README.md', MEDIA.readme),
      raw(Buffer.alloc(1024 * 1024 + 1), 'icon.png', MEDIA.icon),
      raw(Buffer.from('<svg>'), undefined, MEDIA.icon),
      raw(Buffer.alloc(4 * 1024 * 1024), 'README_EN.md', MEDIA.readmeEn),
      raw(wasm),
    ],
    wasm,
  });
  const { plugin, opened } = await extract(image);
  assert.deepEqual(Object.keys(plugin.files), ['README_EN.md']);
  assert.equal(plugin.warnings.length, 3);
  assert.equal(opened.length, 3);
});

test('only the layers that are needed are opened', async () => {
  const configured = await extract(images['form B'] as TestImage);
  assert.deepEqual(configured.opened, [configured.plugin.layer.digest]);
  const base = [entry('usr/bin/x', randomBytes(2_200_000))];
  const stacked = await extract(imageFormD({ wasm, layers: [[entry('README.md')], base, [entry('plugin.wasm')]] }));
  assert.deepEqual(stacked.opened, [stacked.plugin.layer.digest]);
  const foreign = await extract(images['a foreign layer below'] as TestImage);
  assert.deepEqual(foreign.opened, [foreign.plugin.layer.digest]);
});

test('the layer of the result is the one that contains the module', async () => {
  const { plugin } = await extract(imageFormD({ wasm, layers: [[entry('main.wasm')], [entry('x', other)]] }));
  assert.equal(plugin.layer.digest, digestOf(gzip(tarOf([entry('main.wasm')]))));
});

test('a refusal lists the layers and why none or several of them could be the plugin', async () => {
  const cases: [string, TestImage, string, RegExp][] = [
    ['no layers', imageOf({ layers: [] }), 'LAYER_NO_PLUGIN', /the image has no layers/],
    [
      'documents only',
      imageOf({ layers: [raw(Buffer.from('x'), 'README.md', MEDIA.readme)] }),
      'LAYER_NO_PLUGIN',
      /1\) application\/vnd\.module\.wasm\.doc\.v1\+markdown "README\.md", 1 bytes \(documentation\)/,
    ],
    [
      'an attestation',
      imageOf({ layers: [raw(Buffer.from('{}'), undefined, 'application/vnd.in-toto+json')] }),
      'LAYER_NO_PLUGIN',
      /in-toto/,
    ],
    [
      'a tar without a module',
      imageFormA({ wasm, entryName: 'plugin.so' }),
      'LAYER_NO_PLUGIN',
      /"plugin\.tar\.gz".*an archive without a module/,
    ],
    ['an empty tar', imageFormD({ layers: [[]] }), 'LAYER_NO_PLUGIN', /no layer contains/],
    [
      'removed',
      imageFormD({ layers: [[entry('plugin.wasm')], [{ name: '.wh.plugin.wasm' }]] }),
      'LAYER_NO_PLUGIN',
      /plugin\.wasm in layer 1 is hidden by a layer above/,
    ],
    [
      'a folder removed',
      imageFormD({ layers: [[entry('a/b/x.wasm')], [{ name: '.wh.a' }]] }),
      'LAYER_NO_PLUGIN',
      /hidden/,
    ],
    [
      'all removed',
      imageFormD({ layers: [[entry('a/b/x.wasm')], [{ name: '.wh..wh..opq' }]] }),
      'LAYER_NO_PLUGIN',
      /hidden/,
    ],
    [
      'a link',
      imageFormD({ layers: [[{ name: 'main.wasm', type: 'symlink', linkTo: '/etc/passwd' }]] }),
      'LAYER_NO_PLUGIN',
      /main\.wasm is a symbolic link to \/etc\/passwd/,
    ],
    [
      'two in a tar',
      imageFormA({ wasm, entries: [entry('a.wasm'), entry('b/c.wasm', other)] }),
      'LAYER_AMBIGUOUS',
      /a\.wasm \(layer 1\), b\/c\.wasm \(layer 1\)/,
    ],
    [
      'two in two layers',
      imageFormD({ layers: [[entry('a.wasm')], [entry('b.wasm', other)]] }),
      'LAYER_AMBIGUOUS',
      /b\.wasm \(layer 2\), a\.wasm \(layer 1\)/,
    ],
    [
      'two modules',
      imageOf({ layers: [raw(wasm, 'a.wasm'), raw(other, 'b.wasm')] }),
      'LAYER_AMBIGUOUS',
      /"a\.wasm".*"b\.wasm"/,
    ],
    ['two untitled modules', imageOf({ layers: [raw(wasm), raw(other)] }), 'LAYER_AMBIGUOUS', /untitled/],
    [
      'two named plugin.wasm',
      imageOf({ layers: [raw(wasm, 'plugin.wasm'), raw(other, 'plugin.wasm')] }),
      'LAYER_AMBIGUOUS',
      /2 different layers are titled plugin\.wasm/,
    ],
    [
      'a module and a tar',
      imageOf({ layers: [raw(wasm), tarLayer([entry('plugin.wasm', other)])] }),
      'LAYER_AMBIGUOUS',
      /a module and an archive/,
    ],
    [
      'encrypted',
      imageOf({ layers: [raw(wasm, undefined, `${MEDIA.tarGzip}+encrypted`)] }),
      'LAYER_ENCRYPTED',
      /tar\+gzip\+encrypted/,
    ],
    [
      'encrypted in a stack',
      imageOf({ layers: [tarLayer([entry('main.wasm')]), raw(other, undefined, `${MEDIA.tarGzip}+encrypted`)] }),
      'LAYER_ENCRYPTED',
      /encrypted/,
    ],
    [
      'an HTML page',
      imageOf({ layers: [raw(Buffer.from('<html>'), 'plugin.wasm')] }),
      'MODULE_INVALID',
      /an HTML page/,
    ],
    ['an empty module', imageOf({ layers: [raw(Buffer.alloc(0), 'plugin.wasm')] }), 'MODULE_INVALID', /an empty file/],
    [
      'an HTML page in gzip',
      imageOf({ layers: [{ ...raw(gzip(Buffer.from('<html>'))), mediaType: MEDIA.tarGzip }] }),
      'LAYER_CORRUPT',
      /gzip data with an HTML page in it/,
    ],
    [
      'gzip in gzip',
      imageOf({ layers: [{ ...raw(gzip(gzip(tarOf([entry('plugin.wasm')])))), mediaType: MEDIA.tarGzip }] }),
      'LAYER_CORRUPT',
      /gzip data with gzip data in it/,
    ],
    ['an empty plugin.wasm in a tar', imageFormA({ wasm: Buffer.alloc(0) }), 'MODULE_INVALID', /an empty file/],
    ['a script called plugin.wasm', imageFormA({ wasm: Buffer.from('#!/bin/sh') }), 'MODULE_INVALID', /a script/],
  ];
  for (const [name, image, code, expected] of cases) await refuses(image, code, expected, name);
});

test('control characters in titles and media types do not reach the terminal', async () => {
  const layers = [raw(Buffer.from('x'), '\u001b[31mred\u202e.md', 'text/\u0007bell')];
  const { message } = await refuses(imageOf({ layers }), 'LAYER_NO_PLUGIN', /red/);
  assert.doesNotMatch(message, /[\u0000-\u001f\u202e]/);
});
