import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { openScene, openSlowScene, parsed, type SyncJson } from '../support/cli.ts';
import { hang, status } from '../support/faults.ts';
import { slow } from '../support/slow.ts';

describe('--deadline', { concurrency: 3 }, () => {
  it(
    'stops a run like Ctrl-C, ends in 1 and reports what was finished; the next run continues from there',
    slow,
    async t => {
      const { scene, done } = await openSlowScene(t, { sizeBytes: 900_000, afterBytes: 700_000 });
      await scene.list({ slow: '1.0.0', done: '1.0.0' });
      const { ran, report } = await scene.report('--deadline', '15');
      assert.equal(ran.code, 1);
      assert.equal(report.interrupted, true);
      assert.deepEqual(
        report.plugins.map(({ name, status: how }) => `${name} ${how}`),
        ['done fetched'],
      );
      assert.deepEqual(
        report.errors?.map(({ code }) => code),
        ['SYNC_DEADLINE'],
      );
      assert.match(ran.stderr, /SYNC_DEADLINE.*15 s/);
      assert.match(ran.stderr, /1 of 2 finished: done\/1\.0\.0; not finished: slow\/1\.0\.0/);
      assert.ok(done.equals(await readFile(scene.path('plugins/done/1.0.0/plugin.wasm'))));
      assert.deepEqual((await readdir(scene.path('plugins'))).sort(), [
        'done',
        'index.json',
        'snapshot-inventory.json',
      ]);
      scene.registry.script([]);
      scene.registry.reset();
      assert.equal((await scene.sync('--deadline', '60')).code, 0);
      const ranges = scene.registry.requests.filter(({ kind }) => kind === 'blob').map(({ headers }) => headers.range);
      assert.equal(ranges.length, 1);
      assert.match(String(ranges[0]), /^bytes=[1-9]/);
    },
  );

  it('that passes before anything is known is reported, also in JSON', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    scene.registry.script({ kind: 'manifest', fault: hang() });
    const ran = await scene.run(['sync', '--format', 'json'], { env: { PLUGIN_MIRROR_DEADLINE: '1' } });
    assert.equal(ran.code, 1, ran.stderr);
    const { errors, plugins } = parsed<SyncJson>(ran);
    assert.deepEqual([plugins, errors?.[0]?.code], [[], 'SYNC_DEADLINE']);
    assert.match(ran.stderr, /nothing was finished; not finished: a\/1\.0\.0/);
  });

  it(
    'that passes before anything is settled leaves the lock as it is, whatever the manifest has dropped',
    slow,
    async t => {
      const scene = await openScene(t);
      for (const name of ['a', 'b']) scene.push(name, '1.0.0');
      await scene.list({ a: '1.0.0' });
      assert.equal((await scene.sync()).code, 0);
      const lock = await readFile(scene.path('manifest.lock.json'), 'utf8');
      await scene.list({ b: '1.0.0' });
      scene.registry.script({ kind: 'manifest', fault: hang() });
      assert.match((await scene.sync('--deadline', '1')).stderr, /SYNC_DEADLINE/);
      assert.equal(await readFile(scene.path('manifest.lock.json'), 'utf8'), lock);
    },
  );

  it('ends waiting between retries, and is no failure of a run that was quicker', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    scene.registry.script({ kind: 'manifest', fault: status(429, { retryAfter: 50 }) });
    const late = await scene.sync('--deadline', '1.5');
    assert.equal(late.code, 1);
    assert.match(late.stderr, /SYNC_DEADLINE/);
    scene.registry.script([]);
    const ran = await scene.sync('--deadline', '604800');
    assert.equal(ran.code, 0, ran.stderr);
    assert.doesNotMatch(ran.stderr, /DEADLINE/);
    assert.equal((await scene.sync('--deadline', '0')).code, 2);
  });
});
