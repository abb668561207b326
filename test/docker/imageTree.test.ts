import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { emptyFolder, publish, wasm } from '../server/tree.ts';
import { slow } from '../support/slow.ts';

const root = resolve(import.meta.dirname, '../..');

interface Ended {
  readonly code: number;
  readonly said: string;
}

/** The tree's path in a layer. */
const path = 'usr/share/plugins';

/** Runs the script as the Dockerfile does, with the built command as `plugin-mirror`. */
async function divide(t: TestContext, tree: string, layers: string, treeDigest = ''): Promise<Ended> {
  const bin = await emptyFolder(t);
  await symlink(join(root, 'dist/cli/main.js'), join(bin, 'plugin-mirror'));
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, TREE_DIGEST: treeDigest };
  const words = [join(root, 'scripts/image/imageTree.sh'), tree, layers, path];
  return new Promise(done => {
    execFile('sh', words, { env }, (error, stdout, stderr) =>
      done({ code: Number(error?.code ?? 0), said: stdout + stderr }),
    );
  });
}

/** The content of each layer that is not empty, by the layer's name. */
async function contentOf(layers: string): Promise<Record<string, string[]>> {
  const content: Record<string, string[]> = {};
  for (const layer of await readdir(layers)) {
    const names = await readdir(join(layers, layer, path)).catch(() => []);
    if (names.length > 0) content[layer] = names.sort();
  }
  return content;
}

const sampleOf = (name: string) => ({ name, version: '1.0.0', bytes: wasm(2000) });

async function makeTree(t: TestContext, plugins = ['one', 'two'].map(sampleOf)): Promise<string> {
  const tree = join(await emptyFolder(t), 'plugins');
  await mkdir(tree);
  await publish(tree, plugins);
  return tree;
}

test('leftovers of a killed sync or a desktop do not go into the image, and every user may read the rest', async t => {
  const tree = await makeTree(t);
  for (const left of ['.staging/version-1', '.git', 'one/.hidden']) await mkdir(join(tree, left), { recursive: true });
  for (const left of ['.staging/version-1/plugin.wasm', '.lock', '.DS_Store', 'one/1.0.0/._plugin.wasm'])
    await writeFile(join(tree, left), 'left');
  await chmod(join(tree, 'one'), 0o700);
  await chmod(join(tree, 'one/1.0.0/plugin.wasm'), 0o600);
  await chmod(join(tree, 'index.json'), 0o666);
  const layers = await emptyFolder(t);
  const { code, said } = await divide(t, tree, layers);
  assert.equal(code, 0, said);
  assert.match(said, /intact: 2 versions/);
  const content = await contentOf(layers);
  const { catalog, ...plugins } = content;
  assert.ok(catalog?.includes('index.json'));
  assert.deepEqual(Object.values(plugins).flat().sort(), ['one', 'two']);
  assert.equal(Object.keys(plugins).length, 2, 'a layer for each');

  const names = (await readdir(layers, { recursive: true })).sort();
  assert.deepEqual(
    names.filter(name => name.split('/').some(part => part.startsWith('.'))),
    [],
  );
  const inLayers = (end: string) => names.find(name => name.endsWith(`${path}/${end}`)) ?? end;
  const mode = async (name: string) => ((await stat(join(layers, inLayers(name)))).mode & 0o777).toString(8);
  assert.deepEqual(await Promise.all(['one', 'one/1.0.0/plugin.wasm', 'index.json'].map(mode)), ['755', '644', '644']);
});

test(
  'the layers of a tree are the same in every build, and a new plugin changes no layer but its own and the catalog',
  slow,
  async t => {
    const plugins = Array.from({ length: 20 }, (_, index) => sampleOf(`plugin-${index}`));
    const tree = await makeTree(t, plugins);
    const contentAfter = async () => {
      const layers = await emptyFolder(t);
      const { code, said } = await divide(t, tree, layers);
      assert.equal(code, 0, said);
      for (const layer of await readdir(layers))
        for (const folder of [layer, `${layer}/usr`, `${layer}/${path}`])
          assert.equal((await stat(join(layers, folder)).catch(() => undefined))?.mtime.getUTCFullYear() ?? 1980, 1980);
      assert.equal((await readdir(layers)).length, 97, 'as many as the Dockerfile copies');
      return contentOf(layers);
    };
    const before = await contentAfter();
    await utimes(tree, new Date(), new Date());
    assert.deepEqual(await contentAfter(), before);

    await publish(tree, [...plugins, sampleOf('one-more')]);
    const ofPlugins = (content: Record<string, string[]>) =>
      Object.values(content)
        .map(names => names.join())
        .sort();
    const added = ofPlugins(await contentAfter()).filter(names => !ofPlugins(before).includes(names));
    assert.deepEqual(
      added.filter(names => names !== 'one-more'),
      [],
    );
  },
);

test('more plugins than layers share them', slow, async t => {
  const names = Array.from({ length: 120 }, (_, index) => `plugin-${index}`);
  const layers = await emptyFolder(t);
  const { code, said } = await divide(t, await makeTree(t, names.map(sampleOf)), layers);
  assert.equal(code, 0, said);
  const { catalog: _, ...plugins } = await contentOf(layers);
  assert.deepEqual(Object.values(plugins).flat().sort(), names.sort());
  assert.equal(Object.keys(plugins).length, 96);
});

test('the build fails where the tree is another one than TREE_DIGEST names', slow, async t => {
  const tree = await makeTree(t);
  const { code, said } = await divide(t, tree, await emptyFolder(t), `sha256:${'0'.repeat(64)}`);
  assert.equal(code, 1);
  const [, found = ''] = /has the digest (sha256:[0-9a-f]{64})/.exec(said) ?? [];
  const again = await divide(t, tree, await emptyFolder(t), found);
  assert.equal(again.code, 0, again.said);
});

test('a tree that differs from its index.json fails the build', async t => {
  const spoilt: [string, (tree: string) => Promise<unknown>, RegExp][] = [
    ['other bytes', tree => writeFile(join(tree, 'one/1.0.0/plugin.wasm'), wasm(2000)), /damaged .*one\/1\.0\.0/],
    ['no catalog', tree => writeFile(join(tree, 'index.json'), ''), /CATALOG_INVALID/],
    ['an unknown file', tree => writeFile(join(tree, 'notes.txt'), 'x'), /unknown .*notes\.txt/],
    ['a link out of it', tree => symlink('/etc', join(tree, 'etc')), /unknown .*etc/],
  ];
  for (const [what, spoil, expected] of spoilt) {
    const tree = await makeTree(t);
    await spoil(tree);
    const { code, said } = await divide(t, tree, await emptyFolder(t));
    assert.notEqual(code, 0, what);
    assert.match(said, expected, what);
  }
  assert.notEqual((await divide(t, await emptyFolder(t), await emptyFolder(t))).code, 0, 'an empty folder');
});
