import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { readCatalog } from '../../tree/catalog.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { inspectVersion, readVersion } from '../../tree/version/inspectVersion.ts';
import { fileTime } from '../../tree/version/published.ts';
import { code, publish, type Sample, sample, temporary } from './fixture.ts';

const run = promisify(execFile);

const SAMPLES = [
  sample('ai-proxy', '2.0.1', {
    created: '2025-03-04T05:06:07.891Z',
    files: { 'spec.yaml': 'a: 1\n', 'README.md': '# 说明\n' },
  }),
  sample('ai-proxy', '10.0.0'),
  sample('ai-proxy', '9.0.0', { created: '0001-01-01T00:00:00Z' }),
  sample('basic-auth', '2.0.0', { files: { 'icon.png': '\u0000png' } }),
  sample('mcp-server', 'latest'),
  sample('mcp-server', '1.0.0-rc.1', { created: 'yesterday' }),
];

async function build(treeDir: string, samples: readonly Sample[], mask: number): Promise<void> {
  const before = process.umask(mask);
  try {
    const publishing = await openPublishingTree(treeDir);
    const published = [];
    for (const one of samples) published.push(await publish(publishing, one));
    const target = published.find(metadata => metadata.name === 'basic-auth');
    assert.ok(target);
    published.push(await publishing.publishAlias(target, '1.0.0'));
    await publishing.writeCatalog(published.map(metadata => ({ metadata, pinned: false })));
    await publishing.close();
  } finally {
    process.umask(before);
  }
}

test('two trees are equal in bytes, modes and mtimes, whatever the order and the umask', async t => {
  const dir = await temporary(t);
  await build(join(dir, 'a'), SAMPLES, 0o022);
  await build(join(dir, 'b'), [...SAMPLES].reverse(), 0o077);
  await run('diff', ['-r', join(dir, 'a'), join(dir, 'b')]);
  const tar = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner'];
  for (const tree of ['a', 'b'])
    await run('tar', [...tar, '-cf', join(dir, `${tree}.tar`), '-C', join(dir, tree), '.']);
  await run('cmp', [join(dir, 'a.tar'), join(dir, 'b.tar')]);
  assert.equal((await lstat(join(dir, 'a/ai-proxy/2.0.1'))).mtime.toISOString(), '2025-03-04T05:06:06.000Z');
  const { metadata } = SAMPLES[0] ?? assert.fail();
  assert.equal((await lstat(join(dir, 'a/ai-proxy/2.0.1/plugin.wasm'))).mtimeMs, fileTime(metadata.sha256).getTime());
  assert.equal((await lstat(join(dir, 'a/ai-proxy/9.0.0'))).mtime.toISOString(), '1980-01-01T00:00:00.000Z');
  assert.deepEqual((await readdir(dir)).sort(), ['a', 'a.tar', 'b', 'b.tar']);
  assert.deepEqual((await readdir(join(dir, 'a'))).sort(), [
    'ai-proxy',
    'basic-auth',
    'index.json',
    'mcp-server',
    'snapshot-inventory.json',
  ]);
});

test('a second run over the same versions leaves the same tree', async t => {
  const dir = await temporary(t);
  await build(join(dir, 'a'), SAMPLES, 0o022);
  await build(join(dir, 'b'), SAMPLES, 0o022);
  await build(join(dir, 'b'), [...SAMPLES].reverse(), 0o022);
  const tar = async (tree: string) =>
    (await run('tar', ['--sort=name', '-cf', '-', '-C', join(dir, tree), '.'], { encoding: 'buffer' })).stdout;
  assert.ok((await tar('a')).equals(await tar('b')));
});

test('the files of a version have the formats that other tools expect', async t => {
  const dir = await temporary(t);
  await build(dir, SAMPLES, 0o022);
  const folder = join(dir, 'ai-proxy/2.0.1');
  assert.match((await run('sha256sum', ['-c', 'plugin.wasm.sha256'], { cwd: folder })).stdout, /plugin\.wasm: OK/);
  const [first] = SAMPLES;
  assert.equal(
    await readFile(join(folder, 'metadata.txt'), 'utf8'),
    [
      'Plugin Name: ai-proxy',
      'Size: 64 bytes',
      'Last Modified: 2025-03-04T05:06:07.891Z',
      'Created: 2025-03-04T05:06:07.891Z',
      `MD5: ${first?.metadata.md5}`,
      '',
    ].join('\n'),
  );
  assert.match(await readFile(join(dir, 'ai-proxy/10.0.0/metadata.txt'), 'utf8'), /^Created: unknown$/m);
  assert.deepEqual(await readVersion(dir, 'ai-proxy', '2.0.1'), first?.metadata);
  const inventory = JSON.parse(await readFile(join(dir, 'snapshot-inventory.json'), 'utf8'));
  assert.deepEqual(Object.keys(inventory), ['ai-proxy', 'basic-auth', 'mcp-server']);
  assert.equal(inventory['ai-proxy'].version, '10.0.0');
  assert.equal(inventory['basic-auth'].version, '2.0.0');
  assert.equal(inventory['ai-proxy'].wasmSha256, SAMPLES[1]?.metadata.sha256);
});

test('the catalog is sorted by name and semver, other versions last, aliases marked', async t => {
  const dir = await temporary(t);
  await build(dir, SAMPLES, 0o022);
  const catalog = await readCatalog(dir);
  assert.deepEqual(
    catalog?.plugins.map(plugin => [plugin.name, ...plugin.versions.map(version => version.version)]),
    [
      ['ai-proxy', '2.0.1', '9.0.0', '10.0.0'],
      ['basic-auth', '1.0.0', '2.0.0'],
      ['mcp-server', '1.0.0-rc.1', 'latest'],
    ],
  );
  assert.equal(catalog?.plugins[1]?.versions[0]?.aliasOf, '2.0.0');
  for (const plugin of catalog?.plugins ?? [])
    for (const version of plugin.versions)
      assert.equal((await inspectVersion(dir, plugin.name, version.version)).state, 'sound');
});

test('a replacement keeps unknown files, and removes files that the new version does not have', async t => {
  const dir = await temporary(t);
  const old = sample('p', '1.0.0', { seed: 'old', files: { 'spec.yaml': 'old', 'README.md': 'old' } });
  const fresh = sample('p', '1.0.0', { seed: 'new', files: { 'spec.yaml': 'new' } });
  const first = await openPublishingTree(dir);
  await publish(first, old);
  await first.close();
  await writeFile(join(dir, 'p/1.0.0/notes.txt'), 'mine');
  const second = await openPublishingTree(dir);
  await publish(second, fresh);
  await second.close();
  assert.deepEqual((await readdir(join(dir, 'p/1.0.0'))).sort(), [
    'metadata.json',
    'metadata.txt',
    'notes.txt',
    'plugin.wasm',
    'plugin.wasm.sha256',
    'spec.yaml',
  ]);
  assert.deepEqual(await inspectVersion(dir, 'p', '1.0.0'), { state: 'sound', metadata: fresh.metadata });
});

test('a file that sync did not publish is neither overwritten, followed nor deleted', async t => {
  const dir = await temporary(t);
  const outside = join(dir, 'outside');
  const tree = join(dir, 'tree');
  await mkdir(join(outside, '1.0.0'), { recursive: true });
  await writeFile(join(outside, '1.0.0/plugin.wasm'), 'theirs');
  await mkdir(join(tree, 'own/1.0.0'), { recursive: true });
  await mkdir(join(tree, 'linked-version'));
  await writeFile(join(tree, 'own/1.0.0/plugin.wasm'), 'theirs');
  await symlink(outside, join(tree, 'linked-name'));
  await symlink(join(outside, '1.0.0'), join(tree, 'linked-version/1.0.0'));
  await writeFile(join(tree, 'file-name'), 'theirs');
  const publishing = await openPublishingTree(tree);
  for (const name of ['own', 'linked-name', 'linked-version', 'file-name'])
    await assert.rejects(publish(publishing, sample(name, '1.0.0')), code('TREE_FOREIGN'), name);
  for (const name of ['linked-name', 'linked-version', 'own', 'file-name'])
    assert.deepEqual((await publishing.remove(name, '1.0.0')).removed, []);
  await publish(publishing, sample('fine', '1.0.0'));
  await publishing.close();
  assert.equal(await readFile(join(outside, '1.0.0/plugin.wasm'), 'utf8'), 'theirs');
  assert.deepEqual(await readdir(join(outside, '1.0.0')), ['plugin.wasm']);
  assert.equal(await readFile(join(tree, 'own/1.0.0/plugin.wasm'), 'utf8'), 'theirs');
  assert.equal(await readlink(join(tree, 'linked-name')), outside);
  assert.equal((await inspectVersion(tree, 'fine', '1.0.0')).state, 'sound');
});

test('a published file that became a folder or a link is refused, the rest of the version stays', async t => {
  const dir = await temporary(t);
  const first = await openPublishingTree(dir);
  await publish(first, sample('p', '1.0.0', { files: { 'spec.yaml': 'a' } }));
  await first.close();
  const spec = join(dir, 'p/1.0.0/spec.yaml');
  await rm(spec);
  await mkdir(spec);
  const second = await openPublishingTree(dir);
  await assert.rejects(
    publish(second, sample('p', '1.0.0', { seed: 'new', files: { 'spec.yaml': 'b' } })),
    code('TREE_FOREIGN'),
  );
  await second.close();
  assert.ok((await lstat(spec)).isDirectory());
  assert.equal(
    await readFile(join(dir, 'p/1.0.0/plugin.wasm.sha256'), 'utf8'),
    `${sample('p', '1.0.0').metadata.sha256}  plugin.wasm\n`,
  );
});

test('a version with a damaged metadata.json is known from the catalog and published again', async t => {
  const dir = await temporary(t);
  const one = sample('p', '1.0.0');
  const first = await openPublishingTree(dir);
  const metadata = await publish(first, one);
  await first.writeCatalog([{ metadata, pinned: true }]);
  await first.close();
  await writeFile(join(dir, 'p/1.0.0/metadata.json'), '{');
  await writeFile(join(dir, 'p/1.0.0/plugin.wasm'), 'rotten');
  assert.equal((await inspectVersion(dir, 'p', '1.0.0')).state, 'damaged');
  const second = await openPublishingTree(dir);
  await publish(second, one);
  await second.close();
  assert.equal((await inspectVersion(dir, 'p', '1.0.0')).state, 'sound');
});

test('removal deletes published files and empty folders, and reports what stays', async t => {
  const dir = await temporary(t);
  const publishing = await openPublishingTree(dir);
  await publish(publishing, sample('p', '1.0.0', { files: { 'README.md': 'r' } }));
  await publish(publishing, sample('p', '2.0.0'));
  await writeFile(join(dir, 'p/2.0.0/notes.txt'), 'mine');
  assert.equal((await publishing.remove('p', '1.0.0')).removed.length, 5);
  const kept = await publishing.remove('p', '2.0.0');
  assert.deepEqual(kept.foreign, ['p/2.0.0/notes.txt']);
  assert.deepEqual(await publishing.remove('p', '3.0.0'), { removed: [], foreign: [] });
  await publish(publishing, sample('q', '1.0.0'));
  await publishing.remove('q', '1.0.0');
  await publishing.close();
  assert.deepEqual(await readdir(dir), ['p']);
  assert.deepEqual(await readdir(join(dir, 'p')), ['2.0.0']);
  assert.deepEqual(await readdir(join(dir, 'p/2.0.0')), ['notes.txt']);
});

test('staged files that differ from the metadata are refused', async t => {
  const dir = await temporary(t);
  const publishing = await openPublishingTree(dir);
  t.after(() => publishing.close());
  const { metadata, contents } = sample('p', '1.0.0');
  const wrong: [string, Map<string, Buffer>][] = [
    ['no module', new Map()],
    ['another size', new Map([['plugin.wasm', Buffer.from('short')]])],
    ['a file too many', new Map([...contents, ['extra', Buffer.from('')]])],
  ];
  for (const [what, files] of wrong)
    await assert.rejects(publish(publishing, { metadata, contents: files }), code('TREE_STAGED_WRONG'), what);
  const misnamed = { ...metadata, name: '../p' };
  await assert.rejects(publish(publishing, { metadata: misnamed, contents }), code('TREE_NAME_UNFIT'));
  const named = { ...metadata, files: { '../../x': { sha256: metadata.sha256, sizeBytes: 1 } } };
  await assert.rejects(publish(publishing, { metadata: named, contents }), code('TREE_NAME_UNFIT'));
  await assert.rejects(publishing.publishAlias(sample('never', '1.0.0').metadata, '2.0.0'), code('TREE_STAGED_WRONG'));
  assert.deepEqual(
    (await readdir(dir)).filter(entry => !entry.startsWith('.')),
    [],
  );
});

test('a path that cannot be a tree is refused with what it is', async t => {
  const dir = await temporary(t);
  await writeFile(join(dir, 'file'), '');
  await symlink(join(dir, 'nowhere'), join(dir, 'dangling'));
  await symlink('circle', join(dir, 'circle'));
  for (const path of ['file', 'file/below', 'dangling', 'circle', `${'x'.repeat(300)}`])
    await assert.rejects(openPublishingTree(join(dir, path)), code('TREE_UNUSABLE'), path);
  const deep = await openPublishingTree(join(dir, 'made/on/the/way'));
  await deep.close();
  await mkdir(join(dir, 'real'));
  await symlink('real', join(dir, 'link'));
  const linked = await openPublishingTree(join(dir, 'link'));
  await publish(linked, sample('p', '1.0.0'));
  await linked.close();
  assert.equal((await inspectVersion(join(dir, 'real'), 'p', '1.0.0')).state, 'sound');
});

test('anything but a folder at the path of the staging folder is refused', async t => {
  const dir = await temporary(t);
  await symlink(dir, join(dir, '.tree.staging'));
  await assert.rejects(openPublishingTree(join(dir, 'tree')), code('TREE_FOREIGN'));
  assert.deepEqual(await readdir(join(dir, 'tree')), []);
});

test('a folder that this user may not write is refused', {
  skip: process.getuid?.() === 0 && 'root may write anywhere',
}, async t => {
  const dir = await temporary(t);
  await chmod(dir, 0o555);
  try {
    await assert.rejects(openPublishingTree(dir), code('TREE_NOT_WRITABLE'));
    await assert.rejects(openPublishingTree(join(dir, 'below')), code('TREE_NOT_WRITABLE'));
  } finally {
    await chmod(dir, 0o755);
  }
});

test('after an abort no further work begins, and close still cleans up', async t => {
  const dir = await temporary(t);
  const controller = new AbortController();
  const publishing = await openPublishingTree(join(dir, 'tree'), { signal: controller.signal });
  const staged = await publishing.stage();
  await writeFile(join(staged.dir, 'plugin.wasm'), 'half');
  controller.abort(new Error('enough'));
  await assert.rejects(publishing.publish(staged, sample('p', '1.0.0').metadata), /enough/);
  await assert.rejects(publishing.stage(), /enough/);
  await publishing.close();
  await publishing.close();
  assert.deepEqual(await readdir(dir), ['tree']);
  assert.deepEqual(await readdir(join(dir, 'tree')), []);
});

test('a catalog that is too large to be read is not written, and the former one stays', async t => {
  const dir = await temporary(t);
  const publishing = await openPublishingTree(dir);
  const metadata = await publish(publishing, sample('ai-proxy', '1.0.0'));
  await publishing.writeCatalog([{ metadata, pinned: false }]);
  const before = await readFile(join(dir, 'index.json'));
  const long = { ...metadata, reference: 'x'.repeat(1024 * 1024) };
  const many = Array.from({ length: 16 }, (_, at) => ({ metadata: { ...long, version: `2.${at}.0` }, pinned: false }));
  await assert.rejects(publishing.writeCatalog(many), code('CATALOG_TOO_LARGE'));
  assert.ok((await readFile(join(dir, 'index.json'))).equals(before));
  await publishing.close();
});
