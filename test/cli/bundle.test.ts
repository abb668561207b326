import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
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

  it('are judged by the lockfile that the receiver names', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    assert.equal((await scene.run(['bundle', '--out', 'b.tar', '--lock', 'mine.lock.json'])).code, 0);
    await scene.registry.close();
    await rm(scene.path('manifest.json'));
    const text = await readFile(scene.path('mine.lock.json'), 'utf8');
    const [digest = ''] = /sha256:[0-9a-f]{64}/.exec(text) ?? [];
    const reviewed = `sha256:${'0'.repeat(64)}`;
    await writeFile(scene.path('other.lock.json'), text.replace(digest, reviewed));
    const other = await scene.run(['sync', '--from', 'b.tar', '--lock', 'other.lock.json']);
    assert.deepEqual(
      [other.code, other.stderr.includes(`does not contain`), other.stderr.includes(reviewed)],
      [1, true, true],
    );
    const named = await scene.run(['sync', '--from', 'b.tar'], { env: { PLUGIN_MIRROR_LOCK: 'absent.lock.json' } });
    assert.equal(named.code, 3);
    assert.match(named.stderr, /FROZEN_LOCK_MISSING[\s\S]*Copy the lockfile from where the bundle was made/);
    assert.equal((await scene.run(['check', '--from', 'b.tar', '--lock', 'other.lock.json'])).code, 3);
    assert.equal((await scene.run(['push', '127.0.0.1:1', '--from', 'b.tar', '--lock', 'absent.lock.json'])).code, 3);
    const temporary = await scene.run(['sync', '--from', 'b.tar'], { env: { TMPDIR: scene.path('absent') } });
    assert.match(temporary.stderr, /LAYOUT_UNREADABLE[\s\S]*temporary folder \S*absent[\s\S]*Set TMPDIR/);
    const none = await scene.run(['sync', '--from', 'b.tar', '--only', 'none']);
    assert.match(none.stderr, /matches no plugin of manifest\.json in b\.tar/);
    await scene.write('more.lock.json', text.replace(/"a": \{/, '"b": {'));
    const more = await scene.run(['sync', '--from', 'b.tar', '--lock', 'more.lock.json']);
    assert.match(more.stderr, /more\.lock\.json does not agree[\s\S]*Make the bundle again where the registry/);
    assert.equal((await scene.run(['sync', '--from', 'b.tar', '--lock', 'mine.lock.json'])).code, 0);
    assert.equal((await scene.run(['check', '--from', 'b.tar', '--lock', 'other.lock.json'])).code, 3);
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

  it('is verified, listed, compared and checked against without a network', slow, async t => {
    const scene = await openScene(t);
    for (const name of ['a', 'b']) scene.push(name, '1');
    await scene.list({ a: '1', b: { versions: ['1'], aliases: { x: '1' } } });
    assert.equal((await scene.run(['bundle', '--out', 'b.tar'])).code, 0);
    assert.equal((await scene.run(['bundle', '--only', 'a', '--out', 'part.tar'])).code, 0);
    await scene.list({ a: '1' });
    assert.equal((await scene.run(['bundle', '--out', 'old.tar', '--lock', 'other.lock.json'])).code, 0);
    await scene.registry.close();
    await rm(scene.path('manifest.json'));
    const intact = await scene.run(['verify', 'b.tar', '--lock', 'manifest.lock.json']);
    assert.deepEqual([intact.code, /^✓ intact: 2 versions/.test(intact.stdout)], [0, true], intact.stdout);
    const differing = await scene.run(['verify', 'b.tar', '--lock', 'other.lock.json', '--format', 'json']);
    assert.equal(differing.code, 3, differing.stderr);
    assert.deepEqual((JSON.parse(differing.stdout) as { disagreements: string[] }).disagreements, [
      'b 1 is not in other.lock.json',
    ]);
    assert.match((await scene.run(['verify', 'b.tar', '--tree', 'plugins'])).stderr, /OPTION_CONFLICT/);
    assert.match((await scene.run(['list', '--bundle', 'b.tar'])).stdout, /^b +1 +x .*\n2 plugins, 2 versions/m);
    const url = 'http://s.ns.svc/plugins/b/x/plugin.wasm';
    assert.equal((await scene.run(['coverage', '--bundle', 'b.tar', '--url', url])).code, 0);
    assert.equal((await scene.run(['coverage', '--bundle', 'old.tar', '--url', url])).code, 3);
    const diff = await scene.run(['bundle', 'diff', 'old.tar', 'b.tar', '--exit-code', '--format', 'json']);
    assert.equal(diff.code, 3, diff.stderr);
    const { added } = JSON.parse(diff.stdout) as { added: { name: string; version: string }[] };
    assert.deepEqual(
      added.map(it => `${it.name} ${it.version}`),
      ['b 1', 'b x'],
    );
    const before = await scene.run(['check', '--from', 'b.tar']);
    assert.equal(before.code, 3);
    assert.match(before.stdout, /missing +b 1 .*\n(?:.*\n)*.*plugin-mirror sync --from b\.tar brings/);
    assert.equal((await scene.sync('--from', 'b.tar')).code, 0);
    assert.match(
      (await scene.run(['verify', 'plugins'])).stderr,
      /is a tree, not a bundle[\s\S]*verify --tree plugins/,
    );
    const part = await scene.run(['check', '--from', 'part.tar']);
    assert.equal(part.code, 0, `a bundle of some of the plugins in the tree: ${part.stdout}`);
    const { code, stdout } = await scene.run(['check', '--from', 'b.tar']);
    assert.deepEqual([code, /manifest, lockfile, tree and bundle agree/.test(stdout)], [0, true], stdout);
  });

  it('brings the program along, and the commands of other tools', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    const packed = await scene.run(['bundle', '--out', 'b.tar', '--with-program', '--print-commands']);
    assert.equal(packed.code, 0, packed.stderr);
    assert.match(packed.stdout, /^docker load --input b\.tar$/m);
    await exec('sha256sum', ['-c', 'b.tar.sha256'], { cwd: scene.dir });
    const [, archive = ''] =
      /^[0-9a-f]{64} {2}(plugin-mirror-.+\.tar\.gz)$/m.exec(await scene.read('b.tar.sha256')) ?? [];
    await exec('tar', ['-xzf', archive], { cwd: scene.dir });
    const program = [scene.path('plugin-mirror/dist/cli/main.js'), 'sync', '--from', 'b.tar'];
    await exec(process.execPath, program, { cwd: scene.dir, env: scene.environment() });
    assert.ok((await scene.read('plugins/index.json')).includes('"a"'));
    const printed = await scene.run(['bundle', 'commands', 'b.tar']);
    assert.equal(packed.stdout, printed.stdout);
    assert.match(packed.stderr, /b\.tar/);
    await scene.write('manifest.json', JSON.stringify({ registry: scene.registry.host, plugins: { gone: '1' } }));
    await rm(scene.path('manifest.lock.json'));
    await rm(scene.path(archive));
    assert.equal((await scene.run(['bundle', '--out', 'c.tar', '--with-program'])).code, 1);
    assert.ok(!Object.keys(await listing(scene.dir)).some(name => /^(?:c\.tar|plugin-mirror-)/.test(name)));
  });

  it('name the way out where files may not be so large, as on FAT', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    const limited = [
      '-c',
      'ulimit -f 8 && "$@"',
      'sh',
      process.execPath,
      ...scene.command(['bundle', '--out', 'b.tar']),
    ];
    const failed = exec('sh', limited, { cwd: scene.dir, env: scene.environment() });
    await assert.rejects(
      failed,
      /LAYOUT_NOT_WRITABLE[\s\S]*a file larger than [\s\S]*at most 4 GiB: write parts with --split/,
    );
    assert.ok(!Object.keys(await listing(scene.dir)).some(name => name.startsWith('b.tar')));
  });

  it('report wrong options before anything else', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    for (const [args, words] of [
      [['bundle'], /--out/],
      [['bundle', '--out', '-', '--with-program'], /--out - and --with-program contradict/],
      [['bundle', '--out', 'b.tar.gz'], /not compressed/],
      [['bundle', '--out', 'folder', '--split', '2G'], /--split cannot split a folder/],
      [['bundle', '--out', 'b.tar', '--split', '12'], /at least 1M/],
      [['sync', '--from', 'b.tar', '--update'], /--from and --update contradict/],
    ] as const) {
      const { code, stderr } = await scene.run([...args]);
      assert.deepEqual([code, words.test(stderr)], [2, true], `${args.join(' ')}: ${stderr}`);
    }
    assert.equal((await scene.run(['bundle', '--out', 'B.TAR'])).code, 0);
    assert.ok((await stat(scene.path('B.TAR'))).isFile(), 'a name of Windows is that of a file, too');
    const { code, stderr } = await scene.run(['sync', '--from', 'nowhere.tar']);
    assert.equal(code, 1);
    assert.match(stderr, /LAYOUT_UNREADABLE +There is no file nowhere\.tar/);
  });
});
