import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, rm, symlink } from 'node:fs/promises';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { openScene, parsed, type Scene } from '../support/cli.ts';
import { headers, status } from '../support/faults.ts';
import { asOtherUser, OTHER_USER } from '../support/otherUser.ts';
import { slow } from '../support/slow.ts';

const exec = promisify(execFile);

interface Found {
  readonly kind: string;
  readonly name?: string;
  readonly path?: string;
  readonly detail: string;
}

async function check(scene: Scene): Promise<{ code: number | null; told: string[]; findings: readonly Found[] }> {
  const ran = await scene.run(['check', '--format', 'json']);
  const { findings } = parsed<{ findings: readonly Found[] }>(ran);
  return { code: ran.code, findings, told: findings.map(({ kind, name, path }) => `${kind} ${name ?? path}`) };
}

async function synced(t: TestContext, ...names: readonly string[]): Promise<Scene> {
  const scene = await openScene(t);
  for (const name of names) scene.push(name, '1');
  await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
  assert.equal((await scene.sync()).code, 0);
  return scene;
}

describe('check with a lockfile that differs from the tree', { concurrency: 3 }, () => {
  it('reports what sync would change in it, although every digest is right', async t => {
    const scene = await synced(t, 'a', 'b');
    const lock = JSON.parse(await scene.read('manifest.lock.json')) as {
      plugins: { a: Record<string, object> };
    };
    lock.plugins.a = { 1: { ...lock.plugins.a[1], platform: 'linux/amd64' } };
    await scene.write('manifest.lock.json', `${JSON.stringify(lock, null, 2)}\n`);
    const { code, told } = await check(scene);
    assert.deepEqual([code, told], [3, ['unlocked a']]);
    assert.match(
      (await scene.run(['check'])).stdout,
      /unlocked +a 1 +it has the platform none in the tree, linux\/amd64 in the lockfile/,
    );
    assert.equal((await scene.sync()).code, 0);
    assert.deepEqual((await check(scene)).told, []);
  });

  it('ends in 3 on a build machine without a lockfile, as sync does', slow, async t => {
    const scene = await synced(t, 'a');
    await rm(scene.path('manifest.lock.json'));
    assert.equal((await scene.run(['check'])).code, 0);
    const ran = await scene.run(['check'], { env: { CI: 'true' } });
    assert.equal(ran.code, 3);
    assert.match(ran.stderr, /FROZEN_LOCK_MISSING/);
  });
});

describe('check of the tree itself', { concurrency: 2 }, () => {
  it('does not take a tree of a --no-lock run for a damaged one', slow, async t => {
    const scene = await synced(t, 'a', 'b');
    assert.equal((await scene.sync('--no-lock')).code, 0);
    assert.deepEqual((await check(scene)).told, ['stale index.json']);
    assert.equal((await scene.sync()).code, 0);
    assert.deepEqual((await check(scene)).told, []);
  });

  it(
    'sees that index.json or the inventory differs from what sync would write, and one that is missing or broken once',
    slow,
    async t => {
      const scene = await synced(t, 'a', 'b');
      const index = await scene.read('plugins/index.json');
      for (const [file, content, detail] of [
        ['snapshot-inventory.json', '{}', /differs from what sync would write/],
        ['index.json', index.replace('"pinned": true', '"pinned": false'), /differs from what sync would write/],
        ['index.json', undefined, /^is missing$/],
        ['index.json', '{', /^is no catalog that can be read$/],
      ] as const) {
        if (content === undefined) await rm(scene.path('plugins', file));
        else await scene.write(`plugins/${file}`, content);
        const { code, told, findings } = await check(scene);
        assert.deepEqual([code, told], [3, [`damaged ${file}`]]);
        assert.match(findings[0]?.detail ?? '', detail);
        assert.equal((await scene.sync()).code, 0);
      }
    },
  );

  it('finds no difference in a tree that was synced without a lockfile', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.sync('--no-lock');
    assert.deepEqual((await check(scene)).told, []);
  });

  it('reports unknown files, and an extra only once', slow, async t => {
    const scene = await synced(t, 'a', 'extra');
    await scene.list({ a: '1' });
    await scene.write('plugins/a/1/notes.txt', 'mine');
    await scene.write('plugins/a/2/file', 'mine');
    await scene.write('plugins/other/1/plugin.wasm', 'mine');
    await scene.write('plugins/README', 'mine');
    const { code, told } = await check(scene);
    assert.equal(code, 3);
    assert.deepEqual(told, ['extra extra', 'unknown README', 'unknown a/1/notes.txt', 'unknown a/2', 'unknown other']);
    assert.match((await scene.run(['check'])).stdout, /plugin-mirror never touches unknown files/);
  });

  it('reports the damage of an extra', slow, async t => {
    const scene = await synced(t, 'a', 'extra');
    await scene.list({ a: '1' });
    await scene.write('plugins/extra/1/plugin.wasm', 'spoiled');
    const { findings } = await check(scene);
    assert.match(
      findings[0]?.detail ?? '',
      /in the tree and the lockfile, not in the manifest; damaged: plugin\.wasm has 7/,
    );
  });
});

describe('a foreign file in the way', { concurrency: 2 }, () => {
  it('is reported by sync --dry-run and check, as sync refuses it', async t => {
    const scene = await openScene(t);
    const names = ['file', 'fifo', 'link', 'folder', 'module', 'pipe', 'owned', 'good'];
    for (const name of names) scene.push(name, '1');
    await scene.list(
      Object.fromEntries(names.map(name => [name, name === 'good' ? { versions: ['1'], aliases: { x: '1' } } : '1'])),
    );
    await scene.write('plugins/file', 'mine');
    for (const folder of ['fifo', 'link', 'pipe/1', 'good'])
      await mkdir(scene.path('plugins', folder), { recursive: true });
    await exec('mkfifo', [scene.path('plugins/fifo/1'), scene.path('plugins/pipe/1/plugin.wasm')]);
    await symlink('../nowhere', scene.path('plugins/link/1'));
    await scene.write('plugins/folder/1/plugin.wasm/x', 'mine');
    await scene.write('plugins/module/1/plugin.wasm', 'mine');
    await scene.write('plugins/owned/1/README.txt', 'mine');
    await scene.write('plugins/good/x', 'mine');
    await scene.write('plugins/index.json/x', 'mine');
    const foreign = ['file 1', 'fifo 1', 'link 1', 'folder 1', 'module 1', 'pipe 1', 'good x'];
    const dry = await scene.sync('--dry-run', '--format', 'json');
    const plan = parsed<{
      plugins: { name: string; version: string; action: string; error?: { code: string } }[];
      errors?: { code: string }[];
    }>(dry);
    assert.equal(dry.code, 1);
    const failing = plan.plugins.filter(({ action }) => action === 'fail');
    assert.deepEqual(
      failing.map(({ name, version, error }) => `${name} ${version} ${error?.code}`),
      foreign.map(it => `${it} TREE_FOREIGN`),
    );
    assert.deepEqual(
      plan.errors?.map(({ code }) => code),
      ['TREE_FOREIGN'],
      'index.json',
    );
    const { stdout } = await scene.run(['check']);
    for (const path of [
      'file',
      'fifo/1',
      'link/1',
      'folder/1/plugin.wasm',
      'module/1/plugin.wasm',
      'pipe/1/plugin.wasm',
    ])
      assert.match(stdout, new RegExp(`^damaged .*${path} is `, 'm'));
    assert.match(stdout, /^damaged +index\.json +is a folder/m);
    assert.match(stdout, /sync leaves alone what it did not publish: move file, /);
    assert.equal(await scene.read('plugins/module/1/plugin.wasm'), 'mine');
    const { report } = await scene.report();
    assert.deepEqual(
      report.plugins.filter(({ status }) => status === 'failed').map(({ name, version }) => `${name} ${version}`),
      foreign,
    );
    assert.deepEqual(
      report.errors?.map(({ code }) => code),
      ['TREE_FOREIGN'],
    );
  });

  it('is not foreign if its bytes are the locked ones', slow, async t => {
    const scene = await synced(t, 'a');
    for (const file of ['index.json', 'a/1/metadata.json']) await rm(scene.path('plugins', file));
    assert.equal((await scene.sync('--dry-run')).code, 0);
    assert.equal((await scene.sync()).code, 0);
  });
});

const uid = OTHER_USER;

describe('a folder that may not be read', { concurrency: 2, ...asOtherUser }, () => {
  it('is reported by verify and check, and the rest is checked', async t => {
    const scene = await synced(t, 'a', 'b', 'c', 'd');
    await chmod(scene.dir, 0o755);
    if (uid !== undefined) for (const path of ['home', 'tmp']) await chown(scene.path(path), uid, uid);
    await rm(scene.path('home/cache'), { recursive: true, force: true });
    await chmod(scene.path('plugins/a'), 0);
    await chmod(scene.path('plugins/b/1'), 0);
    await rm(scene.path('plugins/c/1/plugin.wasm'));
    const options = uid === undefined ? {} : { uid };
    const verified = await scene.run(['verify'], options);
    assert.equal(verified.code, 1, verified.stderr);
    assert.match(verified.stdout, /^damaged +a may not be read by this user$/m);
    assert.match(verified.stdout, /^damaged +b\/1 may not be read by this user$/m);
    assert.match(verified.stdout, /^missing +c\/1\/plugin\.wasm is missing$/m);
    assert.match(verified.stdout, /✗ 3 findings/);
    const checked = await scene.run(['check'], options);
    assert.equal(checked.code, 3, checked.stderr);
    for (const name of ['a', 'b']) assert.match(checked.stdout, new RegExp(`^damaged +${name} 1 +.*may not read`, 'm'));
    assert.match(checked.stdout, /^damaged +c 1 +plugin\.wasm is missing$/m);
    assert.doesNotMatch(`${verified.stdout}${checked.stdout}`, /write/);
    assert.match(checked.stdout, /✗ 3 differences/);
    await chmod(scene.path('plugins/index.json'), 0);
    const closed = await scene.run(['verify'], options);
    await Promise.all(['a', 'b/1'].map(path => chmod(scene.path('plugins', path), 0o755)));
    assert.equal(closed.code, 1);
    assert.match(closed.stderr, /TREE_UNREADABLE.*index\.json/);
  });
});

describe('a registry whose HEAD has no digest', { concurrency: 2 }, () => {
  it('is neither unreachable nor a difference', slow, async t => {
    const scene = await synced(t, 'a', 'b');
    for (const fault of [headers({ 'docker-content-digest': null }), status(405)]) {
      scene.registry.reset();
      scene.registry.script({ kind: 'manifest', method: 'HEAD', fault });
      const { code, told, findings } = await check(scene);
      assert.deepEqual([code, told], [0, ['untold a', 'untold b']]);
      assert.match(findings[0]?.detail ?? '', /the answer to HEAD has no digest.*sync asks by GET/);
      const text = await scene.run(['check']);
      assert.equal(text.code, 0);
      assert.match(text.stdout, /^untold +a 1, b 1 /m);
      assert.match(
        text.stdout,
        /✓ 2 versions: manifest, lockfile, tree and registry \(except for 2 whose HEAD has no digest\) agree/,
      );
      assert.equal(scene.registry.count({ method: 'GET', kind: 'manifest' }), 0);
    }
  });
});
