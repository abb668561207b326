import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorJson, listing, openScene, parsed, printed, type Scene } from '../support/cli.ts';
import { corrupt, finish, hang, heldBack, reset, status, wrongDigest } from '../support/faults.ts';
import { imageFormA, imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { asOtherUser, OTHER_USER } from '../support/otherUser.ts';
import { slow } from '../support/slow.ts';

describe('a run of which a part fails', { concurrency: 3 }, () => {
  it('publishes the other plugins, keeps the former version of the failed one, and ends in 1', async t => {
    const scene = await openScene(t);
    const old = scene.push('a', '1');
    scene.push('b', '1');
    await scene.list({ a: '1', b: '1' });
    await scene.sync('--no-lock');
    const fresh = buildModule({ seed: 'fresh', sizeBytes: 30_000 });
    scene.push('a', '1', imageFormC({ wasm: fresh }));
    const newer = scene.push('b', '1', imageFormC({ wasm: buildModule({ seed: 'newer' }) }));
    scene.registry.script({ kind: 'blob', path: /plugins\/a/, fault: corrupt() });
    const { ran, report } = await scene.report('--no-lock', '--retries', '1');
    assert.equal(ran.code, 1);
    assert.deepEqual(
      report.plugins.map(it => [it.name, it.status, it.error?.code]),
      [
        ['a', 'failed', 'REGISTRY_DIGEST_MISMATCH'],
        ['b', 'fetched', undefined],
      ],
    );
    assert.ok(old.equals(await readFile(scene.path('plugins/a/1/plugin.wasm'))));
    assert.ok(newer.equals(await readFile(scene.path('plugins/b/1/plugin.wasm'))));
    assert.equal((await scene.run(['verify'])).code, 0);
    const index = JSON.stringify(await scene.json('plugins/index.json'));
    assert.match(index, /"name":"a"/, 'the former version stays in the catalog');
    scene.registry.script([]);
    assert.equal((await scene.sync('--no-lock')).code, 0);
    assert.ok(fresh.equals(await readFile(scene.path('plugins/a/1/plugin.wasm'))));
  });

  it('changes nothing if the registry is gone; with a lock, intact versions are kept with a warning', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.sync();
    const before = await listing(scene.path('plugins'));
    await scene.registry.down();
    const locked = await scene.report('--retries', '0');
    assert.equal(locked.ran.code, 0);
    assert.match(String(locked.report.plugins[0]?.warnings), /not known/);
    const unlocked = await scene.report('--retries', '0', '--no-lock');
    assert.equal(unlocked.ran.code, 1);
    assert.match(String(unlocked.report.plugins[0]?.error?.code), /REGISTRY_REFUSED/);
    const after = await listing(scene.path('plugins'));
    // Without a lock nothing is pinned, which the catalog says for the server's sake.
    assert.deepEqual({ ...after, 'index.json': '' }, { ...before, 'index.json': '' });
  });

  it('reports a catalog that cannot be written, and the published plugins', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await mkdir(scene.path('plugins/index.json'), { recursive: true });
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1);
    assert.equal(report.plugins[0]?.status, 'fetched');
    assert.equal(report.errors?.[0]?.code, 'TREE_FOREIGN');
    assert.ok(await scene.json('manifest.lock.json'));
  });

  it('writes no catalog if a first run publishes nothing, so that a server is not ready instead of answering 404', async t => {
    const scene = await openScene(t);
    await scene.list({ gone: '1' });
    assert.equal((await scene.sync()).code, 1);
    await assert.rejects(scene.read('plugins/index.json'));
  });

  it('keeps a plugin in the catalog whose damaged README cannot be replaced', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1', imageFormA({ wasm: buildModule(), readme: '# a' }));
    await scene.list({ a: '1' });
    await scene.sync();
    await rm(scene.path('plugins/a/1/README.md'));
    await symlink('/etc/hostname', scene.path('plugins/a/1/README.md'));
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1);
    assert.equal(report.plugins[0]?.error?.code, 'TREE_FOREIGN');
    assert.match(JSON.stringify(await scene.json('plugins/index.json')), /a\/1\/plugin\.wasm/);
  });

  it('does not hang on a pipe instead of the manifest, or on a cache folder that cannot be made', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    execFileSync('mkfifo', [scene.path('pipe.json')]);
    const piped = await scene.run(['sync', '--manifest', 'pipe.json']);
    assert.equal(piped.code, 2);
    assert.match(piped.stderr, /MANIFEST_UNREADABLE.*a pipe/);
    assert.equal((await scene.sync('--cache-dir', '/proc/nowhere/cache')).code, 0);
  });

  it('does not wait for a pipe instead of a certificate, a key or a login', slow, async t => {
    const scene = await openScene(t);
    await scene.list({ a: '1' }, { registry: 'r.example' });
    execFileSync('mkfifo', [scene.path('pipe')]);
    await mkdir(scene.path('docker'));
    execFileSync('mkfifo', [scene.path('docker/config.json')]);
    for (const options of [
      ['--ca-file', 'pipe'],
      ['--cert-file', 'pipe', '--key-file', 'pipe'],
      ['--registry-config', 'pipe'],
      ['--registry-config', '/dev/zero'],
    ]) {
      const ran = await scene.sync(...options);
      assert.notEqual(ran.code, 0);
      assert.match(ran.stderr, /it is a pipe or a device, not a file/, options.join(' '));
    }
    const against = [
      'coverage',
      '--url',
      'oci://r.example/a:1',
      '--against',
      'http://127.0.0.1:1',
      '--ca-file',
      'pipe',
    ];
    assert.match((await scene.run(against)).stderr, /it is a pipe or a device, not a file/);
    const env = { DOCKER_CONFIG: scene.path('docker') };
    scene.push('a', '1');
    await scene.list({ a: '1' });
    const ran = await scene.run(['sync'], { env });
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stderr, /config\.json.*is ignored/);
  });

  it('recovers from temporary faults: resets, early ends, 429, 503 and a stalled body', slow, async t => {
    const scene = await openScene(t);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const name of names)
      scene.push(name, '1', imageFormC({ wasm: buildModule({ seed: name, sizeBytes: 60_000 }) }));
    const blob = (name: string) => ({ kind: 'blob', path: new RegExp(`plugins/${name}/`), first: 1 }) as const;
    scene.registry.script([
      { ...blob('a'), fault: reset({ afterBytes: 20_000 }) },
      { ...blob('b'), fault: finish({ afterBytes: 20_000 }) },
      { ...blob('c'), fault: status(429, { retryAfter: 0 }) },
      { ...blob('d'), fault: status(503) },
      { ...blob('e'), fault: hang({ afterBytes: 20_000 }) },
      { kind: 'manifest', path: /plugins\/f/, first: 1, fault: reset() },
    ]);
    await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
    const { ran, report } = await scene.report('--timeout', '3');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(report.totals.fetched, 6);
    assert.match(ran.stderr, /^retry 1: /m);
    assert.equal((await scene.run(['verify'])).code, 0);
  });

  it('refuses a registry that returns another digest than requested', slow, async t => {
    const scene = await openScene(t);
    const digest = scene.registry.push('plugins/a', null, imageFormC({ wasm: buildModule() }));
    await scene.list({ a: `1@${digest}` });
    scene.registry.script({ kind: 'manifest', fault: corrupt() });
    assert.match((await scene.sync('--retries', '0')).stderr, /REGISTRY_DIGEST_MISMATCH/);
    scene.registry.script({ kind: 'manifest', fault: wrongDigest() });
    assert.match((await scene.sync('--retries', '0')).stderr, /REGISTRY_DIGEST_MISMATCH/);
    assert.deepEqual(
      Object.keys(await listing(scene.path('plugins'))).filter(it => it.endsWith('.wasm')),
      [],
    );
  });
});

const uid = OTHER_USER;

async function handOver(scene: Scene, ...paths: readonly string[]): Promise<void> {
  await chmod(scene.dir, 0o755);
  if (uid !== undefined) for (const path of ['home', 'tmp', ...paths]) await chown(scene.path(path), uid, uid);
}

describe('a run without write permission', asOtherUser, () => {
  it('keeps a complete tree, and refuses an incomplete one with a remedy', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.sync();
    await handOver(scene);
    await chmod(scene.path('plugins'), 0o555);
    scene.push('b', '1');
    await scene.list({ a: '1', b: '1' });
    const options = uid === undefined ? {} : { uid };
    const ran = await scene.run(['sync', '--format', 'json', '--no-lock'], options);
    assert.equal(ran.code, 1, ran.stderr);
    assert.match(ran.stderr, /TREE_NOT_WRITABLE.*plugins/);
    assert.match(ran.stderr, /--tree/);
    assert.equal((await scene.run(['verify'], options)).code, 0);
    assert.equal((await scene.run(['check', '--cache-dir', 'tmp/c'], options)).code, 3);
    await chmod(scene.path('plugins'), 0o755);
  });

  it('refuses a lock that cannot be written before the first download', async t => {
    if (uid === undefined) return t.skip('needs another user');
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await mkdir(scene.path('plugins'));
    await handOver(scene, 'plugins');
    const refused = await scene.run(['sync', '--format', 'json'], { uid });
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stderr, /LOCK_UNWRITABLE[\s\S]*(?:--no-lock|--frozen|writable)/);
    assert.equal(scene.registry.count('blob'), 0);
  });

  it('reports a lock that cannot be written any more after the plugins are published', slow, async t => {
    if (uid === undefined) return t.skip('needs another user');
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await mkdir(scene.path('plugins'));
    await handOver(scene, 'plugins');
    const preview = await scene.run(['sync', '--dry-run'], { uid });
    assert.match(preview.stdout + preview.stderr, /LOCK_UNWRITABLE/);
    await chmod(scene.path(), 0o777);
    let release = (): void => undefined;
    const held = new Promise<void>(resolve => {
      release = resolve;
    });
    scene.registry.script({ kind: 'blob', first: 1, fault: heldBack(held) });
    const running = scene.start(['sync', '--format', 'json'], { uid });
    while (scene.registry.count('blob') === 0) await sleep(10);
    await chmod(scene.path(), 0o755);
    release();
    const ran = await running.ended;
    assert.equal(ran.code, 1, ran.stderr);
    const { plugins, errors } = parsed<{ plugins: { status: string }[]; errors: ErrorJson[] }>(ran);
    assert.deepEqual([plugins[0]?.status, errors[0]?.code], ['fetched', 'LOCK_UNWRITABLE']);
    assert.match(ran.stderr, /LOCK_UNWRITABLE/);
    // What is locked already needs no new lockfile.
    await chmod(scene.path(), 0o777);
    assert.equal((await scene.run(['sync'], { uid })).code, 0);
    await chmod(scene.path(), 0o755);
    await rm(scene.path('plugins/a'), { recursive: true });
    assert.equal((await scene.run(['sync'], { uid })).code, 0);
  });

  it('does not fail if the cache cannot be written', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.write('file', '');
    const ran = await scene.sync('--cache-dir', 'file/below');
    assert.equal(ran.code, 0, ran.stderr);
  });
});

describe('two syncs into one folder', () => {
  it('refuse each other clearly, or wait with --wait, and never mix', slow, async t => {
    const scene = await openScene(t);
    const wasm = buildModule({ seed: 'slow', sizeBytes: 100_000 });
    scene.push('a', '1', imageFormC({ wasm }));
    await scene.list({ a: '1' });
    let release = (): void => undefined;
    const held = new Promise<void>(resolve => {
      release = resolve;
    });
    scene.registry.script({ kind: 'blob', first: 1, fault: heldBack(held) });
    const first = scene.start(['sync']);
    while (scene.registry.count('blob') === 0) await sleep(10);
    const waiting = scene.start(['sync', '--wait', '60']);
    const second = await scene.sync();
    await printed(waiting, /waiting for another sync/);
    release();
    const third = await waiting.ended;
    assert.equal((await first.ended).code, 0);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /TREE_LOCKED.*process \d+/);
    assert.match(second.stderr, /--wait/);
    assert.equal(third.code, 0, third.stderr);
    assert.match(third.stdout, /waiting for another sync.*process \d+/);
    assert.match(third.stdout, /1 kept/);
    assert.equal(scene.registry.count('blob'), 1);
    assert.ok(wasm.equals(await readFile(scene.path('plugins/a/1/plugin.wasm'))));
  });
});
