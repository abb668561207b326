import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CacheFolder } from '../../registry/blobs/cacheFolder.ts';
import { openScene, openSlowScene, parsed, printed, type Scene, type SyncJson, sha256 } from '../support/cli.ts';
import { drip, hang } from '../support/faults.ts';
import { imageFormA, imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import type { RequestRecord } from '../support/records.ts';
import { slow, slowUnless } from '../support/slow.ts';

/** Resolves when the registry has been asked for what fits. */
async function asked(scene: Scene, fits: (record: RequestRecord) => boolean): Promise<void> {
  while (!scene.registry.requests.some(fits)) await sleep(10);
}

/** A tree that a gateway may read at this moment: every published module is one of those pushed, whole. */
async function assertWhole(scene: Scene, modules: ReadonlyMap<string, string>): Promise<void> {
  const entries = await readdir(scene.path('plugins'), { recursive: true }).catch(() => []);
  for (const entry of entries.filter(it => it.endsWith('/plugin.wasm') && !it.startsWith('.'))) {
    const bytes = await readFile(scene.path('plugins', entry));
    assert.equal(sha256(bytes), modules.get(entry.split('/')[0] ?? ''), `${entry} is torn`);
  }
}

async function manyPlugins(scene: Scene, count: number): Promise<Map<string, string>> {
  const modules = new Map<string, string>();
  for (let index = 0; index < count; index += 1) {
    const wasm = buildModule({ seed: `many ${index}`, sizeBytes: 20_000 + index * 30_000 });
    const image = index % 2 === 0 ? imageFormA({ wasm, spec: 'a: 1\n' }) : imageFormC({ wasm });
    scene.push(`p${index}`, '1.0.0', image);
    modules.set(`p${index}`, sha256(wasm));
  }
  await listAll(scene, modules);
  return modules;
}

function listAll(scene: Scene, modules: ReadonlyMap<string, string>): Promise<void> {
  return scene.list(Object.fromEntries([...modules.keys()].map(name => [name, '1.0.0'])));
}

/** Blobs whose whole body was sent more than once. */
function wholeTwice(scene: Scene, before: readonly RequestRecord[]): string[] {
  const all = [...before, ...scene.registry.requests].filter(({ kind, method }) => kind === 'blob' && method === 'GET');
  const digest = ({ path }: RequestRecord) => path.split('/').at(-1) ?? '';
  const sent = new Map<string, number>();
  for (const record of all) sent.set(digest(record), (sent.get(digest(record)) ?? 0) + record.bodyBytesSent);
  const repositories = new Set(all.map(({ path }) => path.split('/').slice(2, 4).join('/')));
  const sizeOf = (key: string) =>
    [...repositories].map(name => scene.registry.stored(name, key)?.length).find(size => size !== undefined) ??
    Number.POSITIVE_INFINITY;
  return [...sent].filter(([key, bytes]) => bytes >= 2 * sizeOf(key)).map(([key]) => key);
}

/** How many bytes of each blob the cache holds: of the whole blob, or of its longest part. */
async function cachedBytes(scene: Scene): Promise<Map<string, number>> {
  const bytes = new Map<string, number>();
  for (const { digest, sizeBytes } of await new CacheFolder(scene.path('home/cache/plugin-mirror/blobs')).list())
    bytes.set(digest, Math.max(sizeBytes, bytes.get(digest) ?? 0));
  return bytes;
}

/**
 * Each blob of which the cache held something was requested from the next byte on, or not at all.
 * @returns how many were requested
 */
function assertContinued(scene: Scene, cached: ReadonlyMap<string, number>): number {
  const first = new Map<string, RequestRecord>();
  for (const record of scene.registry.requests) {
    const digest = record.path.split('/').at(-1) ?? '';
    if (record.kind === 'blob' && record.method === 'GET' && !first.has(digest)) first.set(digest, record);
  }
  let continued = 0;
  for (const [digest, bytes] of cached) {
    const range = first.get(digest)?.headers.range;
    if (bytes === 0 || !first.has(digest)) continue;
    assert.equal(range, `bytes=${bytes}-`, `${digest}, of which ${bytes} bytes were in the cache`);
    continued += 1;
  }
  return continued;
}

describe('a sync that is stopped', () => {
  it('while its code is still loading ends in 130', { skip: !existsSync('/proc/self/status') }, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    scene.registry.script({ fault: hang() });
    const running = scene.start(['sync']);
    // proc(5): SigCgt has a bit for each signal that the process handles; the first is that of SIGHUP.
    const handlesHangUp = async () =>
      /^SigCgt:\t[0-9a-f]+[13579bdf]$/m.test(await readFile(`/proc/${running.child.pid}/status`, 'utf8'));
    while (!(await handlesHangUp())) await sleep(2);
    running.child.kill('SIGHUP');
    const ran = await running.ended;
    assert.equal(ran.code, 130, ran.stderr);
    assert.deepEqual(await readdir(scene.path('plugins')).catch(() => []), []);
  });

  for (const [what, args] of [
    ['coverage', ['coverage', '-']],
    ['a password', ['sync', '--username', 'u', '--password-stdin']],
  ] as const)
    it(`while it waits for ${what} on standard input ends in 130`, async t => {
      const scene = await openScene(t);
      await scene.list({ a: '1.0.0' });
      const child = spawn(process.execPath, scene.command(args), { cwd: scene.dir, env: scene.environment() });
      t.after(() => child.kill('SIGKILL'));
      const ended = once(child, 'close');
      // The kernel holds less than that: all of it is written only if the command reads.
      await new Promise(resolve => child.stdin.write('x'.repeat(800_000), resolve));
      child.kill('SIGTERM');
      assert.deepEqual(await ended, [130, null]);
      assert.deepEqual(scene.registry.requests, []);
    });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    it(
      `by ${signal} during a download ends in 130, reports the finished plugins and leaves an intact tree`,
      slowUnless(signal === 'SIGTERM'),
      async t => {
        const { scene, done, slow, path } = await openSlowScene(t, { sizeBytes: 400_000, afterBytes: 300_000 });
        await scene.list({ slow: '1.0.0', done: { versions: ['1.0.0'], aliases: { old: '1.0.0' } } });
        const running = scene.start(['sync', '--format', 'json']);
        await printed(running, /fetched +done/);
        await asked(scene, record => path.test(record.path) && record.bodyBytesSent >= 300_000);
        const stoppedAt = performance.now();
        running.child.kill(signal);
        const ran = await running.ended;
        const tookMs = performance.now() - stoppedAt;
        assert.equal(ran.code, 130);
        // The promise is a second; a machine with more work than cores gets some more.
        assert.ok(tookMs < 3000, `it took ${tookMs} ms`);
        const report = parsed<SyncJson>(ran);
        assert.equal(report.interrupted, true);
        assert.deepEqual(
          report.plugins.map(it => `${it.name} ${it.status}`),
          ['done fetched'],
        );
        assert.match(ran.stderr, /interrupted: 1 finished/);
        assert.equal((await scene.run(['verify'])).code, 0);
        assert.ok(done.equals(await readFile(scene.path('plugins/done/1.0.0/plugin.wasm'))));
        assert.deepEqual((await readdir(scene.path('plugins'))).sort(), [
          'done',
          'index.json',
          'snapshot-inventory.json',
        ]);

        const before = scene.registry.requests.slice();
        scene.registry.script([]);
        scene.registry.reset();
        const next = await scene.report();
        assert.equal(next.ran.code, 0, next.ran.stderr);
        const again = scene.registry.requests.filter(record => record.kind === 'blob');
        assert.deepEqual(
          again.map(({ headers, path }) => [headers.range !== undefined, path.includes(sha256(slow))]),
          [[true, true]],
        );
        assert.deepEqual(wholeTwice(scene, before), []);
        assert.ok(scene.registry.bytesServed('blob') <= slow.length - 200_000, 'it resumed where it stopped');
      },
    );

  it('before its first request, reports that and changes no file', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    scene.registry.script({ kind: 'manifest', fault: hang() });
    const running = scene.start(['sync']);
    await asked(scene, ({ kind }) => kind === 'manifest');
    running.child.kill('SIGINT');
    const ran = await running.ended;
    assert.equal(ran.code, 130);
    assert.match(`${ran.stdout}${ran.stderr}`, /interrupted/);
    await assert.rejects(scene.read('manifest.lock.json'));
  });

  it(
    'by SIGKILL at any moment leaves whole files only; the next one heals it and no byte in the cache travels twice',
    slow,
    async t => {
      const scene = await openScene(t);
      const modules = await manyPlugins(scene, 8);
      scene.registry.script({ kind: 'blob', fault: drip({ bytes: 16_384, everyMs: 4 }) });
      let cached: ReadonlyMap<string, number> = new Map();
      const killDuringSync = async (concurrency: number, moment: () => Promise<unknown>): Promise<boolean> => {
        const running = scene.start(['sync', '--concurrency', `${concurrency}`]);
        const ended = running.ended.then(() => false);
        // Up to its first request nothing happens that a test could tear.
        await Promise.race([ended, asked(scene, () => true)]);
        const wasRunning = await Promise.race([ended, moment().then(() => true)]);
        running.child.kill('SIGKILL');
        await ended;
        await assertWhole(scene, modules);
        assertContinued(scene, cached);
        cached = await cachedBytes(scene);
        scene.registry.reset();
        return wasRunning;
      };
      let killed = 0;
      for (let round = 0; round < 8; round += 1)
        if (await killDuringSync(round + 1, () => sleep(round * 36))) killed += 1;
      assert.ok(killed > 2, `only ${killed} of 8 were killed in time`);

      // What has arrived of a large blob is on disk before it is whole.
      const large = buildModule({ seed: 'large', sizeBytes: 2_000_000 });
      scene.push('large', '1.0.0', imageFormC({ wasm: large }));
      modules.set('large', sha256(large));
      await listAll(scene, modules);
      const part = async () => {
        while (((await cachedBytes(scene)).get(`sha256:${sha256(large)}`) ?? 0) === 0) await sleep(2);
      };
      assert.ok(await killDuringSync(1, part));
      assert.ok((cached.get(`sha256:${sha256(large)}`) ?? large.length) < large.length);
      const { ran } = await scene.report();
      assert.equal(ran.code, 0, ran.stderr);
      assert.equal(assertContinued(scene, cached), 1);
      await assertWhole(scene, modules);
      const audit = await scene.run(['verify', '--lock', 'manifest.lock.json']);
      assert.equal(audit.code, 0, audit.stdout);
      const left = (await readdir(scene.path('plugins'))).filter(name => name.startsWith('.'));
      assert.deepEqual(left, [], 'staging and locks are cleaned up');
    },
  );
});
