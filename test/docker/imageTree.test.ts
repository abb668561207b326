import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { emptyFolder, publish, wasm } from '../server/tree.ts';

const root = resolve(import.meta.dirname, '../..');

interface Ended {
  readonly code: number;
  readonly said: string;
}

/** Runs the script as the Dockerfile does, with the built command as `plugin-mirror`. */
async function prepare(t: TestContext, tree: string): Promise<Ended> {
  const bin = await emptyFolder(t);
  await symlink(join(root, 'dist/cli/main.js'), join(bin, 'plugin-mirror'));
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  return new Promise(done => {
    execFile('sh', [join(root, 'scripts/image/imageTree.sh'), tree], { env }, (error, stdout, stderr) =>
      done({ code: Number(error?.code ?? 0), said: stdout + stderr }),
    );
  });
}

async function makeTree(t: TestContext): Promise<string> {
  const tree = join(await emptyFolder(t), 'plugins');
  await mkdir(tree);
  await publish(tree, [
    { name: 'one', version: '1.0.0', bytes: wasm(2000) },
    { name: 'two', version: '1.0.0', bytes: wasm(2000) },
  ]);
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
  const { code, said } = await prepare(t, tree);
  assert.equal(code, 0, said);
  assert.match(said, /intact: 2 versions/);
  const names = (await readdir(tree, { recursive: true })).sort();
  assert.deepEqual(
    names.filter(name => name.split('/').some(part => part.startsWith('.'))),
    [],
  );
  assert.ok(names.includes('one/1.0.0/plugin.wasm'));
  const mode = async (name: string) => ((await stat(join(tree, name))).mode & 0o777).toString(8);
  assert.deepEqual(await Promise.all(['one', 'one/1.0.0/plugin.wasm', 'index.json'].map(mode)), ['755', '644', '644']);
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
    const { code, said } = await prepare(t, tree);
    assert.notEqual(code, 0, what);
    assert.match(said, expected, what);
  }
  assert.notEqual((await prepare(t, await emptyFolder(t))).code, 0, 'an empty folder');
});
