import assert from 'node:assert/strict';
import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { openScene, type Scene, sha256 } from '../support/cli.ts';
import { imageFormA, imageFormC, imageFormD, indexOf } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';

const statuses = ({ plugins }: { plugins: readonly { name: string; status: string }[] }) =>
  Object.fromEntries(plugins.map(({ name, status }) => [name, status]));

const moduleOf = (scene: Scene, name: string) => readFile(scene.path('plugins', name, '1.0.0/plugin.wasm'));

describe('the traffic of sync', { concurrency: 4 }, () => {
  it('has each needed blob once, however many plugins share it, and none of the other images of an index', async t => {
    const scene = await openScene(t);
    const wasm = buildModule({ seed: 'shared', sizeBytes: 200_000 });
    for (const name of ['a', 'b', 'c', 'd']) scene.push(name, '1.0.0', imageFormC({ wasm, revision: name }));
    const arm = imageFormD({ wasm: buildModule({ seed: 'arm', sizeBytes: 90_000 }) });
    const members = [
      { platform: 'linux/amd64', image: imageFormD({ wasm }) },
      { platform: 'linux/arm64', image: arm },
    ];
    scene.push('e', '1.0.0', indexOf(members, { attestations: true }));
    await scene.list(Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map(name => [name, '1.0.0'])));
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 0, ran.stderr);
    const asked = scene.registry.requests
      .filter(({ kind }) => kind === 'blob')
      .map(({ path }) => path.split('/').at(-1));
    assert.equal(new Set(asked).size, asked.length, 'a blob was asked for twice');
    assert.equal(asked.filter(digest => digest === `sha256:${sha256(wasm)}`).length, 1);
    for (const digest of arm.blobs.keys()) assert.ok(!asked.includes(digest), 'arm64 travelled');
    assert.equal(report.totals.bytesDownloaded, scene.registry.bytesServed('blob'));
    assert.equal(report.totals.requests, scene.registry.count());
  });

  it('has at most one HEAD for an unchanged version, and none for a pinned one', async t => {
    const scene = await openScene(t);
    for (const name of ['a', 'b']) scene.push(name, '1.0.0');
    const pinned = scene.registry.push('plugins/p', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'p' }) }));
    await scene.list({ a: '1.0.0', b: '1.0.0', p: `1.0.0@${pinned}` });
    await scene.sync();
    for (const extra of [[], ['--no-lock'], ['--rehash']]) {
      scene.registry.reset();
      const { report } = await scene.report(...extra);
      assert.deepEqual(statuses(report), { a: 'kept', b: 'kept', p: 'kept' });
      assert.deepEqual(scene.registry.requests.map(({ method, path }) => `${method} ${path}`).sort(), [
        'HEAD /v2/plugins/a/manifests/1.0.0',
        'HEAD /v2/plugins/b/manifests/1.0.0',
      ]);
      assert.deepEqual([report.totals.bytesDownloaded, report.totals.requests], [0, 2]);
    }
  });

  it('has only the blob of a damaged file, and not even that if the cache has it', slow, async t => {
    const scene = await openScene(t);
    const pushed = scene.push('a', '1.0.0');
    scene.push('b', '1.0.0');
    await scene.list({ a: '1.0.0', b: '1.0.0' });
    await scene.sync();
    const file = scene.path('plugins/a/1.0.0/plugin.wasm');
    const flipped = Buffer.from(pushed).fill(0xff, 60, 61);
    const harms: (() => Promise<void>)[] = [
      () => writeFile(file, flipped),
      () => appendFile(file, 'x'),
      () => rm(file),
      () => writeFile(scene.path('plugins/a/1.0.0/metadata.json'), '{"schemaVersion":1'),
      () => writeFile(scene.path('plugins/a/1.0.0/plugin.wasm.sha256'), 'nonsense'),
      () => rm(scene.path('plugins/a/1.0.0/metadata.txt')),
    ];
    for (const [index, harm] of harms.entries()) {
      await harm();
      scene.registry.reset();
      // The first time with nothing in the cache: the blob travels again.
      if (index === 0) await rm(scene.path('home/cache/plugin-mirror/blobs'), { recursive: true });
      const { report } = await scene.report();
      assert.deepEqual(statuses(report), { a: 'fetched', b: 'kept' }, `harm ${index}`);
      assert.ok(pushed.equals(await readFile(file)), `harm ${index}`);
      assert.equal(scene.registry.count({ kind: 'blob', path: '/plugins/b/' }), 0);
      assert.equal(scene.registry.count({ kind: 'blob', path: `sha256:${sha256(pushed)}` }), index === 0 ? 1 : 0);
    }
    assert.equal((await scene.run(['verify'])).code, 0);
  });

  it('repeats with --cache-size 0, and nothing is kept', slow, async t => {
    const scene = await openScene(t);
    const pushed = scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    await scene.sync('--cache-size', '0');
    await rm(scene.path('plugins'), { recursive: true });
    await scene.sync('--cache-size', '0');
    assert.equal(scene.registry.count({ kind: 'blob', path: sha256(pushed) }), 2);
    assert.match((await scene.run(['cache', 'ls'])).stdout, /^0 entries/m);
  });

  it('has the new image if a tag has moved and there is no lock; the new bytes replace the old', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0', imageFormA({ wasm: buildModule({ seed: 'old' }), readme: '# old', spec: 'a: 1\n' }));
    await scene.list({ a: '1.0.0' });
    await scene.sync('--no-lock');
    const fresh = scene.push('a', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'new' }) }));
    const { report } = await scene.report('--no-lock');
    assert.deepEqual(statuses(report), { a: 'fetched' });
    assert.equal(report.drift.length, 1);
    assert.ok(fresh.equals(await moduleOf(scene, 'a')));
    await assert.rejects(scene.read('plugins/a/1.0.0/README.md'), 'the old image’s README is gone');
    await assert.rejects(scene.read('manifest.lock.json'));
    assert.equal((await scene.run(['verify'])).code, 0);
  });
});
