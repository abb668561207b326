import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { listing, openScene } from '../support/cli.ts';
import { slow } from '../support/slow.ts';

const exec = promisify(execFile);

describe('bundle and sync --from', { concurrency: 2 }, () => {
  it('carry plugins over an air gap in one file', async t => {
    const scene = await openScene(t);
    for (const name of ['a', 'b']) scene.push(name, '1');
    await scene.list({ a: '1', b: { versions: ['1'], aliases: { x: '1' } } });
    const packed = await scene.run(['bundle', '--out', 'b.tar', '--format', 'json']);
    assert.equal(packed.code, 0, packed.stderr);
    const { images, files, out } = JSON.parse(packed.stdout) as { images: number; files: unknown[]; out: string };
    assert.deepEqual([images, files.length, out], [2, 1, 'b.tar']);
    await scene.registry.close();
    await rm(scene.path('manifest.json'));
    const loaded = await scene.run(['sync', '--format', 'json'], { env: { PLUGIN_MIRROR_FROM: 'b.tar' } });
    assert.equal(loaded.code, 0, loaded.stderr);
    const { totals } = JSON.parse(loaded.stdout) as { totals: Record<string, number> };
    assert.deepEqual([totals.fetched, totals.aliased, totals.requests], [2, 1, 0]);
  });

  it('write and read pipes, folders and parts alike', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    assert.equal((await scene.run(['bundle', '--out', 'folder'])).code, 0);
    await exec('sh', ['-c', '"$@" > piped.tar', 'sh', process.execPath, ...scene.command(['bundle', '--out', '-'])], {
      cwd: scene.dir,
      env: scene.environment(),
    });
    assert.equal((await scene.run(['sync', '--from', 'folder', '--out', 'one'])).code, 0);
    assert.equal((await scene.run(['sync', '--from', 'piped.tar', '--out', 'two'])).code, 0);
    assert.deepEqual(await listing(scene.path('one')), await listing(scene.path('two')));
  });

  it('report wrong options before anything else', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    for (const [args, words] of [
      [['bundle'], /--out/],
      [['bundle', '--out', 'b.tar.gz'], /not compressed/],
      [['bundle', '--out', 'folder', '--split', '2G'], /--split cannot split a folder/],
      [['bundle', '--out', 'b.tar', '--split', '12'], /at least 1M/],
      [['sync', '--from', 'b.tar', '--update'], /--from and --update contradict/],
    ] as const) {
      const { code, stderr } = await scene.run([...args]);
      assert.deepEqual([code, words.test(stderr)], [2, true], `${args.join(' ')}: ${stderr}`);
    }
    const { code, stderr } = await scene.run(['sync', '--from', 'nowhere.tar']);
    assert.equal(code, 1);
    assert.match(stderr, /LAYOUT_UNREADABLE +There is no file nowhere\.tar/);
  });
});
