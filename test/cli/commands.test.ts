import assert from 'node:assert/strict';
import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { listing, openScene, parsed, type Scene } from '../support/cli.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';

interface Findings {
  readonly findings: readonly { readonly kind: string; readonly name: string; readonly version: string }[];
  readonly totals: { readonly requests: number };
}

async function synced(scene: Scene, ...names: readonly string[]): Promise<void> {
  for (const name of names) scene.push(name, '1.0.0');
  await scene.list(Object.fromEntries(names.map(name => [name, '1.0.0'])));
  assert.equal((await scene.sync()).code, 0);
  scene.registry.reset();
}

describe('check', { concurrency: 3 }, () => {
  it('ends in 0 if manifest, lock, tree and registry agree, with one HEAD for each tag', async t => {
    const scene = await openScene(t);
    await synced(scene, 'a', 'b');
    const before = await listing(scene.dir);
    assert.equal((await scene.run(['check'])).code, 0);
    assert.deepEqual(
      scene.registry.requests.map(it => it.method),
      ['HEAD', 'HEAD'],
    );
    assert.deepEqual(await listing(scene.dir), before);
  });

  it('reports missing, damaged, moved, extra, unlocked and gone versions, and ends in 3', async t => {
    const scene = await openScene(t);
    await synced(scene, 'damaged', 'missing', 'moved', 'extra', 'gone', 'sound');
    await appendFile(scene.path('plugins/damaged/1.0.0/plugin.wasm'), 'x');
    await rm(scene.path('plugins/missing'), { recursive: true });
    scene.push('moved', '1.0.0', imageFormC({ wasm: buildModule({ seed: 'fresh' }) }));
    scene.registry.remove('plugins/gone', '1.0.0');
    scene.push('unlocked', '1.0.0');
    const names = ['damaged', 'missing', 'moved', 'gone', 'sound', 'unlocked'];
    await scene.list(Object.fromEntries(names.map(name => [name, '1.0.0'])));
    const before = await listing(scene.dir);
    const ran = await scene.run(['check', '--format', 'json']);
    assert.equal(ran.code, 3);
    const { findings, totals } = parsed<Findings>(ran);
    const kinds = new Set(findings.map(({ kind, name }) => `${kind} ${name}`));
    for (const kind of ['damaged', 'missing', 'moved', 'extra', 'gone', 'unlocked'])
      assert.ok(kinds.has(`${kind} ${kind}`), `${kind}: ${[...kinds]}`);
    assert.ok(!findings.some(({ name }) => name === 'sound'));
    assert.equal(findings.filter(({ name }) => name === 'extra').length, 1, 'in the tree and the lock, told once');
    assert.equal(totals.requests, scene.registry.count());
    assert.deepEqual(
      scene.registry.requests.filter(({ method }) => method !== 'HEAD'),
      [],
      'heads only, even for a tag that is not there',
    );
    const text = await scene.run(['check']);
    assert.equal(text.code, 3);
    assert.match(text.stdout, /sync --update moved/);
    assert.match(text.stdout, /sync --prune/);
    assert.deepEqual(await listing(scene.dir), before);
  });

  it(
    'sees a local file that changed, an alias that fell behind and an index.json that is not the tree’s',
    slow,
    async t => {
      const scene = await openScene(t);
      scene.push('a', '1');
      await scene.write('own.wasm', buildModule({ seed: 'own' }));
      await scene.list({ a: { versions: ['1'], aliases: { x: '1' } }, own: { file: 'own.wasm', versions: ['1'] } });
      assert.equal((await scene.sync()).code, 0);
      assert.equal((await scene.run(['check'])).code, 0);
      await scene.write('own.wasm', buildModule({ seed: 'other' }));
      const changed = await scene.run(['check']);
      assert.equal(changed.code, 3);
      assert.match(changed.stdout, /stale +own 1 +own\.wasm has changed/);
      await scene.sync();
      await scene.write('plugins/index.json', '{"schemaVersion":1,"tree":"","plugins":[]}');
      const unlisted = parsed<Findings>(await scene.run(['check', '--format', 'json']));
      assert.deepEqual(
        unlisted.findings.map(({ kind, name, version }) => `${kind} ${name} ${version}`),
        ['damaged a 1', 'damaged own 1', 'damaged a x'],
      );
      assert.equal((await scene.sync()).code, 0);
      assert.equal((await scene.run(['check'])).code, 0);
    },
  );
});

describe('sync --dry-run', { concurrency: 3 }, () => {
  it('prints the plan with the bytes to download, and changes nothing', async t => {
    const scene = await openScene(t);
    await synced(scene, 'kept', 'extra');
    const image = imageFormC({ wasm: buildModule({ seed: 'new', sizeBytes: 30_000 }) });
    scene.push('new', '1.0.0', image);
    await scene.list({ kept: { versions: ['1.0.0'], aliases: { x: '1.0.0' } }, new: '1.0.0', gone: '1.0.0' });
    const before = await listing(scene.dir);
    const ran = await scene.run(['sync', '--dry-run', '--prune', '--format', 'json']);
    assert.equal(ran.code, 1, 'one is impossible');
    const plan = parsed<{ plugins: { name: string; action: string }[]; extras: object[]; totals: object }>(ran);
    assert.deepEqual(
      plan.plugins.map(({ name, action }) => `${action} ${name}`),
      ['keep kept', 'fetch new', 'fail gone', 'alias kept'],
    );
    assert.deepEqual(plan.extras, [{ name: 'extra', version: '1.0.0', action: 'remove' }]);
    assert.deepEqual(plan.totals, { fetch: 1, keep: 1, alias: 1, fail: 1, bytesToDownload: 30_000 });
    assert.match((await scene.sync('--dry-run')).stdout, /1 to fetch, 1 to keep.* 30 KB .*[Nn]othing was touched/);
    assert.deepEqual(await listing(scene.dir), before);
    assert.equal(scene.registry.count('blob'), 0);
    assert.equal((await scene.sync('--dry-run', '--frozen')).code, 3);
  });

  it('makes no folder, lock or cache', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const before = await listing(scene.dir);
    assert.equal((await scene.sync('--dry-run')).code, 0);
    assert.deepEqual(await listing(scene.dir), before);
  });
});

describe('verify', { concurrency: 3 }, () => {
  it('reports damaged, missing and unknown files, offline and without writing', async t => {
    const scene = await openScene(t);
    await synced(scene, 'a', 'b', 'c');
    assert.equal((await scene.run(['verify', '--lock', 'manifest.lock.json'])).code, 0);
    await writeFile(scene.path('plugins/stranger.txt'), 'x');
    const unknown = await scene.run(['verify']);
    assert.equal(unknown.code, 3);
    assert.match(unknown.stdout, /unknown +stranger\.txt/);
    assert.equal(parsed<{ sound: boolean }>(await scene.run(['verify', '--format', 'json'])).sound, false);
    const file = scene.path('plugins/a/1.0.0/plugin.wasm');
    const bytes = await readFile(file);
    await writeFile(file, bytes.fill(0xff, 70, 71));
    await rm(scene.path('plugins/b/1.0.0/metadata.json'));
    const before = await listing(scene.dir);
    const ran = await scene.run(['verify', '--format', 'json']);
    assert.equal(ran.code, 1);
    const audit = parsed<Record<'damaged' | 'missing' | 'unknown', { path: string }[]>>(ran);
    const paths = (kind: 'damaged' | 'missing' | 'unknown') => audit[kind].map(({ path }) => path);
    assert.deepEqual(paths('damaged'), ['a/1.0.0/plugin.wasm']);
    assert.deepEqual(paths('missing'), ['b/1.0.0/metadata.json']);
    assert.deepEqual(paths('unknown'), ['stranger.txt']);
    assert.deepEqual(await listing(scene.dir), before);
    assert.equal(scene.registry.count(), 0);
    const nowhere = await scene.run(['verify', '--tree', 'nowhere']);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /→/);
  });

  it('ends in 3 if the lock differs', slow, async t => {
    const scene = await openScene(t);
    await synced(scene, 'a', 'b');
    const lock = await scene.read('manifest.lock.json');
    await synced(scene, 'a');
    await scene.sync('--prune');
    await scene.write('old.lock.json', lock);
    const ran = await scene.run(['verify', '--lock', 'old.lock.json']);
    assert.equal(ran.code, 3);
    assert.match(ran.stdout, /b 1\.0\.0 is locked, but not in the tree/);
    assert.equal((await scene.run(['verify', '--lock', 'nowhere.json'])).code, 2);
  });
});

describe('outdated', { concurrency: 3 }, () => {
  it('lists newer versions in semver order, pre-releases on request, over many pages', async t => {
    const scene = await openScene(t);
    await synced(scene, 'a', 'b');
    const image = imageFormC({ wasm: buildModule() });
    const patches = Array.from({ length: 150 }, (_, index) => `1.0.${index}`);
    for (const tag of [...patches, '1.10.0', '1.9.0', '2.0.0-rc.1', 'latest', 'sha256-ab.sig'])
      scene.registry.push('plugins/a', tag, image);
    const ran = await scene.run(['outdated', '--format', 'json']);
    assert.equal(ran.code, 0, ran.stderr);
    const { plugins } = parsed<{ plugins: Record<string, unknown>[] }>(ran);
    const repository = `${scene.registry.host}/plugins/a`;
    const known = { current: '1.0.0', wanted: '1.0.0', locked: '1.0.0', behind: false };
    assert.deepEqual(plugins, [{ name: 'a', repository, ...known, latest: '1.10.0', outdated: true }]);
    const table = await scene.run(['outdated', '--pre', '--all']);
    assert.match(table.stdout, /^Plugin +Current +Wanted +Locked +Latest/m);
    assert.match(table.stdout, /^a +1\.0\.0 .* 2\.0\.0-rc\.1/m);
    assert.match(table.stdout, /^b +1\.0\.0/m);
    await scene.registry.down();
    const down = await scene.run(['outdated', '--retries', '0']);
    assert.equal(down.code, 1);
    assert.match(down.stderr, /REGISTRY_REFUSED/);
    assert.doesNotMatch(down.stdout, /none has a newer/);
  });
});

describe('cache and import', { concurrency: 3 }, () => {
  it('cache lists its entries and removes them', async t => {
    const scene = await openScene(t);
    await synced(scene, 'a');
    assert.match((await scene.run(['cache', 'ls'])).stdout, /sha256:[0-9a-f]{64}\n1 entry|entries/);
    assert.match((await scene.run(['cache', 'clean', '--keep', '100'])).stdout, /removed 0/);
    assert.match((await scene.run(['cache', 'clean'])).stdout, /removed \d/);
    assert.match((await scene.run(['cache', 'ls'])).stdout, /^0 entries/);
    assert.equal((await scene.run(['cache', 'ls', '--cache-dir', 'nowhere'])).code, 0);
    for (const command of ['ls', 'clean']) {
      const { code, stderr } = await scene.run(['cache', command, '--cache-dir', 'manifest.json']);
      assert.equal(code, 1);
      assert.match(stderr, /CACHE_UNUSABLE .*manifest\.json[\s\S]*expected[\s\S]*ENOTDIR[\s\S]*--cache-dir/);
      assert.doesNotMatch(stderr, / at /);
    }
  });

  it('sync accepts an imported manifest', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.write('plugins.properties', `# upstream\na=oci://${scene.registry.host}/plugins/a:1.0.0\n`);
    const ran = await scene.run(['import', 'plugins.properties', '--write']);
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal((await scene.sync()).code, 0);
    assert.equal((await scene.run(['import', 'plugins.properties', '--write'])).code, 2, 'one is there already');
    assert.equal((await scene.run(['import', 'nowhere'])).code, 2);
    assert.equal((await scene.run(['import'])).code, 2);
  });
});
