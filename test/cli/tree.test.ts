import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { listing, openScene, sha256 } from '../support/cli.ts';
import { delay } from '../support/faults.ts';
import { imageFormA, imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';

const exec = promisify(execFile);

describe('the tree', { concurrency: 3 }, () => {
  it(
    'does not lose in silence what --only leaves out: damaged or gone, it is told, and fetched anew when asked for',
    slow,
    async t => {
      const scene = await openScene(t);
      for (const name of ['a', 'b', 'c']) scene.push(name, '1');
      await scene.list({ a: '1', b: { versions: ['1'], aliases: { x: '1' } }, c: '1' });
      assert.equal((await scene.sync()).code, 0);
      await writeFile(scene.path('plugins/b/1/plugin.wasm'), 'spoiled');
      await rm(scene.path('plugins/c'), { recursive: true });
      const dry = await scene.sync('--dry-run', '--only', 'a');
      assert.equal(dry.code, 1);
      assert.match(dry.stderr, /UNSELECTED_DAMAGED/);
      const { ran, report } = await scene.report('--only', 'a');
      assert.equal(ran.code, 1);
      assert.deepEqual([report.totals.kept, report.totals.failed], [1, 0]);
      assert.match(ran.stderr, /UNSELECTED_DAMAGED +2 versions .*b 1: plugin\.wasm has .*c 1: it is gone.*--only b c/s);
      const listed = async () =>
        (
          await scene.json<{ plugins: { name: string; versions: { version: string }[] }[] }>('plugins/index.json')
        ).plugins
          .flatMap(({ name, versions }) => versions.map(({ version }) => `${name}/${version}`))
          .sort();
      assert.deepEqual(await listed(), ['a/1', 'b/x']);
      assert.equal((await scene.sync('--only', 'b', 'c')).code, 0);
      assert.deepEqual(await listed(), ['a/1', 'b/1', 'b/x', 'c/1']);
      assert.equal((await scene.sync('--only', 'a')).code, 0);
    },
  );

  it('is the same for diff -r and tar, whatever the run met', slow, async t => {
    const scene = await openScene(t);
    for (const name of ['a', 'b', 'c', 'd']) {
      const wasm = buildModule({ seed: name, sizeBytes: 50_000 });
      scene.push(name, '1.0.0', imageFormA({ wasm, readme: `# ${name}`, created: '2026-01-15T08:00:00Z' }));
      scene.push(name, '2.0.0', imageFormC({ wasm: buildModule({ seed: `${name}2` }) }));
    }
    await scene.write('own.wasm', buildModule({ seed: 'own' }));
    const plugins = {
      a: ['1.0.0', '2.0.0'],
      b: { versions: ['2.0.0', '1.0.0'], aliases: { z: '1.0.0' } },
      c: '1.0.0',
      d: '2.0.0',
      own: { file: 'own.wasm', versions: ['1'] },
    };
    await scene.list(plugins);
    scene.registry.script({ kind: 'blob', path: /plugins\/[ac]/, fault: delay(120) });
    assert.equal((await scene.sync('--out', 'one', '--concurrency', '16')).code, 0);
    await scene.list(Object.fromEntries(Object.entries(plugins).reverse()));
    scene.registry.script({ kind: 'blob', path: /plugins\/[bd]/, fault: delay(120) });
    // Part of it now, part of it later, with another umask and time zone, and a version in between that goes again.
    const other = { TZ: 'Asia/Shanghai', LC_ALL: 'C.UTF-8', XDG_CACHE_HOME: scene.path('cold') };
    assert.equal(
      (await scene.run(['sync', '--out', 'two', '--only', 'c', 'own', '--concurrency', '1'], { env: other })).code,
      0,
    );
    const args = scene.command(['sync', '--out', 'two', '--concurrency', '1']);
    await exec('sh', ['-c', 'umask 077; exec "$@"', 'sh', process.execPath, ...args], {
      cwd: scene.dir,
      env: scene.environment(other),
    });
    assert.deepEqual(await listing(scene.path('two')), await listing(scene.path('one')));
    await exec('diff', ['-r', 'one', 'two'], { cwd: scene.dir });
    const tar = async (dir: string) => {
      const options = { cwd: scene.path(dir), encoding: 'buffer', maxBuffer: 1e8 } as const;
      return sha256((await exec('tar', ['--sort=name', '-cf', '-', '.'], options)).stdout);
    };
    assert.equal(await tar('two'), await tar('one'));
    const before = await listing(scene.path('one'));
    assert.equal((await scene.sync('--out', 'one', '--rehash')).code, 0);
    assert.deepEqual(await listing(scene.path('one')), before, 'a second run changes nothing, mtimes included');
  });

  it('publishes aliases, moves them with the manifest, and never from a failed target', slow, async t => {
    const scene = await openScene(t);
    const [one, two] = [scene.push('a', '1.0.0'), scene.push('a', '2.0.0')];
    const list = (target: string) =>
      scene.list({ a: { versions: ['1.0.0', '2.0.0'], aliases: { stable: target, old: 'stable' } } });
    const of = (version: string) => readFile(scene.path('plugins/a', version, 'plugin.wasm'));
    await list('1.0.0');
    assert.equal((await scene.sync()).code, 0);
    assert.ok(one.equals(await of('stable')) && one.equals(await of('old')));
    assert.equal((await scene.json<{ aliasOf: string }>('plugins/a/old/metadata.json')).aliasOf, '1.0.0');
    await list('2.0.0');
    scene.registry.reset();
    assert.equal((await scene.sync()).code, 0);
    assert.ok(two.equals(await of('stable')) && two.equals(await of('old')));
    assert.equal(scene.registry.count('blob'), 0);
    await writeFile(scene.path('plugins/a/old/plugin.wasm'), 'damaged');
    assert.equal((await scene.sync('--frozen')).code, 0);
    assert.ok(two.equals(await of('old')), 'a damaged alias is made anew');
    await scene.list({ a: { versions: ['1.0.0', '3.0.0'], aliases: { stable: '3.0.0' } } });
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1);
    assert.equal(report.plugins.find(it => it.version === 'stable')?.error?.code, 'ALIAS_TARGET_FAILED');
    assert.ok(two.equals(await of('stable')), 'what stood there is served on');
    // A version becomes an alias, and an alias a version.
    await scene.list({ a: { versions: ['2.0.0'], aliases: { '1.0.0': '2.0.0' } } });
    assert.equal((await scene.sync()).code, 0);
    assert.ok(two.equals(await of('1.0.0')));
    await scene.list({ a: ['1.0.0', '2.0.0'] });
    assert.equal((await scene.sync()).code, 0);
    assert.ok(one.equals(await of('1.0.0')));
    assert.equal((await scene.run(['verify'])).code, 0);
  });

  it('follows changes of local files, and reports their mistakes', slow, async t => {
    const scene = await openScene(t);
    const [first, second] = ['first', 'second'].map(seed => buildModule({ seed }));
    await scene.write('local/own.wasm', first ?? '');
    const missing = { gone: { file: 'gone.wasm', versions: ['1'] }, dir: { file: 'local', versions: ['1'] } };
    await scene.list(missing);
    const wrong = await scene.sync();
    assert.equal(wrong.code, 2);
    for (const place of ['plugins.gone.file', 'plugins.dir.file'])
      assert.ok(wrong.stderr.includes(place), wrong.stderr);
    await scene.write('no.wasm', '<html>');
    await scene.list({ no: { file: 'no.wasm', versions: ['1'] }, own: { file: 'local/own.wasm', versions: ['1'] } });
    const { report } = await scene.report();
    assert.deepEqual(
      report.plugins.map(({ name, status }) => [name, status]),
      [
        ['no', 'failed'],
        ['own', 'fetched'],
      ],
    );
    await scene.list({ own: { file: 'local/own.wasm', versions: ['1'] } });
    assert.match((await scene.sync()).stdout, /1 kept/);
    await scene.write('local/own.wasm', second ?? '');
    const frozen = await scene.sync('--frozen');
    assert.equal(frozen.code, 3);
    assert.match(frozen.stderr, /own\/1.*local\/own\.wasm/);
    assert.match((await scene.sync()).stdout, /1 fetched/);
    assert.ok(second?.equals(await readFile(scene.path('plugins/own/1/plugin.wasm'))));
    await rm(scene.path('local/own.wasm'));
    assert.equal((await scene.sync('--frozen')).code, 2);
  });

  it('is pruned of versions that the manifest no longer names, and of nothing else', async t => {
    const scene = await openScene(t);
    for (const version of ['1', '2', '3']) scene.push('a', version);
    scene.push('b', '1');
    await scene.list({ a: ['1', '2', '3'], b: '1' });
    await scene.sync();
    await scene.write('plugins/b/1/notes.txt', 'mine');
    await scene.write('plugins/foreign/file', 'mine');
    await scene.list({ a: { versions: ['3'], aliases: { old: '3' } } });
    const mention = await scene.sync();
    assert.match(mention.stdout, /a\/1, a\/2, b\/1 .*--prune/);
    const { ran, report } = await scene.report('--prune');
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(ran.stderr.indexOf('pruning a/1, a/2, b/1') >= 0);
    assert.ok(report.extras.every(extra => extra.removed) && report.extras.length === 3);
    const files = Object.keys(await listing(scene.path('plugins')));
    assert.deepEqual(
      files
        .filter(it => it.endsWith('.wasm') || it.endsWith('.txt') || it.endsWith('/file'))
        .filter(it => !it.endsWith('metadata.txt')),
      ['a/3/plugin.wasm', 'a/old/plugin.wasm', 'b/1/notes.txt', 'foreign/file'],
    );
    assert.equal((await scene.run(['verify'])).code, 3, 'what is foreign is unknown');
  });

  it('refuses a plugin with a foreign file in its way, and publishes the others', async t => {
    const scene = await openScene(t);
    const names = ['link', 'file', 'folder', 'inner', 'good'];
    for (const name of names) scene.push(name, '1');
    await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
    await scene.write('elsewhere/1/keep', 'mine');
    await mkdir(scene.path('plugins'));
    await symlink('../elsewhere', scene.path('plugins/link'));
    await scene.write('plugins/file', 'mine');
    await scene.write('plugins/folder/1/plugin.wasm/x', 'mine');
    await mkdir(scene.path('plugins/inner'));
    await symlink('../../elsewhere/1', scene.path('plugins/inner/1'));
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1);
    for (const { name, status, error } of report.plugins) {
      assert.equal(status, name === 'good' ? 'fetched' : 'failed', name);
      assert.equal(error?.code, name === 'good' ? undefined : 'TREE_FOREIGN', name);
    }
    assert.deepEqual(Object.keys(await listing(scene.path('elsewhere'))), ['/', '1/', '1/keep']);
    assert.equal(await scene.read('plugins/file'), 'mine');
    assert.equal(await scene.read('plugins/folder/1/plugin.wasm/x'), 'mine');
  });

  it('may be moved or copied: it stays intact', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.sync();
    await cp(scene.path('plugins'), scene.path('copy'), { recursive: true });
    await rename(scene.path('plugins'), scene.path('moved'));
    for (const tree of ['copy', 'moved']) {
      assert.equal((await scene.run(['verify', '--tree', tree])).code, 0);
      assert.match((await scene.sync('--out', tree, '--frozen')).stdout, /1 kept .* 0 requests/);
    }
  });
});
