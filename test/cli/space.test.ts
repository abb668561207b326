import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { openScene, type Scene } from '../support/cli.ts';
import { imageFormA, imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';

const run = promisify(execFile);

/** A scene whose tree lies on a small file system of its own; undefined, and the test skipped, where none can be mounted. */
async function smallScene(t: TestContext, options: string): Promise<Scene | undefined> {
  const mounted: string[] = [];
  // Before the scene's own: hooks run in the order of their making.
  t.after(async () => {
    for (const dir of mounted) await run('umount', [dir]).catch(() => undefined);
  });
  const scene = await openScene(t);
  const tree = scene.path('plugins');
  await mkdir(tree);
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `${options},mode=755`, 'tmpfs', tree]);
  } catch (error) {
    if (process.env.PLUGIN_MIRROR_TEST_PEERS === '1') throw error;
    t.skip('mount(8) is not allowed here');
    return undefined;
  }
  mounted.push(tree);
  return scene;
}

describe('a disk that is too small', () => {
  it('is reported during a layer of unknown size, with the least amount that is missing', async t => {
    const scene = await smallScene(t, 'size=600k');
    if (scene === undefined) return;
    scene.push('small', '1');
    const big = buildModule({ seed: 'big', sizeBytes: 1_200_000 });
    scene.push('big', '1', imageFormA({ wasm: big }));
    await scene.list({ small: '1', big: '1' });
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1);
    const error = report.plugins.find(({ name }) => name === 'big')?.error;
    assert.equal(error?.code, 'TREE_DISK_FULL', ran.stderr);
    assert.match(
      error?.message ?? '',
      /not enough space for .*plugins: at least [\d.]+ (?:bytes|MiB) needed, [\d.]+ (?:bytes|MiB) free/,
    );
    assert.match(ran.stderr, /too little|known only after unpacking/);
    assert.deepEqual((await readdir(scene.path('plugins'))).sort(), ['index.json', 'small', 'snapshot-inventory.json']);
    assert.equal((await scene.run(['verify'])).code, 0);
  });

  it('gets one plugin after the other if it is too small for all of them concurrently', async t => {
    const scene = await smallScene(t, 'size=2m');
    if (scene === undefined) return;
    const names = ['a', 'b', 'c'];
    for (const name of names)
      scene.push(name, '1', imageFormA({ wasm: buildModule({ seed: name, sizeBytes: 1_200_000 }) }));
    await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1);
    assert.deepEqual([report.totals.fetched, report.totals.failed], [1, 2], ran.stderr);
    for (const { error } of report.plugins.filter(({ status }) => status === 'failed')) {
      const [, needed, free] =
        /at least ([\d.]+) (?:bytes|MiB) needed, ([\d.]+) (?:bytes|MiB) free/.exec(error?.message ?? '') ?? [];
      assert.ok(Number(needed) >= Number(free), error?.message);
    }
    assert.equal((await scene.run(['verify'])).code, 0);
  });

  it('during compression leaves the published plugin unchanged', async t => {
    const scene = await smallScene(t, 'size=690k');
    if (scene === undefined) return;
    scene.push('a', '1', imageFormC({ wasm: buildModule({ seed: 'a', sizeBytes: 300_000 }) }));
    await scene.list({ a: '1' });
    const { ran, report } = await scene.report('--compress', 'gzip');
    assert.equal(ran.code, 1);
    assert.equal(report.plugins[0]?.error?.code, 'TREE_DISK_FULL', ran.stderr);
    assert.match(report.plugins[0]?.error?.message ?? '', /at least [\d.]+ bytes needed/);
    assert.equal((await scene.run(['verify'])).code, 0);
  });

  it('without inodes is reported as such, whatever bytes are free', async t => {
    const scene = await smallScene(t, 'size=20m,nr_inodes=16');
    if (scene === undefined) return;
    scene.push('a', '1', imageFormC({ wasm: buildModule({ seed: 'a' }) }));
    await scene.list({ a: '1' });
    for (let count = 0; count < 12; count += 1)
      await writeFile(scene.path(`plugins/ballast-${count}`), '').catch(() => undefined);
    const { ran } = await scene.report();
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, /TREE_DISK_FULL/);
    assert.match(ran.stderr, /no room for another file: its inodes are used up/);
    assert.match(ran.stderr, /0 of 16 inodes free, and 20\.0 MiB free/);
  });
});
