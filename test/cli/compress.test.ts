import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import zlib from 'node:zlib';
import type { Catalog } from '../../tree/catalog.ts';
import { openScene, type Scene } from '../support/cli.ts';
import { slow } from '../support/slow.ts';

async function twoVersions(scene: Scene): Promise<Buffer> {
  const wasm = scene.push('ai-proxy', '2.0.0');
  await scene.list({ 'ai-proxy': { versions: ['2.0.0'], aliases: { '1.0.0': '2.0.0' } } });
  return wasm;
}

const module = (scene: Scene, suffix = '', version = '2.0.0', tree = 'plugins') =>
  scene.path(tree, 'ai-proxy', version, `plugin.wasm${suffix}`);

async function filesOf(scene: Scene, version: string): Promise<string[]> {
  const catalog = await scene.json<Catalog>('plugins/index.json');
  return catalog.plugins
    .flatMap(it => it.versions.filter(one => one.version === version).flatMap(one => one.files))
    .map(it => it.name);
}

describe('sync --compress', { concurrency: 4 }, () => {
  it('publishes compressed forms of the module, of aliases too, as files of the version', async t => {
    const scene = await openScene(t);
    const wasm = await twoVersions(scene);
    const ran = await scene.sync('--compress', 'br, gzip');
    assert.equal(ran.code, 0, ran.stderr);
    for (const version of ['2.0.0', '1.0.0']) {
      assert.ok(zlib.gunzipSync(await readFile(module(scene, '.gz', version))).equals(wasm));
      assert.ok(zlib.brotliDecompressSync(await readFile(module(scene, '.br', version))).equals(wasm));
      const listed = (await filesOf(scene, version)).filter(name => name.startsWith('plugin.wasm.'));
      assert.deepEqual(listed, ['plugin.wasm.br', 'plugin.wasm.gz', 'plugin.wasm.sha256']);
    }
    const verified = await scene.run(['verify', '--tree', 'plugins']);
    assert.equal(verified.code, 0, verified.stderr);
  });

  it('makes the same tree each time, without time or system in it', slow, async t => {
    const scene = await openScene(t);
    await twoVersions(scene);
    assert.equal((await scene.sync('--compress', 'gzip,br', '--out', 'one')).code, 0);
    assert.equal((await scene.sync('--out', 'two')).code, 0);
    assert.equal((await scene.sync('--compress', 'br,gzip', '--out', 'two')).code, 0);
    execFileSync('diff', ['-r', scene.path('one'), scene.path('two')]);
    for (const suffix of ['', '.gz', '.br'])
      assert.equal(
        statSync(module(scene, suffix, '2.0.0', 'one')).mtimeMs,
        statSync(module(scene, suffix, '2.0.0', 'two')).mtimeMs,
      );
    const head = (await readFile(module(scene, '.gz', '2.0.0', 'one'))).subarray(0, 10);
    assert.deepEqual([...head.subarray(4, 8), head[9]], [0, 0, 0, 0, 255]);
  });

  it('completes, keeps and removes without a download', slow, async t => {
    const scene = await openScene(t);
    await twoVersions(scene);
    const env = { PLUGIN_MIRROR_CACHE_SIZE: '0' };
    const report = async (...args: string[]) => {
      const ran = await scene.run(['sync', '--format', 'json', ...args], { env });
      assert.equal(ran.code, 0, ran.stderr);
      return JSON.parse(ran.stdout) as { totals: { bytesDownloaded: number; kept: number; aliased: number } };
    };
    await report();
    assert.ok(!existsSync(module(scene, '.gz')));
    const completed = await report('--compress', 'gzip');
    assert.deepEqual([completed.totals.bytesDownloaded, completed.totals.kept, completed.totals.aliased], [0, 1, 1]);
    const inodes = ['', '.gz'].map(suffix => statSync(module(scene, suffix)).ino);
    assert.equal((await report('--compress', 'gzip')).totals.bytesDownloaded, 0);
    assert.deepEqual(
      ['', '.gz'].map(suffix => statSync(module(scene, suffix)).ino),
      inodes,
      'written anew for nothing',
    );
    await report('--compress', 'br');
    assert.deepEqual([existsSync(module(scene, '.gz')), existsSync(module(scene, '.br', '1.0.0'))], [false, true]);
    await report('--compress', 'off');
    for (const version of ['2.0.0', '1.0.0']) assert.ok(!existsSync(module(scene, '.br', version)));
    assert.ok(!(await filesOf(scene, '2.0.0')).includes('plugin.wasm.br'));
  });

  it('replaces a damaged compressed form', slow, async t => {
    const scene = await openScene(t);
    const wasm = await twoVersions(scene);
    assert.equal((await scene.sync('--compress', 'gzip')).code, 0);
    await writeFile(module(scene, '.gz'), 'no gzip');
    assert.equal((await scene.sync('--compress', 'gzip')).code, 0);
    assert.ok(zlib.gunzipSync(await readFile(module(scene, '.gz'))).equals(wasm));
  });

  it('accepts known codings, also from its variable, and zstd if Node.js has it', async t => {
    const scene = await openScene(t);
    const wasm = await twoVersions(scene);
    for (const wrong of ['deflate', 'gzip,', 'gzip;br', 'GZIP']) {
      const ran = await scene.sync('--compress', wrong);
      assert.equal(ran.code, 2, wrong);
    }
    assert.ok(!existsSync(scene.path('plugins')));
    const zstd = await scene.run(['sync'], { env: { PLUGIN_MIRROR_COMPRESS: 'gzip,zstd' } });
    if ('zstdDecompressSync' in zlib && typeof zlib.zstdDecompressSync === 'function') {
      assert.equal(zstd.code, 0, zstd.stderr);
      assert.ok(Buffer.from(zlib.zstdDecompressSync(await readFile(module(scene, '.zst')))).equals(wasm));
    } else {
      assert.equal(zstd.code, 2);
      assert.match(zstd.stderr, /zstd needs Node\.js 22\.15/);
    }
  });
});
