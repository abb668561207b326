import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { payloadFor, publicPem, signatureImage, sigTag, simpleLayer } from '../mirror/signing.ts';
import { type ErrorJson, listing, openScene, parsed, type Scene } from '../support/cli.ts';
import { imageFormC, imageOf, MEDIA } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow } from '../support/slow.ts';

interface PlanJson {
  readonly plugins: readonly {
    readonly name: string;
    readonly version: string;
    readonly action: string;
    readonly because?: string;
    readonly warnings?: readonly string[];
    readonly error?: ErrorJson;
  }[];
  readonly errors?: readonly ErrorJson[];
  readonly drift: readonly Readonly<Record<string, unknown>>[];
  readonly totals: Readonly<Record<string, number>>;
}

interface CheckJson {
  readonly findings: readonly {
    readonly kind: string;
    readonly name: string;
    readonly version: string;
    readonly detail: string;
  }[];
  readonly errors?: readonly ErrorJson[];
}

async function dryRun(scene: Scene, ...args: readonly string[]) {
  const ran = await scene.sync('--dry-run', '--format', 'json', '--retries', '0', ...args);
  return { ran, plan: parsed<PlanJson>(ran) };
}

async function check(scene: Scene) {
  const ran = await scene.run(['check', '--format', 'json', '--retries', '0']);
  return { ran, found: parsed<CheckJson>(ran) };
}

const told = ({ plugins }: PlanJson) =>
  plugins.map(({ action, name, version, error }) => [action, name, version, error?.code].filter(Boolean).join(' '));

/** A module of many bytes that nobody stores: only its descriptor says how many. */
const HUGE_BYTES = 8e15;

function huge(scene: Scene, name: string): void {
  const layer = { mediaType: MEDIA.wasm, body: buildModule({ seed: name }), title: 'plugin.wasm', size: HUGE_BYTES };
  scene.registry.push(`plugins/${name}`, '1', imageOf({ layers: [layer] }));
}

describe('sync --dry-run reports', { concurrency: 3 }, () => {
  it('a signature that would be refused, and asks for no plugin’s blob', async t => {
    const scene = await openScene(t);
    const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await scene.write('cosign.pub', publicPem(key));
    for (const name of ['signed', 'bare']) scene.push(name, '1');
    const { digest } = imageFormC({ wasm: buildModule({ seed: 'signed 1' }), version: '1' });
    scene.registry.push('plugins/signed', sigTag(digest), signatureImage([simpleLayer(key, payloadFor(digest))]));
    await scene.list(
      { signed: '1', bare: { versions: ['1'], aliases: { x: '1' } } },
      { signatures: { key: 'cosign.pub' } },
    );
    const before = await listing(scene.dir);
    const { ran, plan } = await dryRun(scene);
    assert.equal(ran.code, 1);
    assert.deepEqual(told(plan), [
      'fetch signed 1',
      'fail bare 1 SIGNATURE_MISSING',
      'fail bare x ALIAS_TARGET_FAILED',
    ]);
    assert.deepEqual(plan.totals, { ...plan.totals, fetch: 1, alias: 0, fail: 2 });
    // A signature passes through the system's folder for temporary files, and leaves nothing there.
    assert.deepEqual({ ...(await listing(scene.dir)), 'tmp/': '' }, { ...before, 'tmp/': '' });
    const checked = await check(scene);
    assert.match(checked.found.findings[0]?.detail ?? '', /only if its signature satisfies/);
  });

  it('a local file that is no module', async t => {
    const scene = await openScene(t);
    await scene.write('page.wasm', '<html></html>');
    await scene.list({ own: { file: 'page.wasm', versions: ['1'], aliases: { x: '1' } } });
    const { ran, plan } = await dryRun(scene);
    assert.equal(ran.code, 1);
    assert.deepEqual(told(plan), ['fail own 1 MODULE_INVALID', 'fail own x ALIAS_TARGET_FAILED']);
  });

  it('a layer of an impossible size, and a disk that is too small, with the amount; so does check', async t => {
    const scene = await openScene(t);
    scene.push('small', '1');
    huge(scene, 'big');
    await scene.list({ small: '1', big: '1' });
    const { ran, plan } = await dryRun(scene);
    assert.equal(ran.code, 1);
    assert.deepEqual(told(plan), ['fetch small 1', 'fail big 1 LAYER_TOO_LARGE']);
    await scene.list({ small: '1' });
    await scene.sync();
    const lock = await scene.json<{ plugins: { small: Record<string, { sizeBytes: number }> } }>('manifest.lock.json');
    const entry = lock.plugins.small['1'];
    assert.ok(entry);
    entry.sizeBytes = HUGE_BYTES;
    await scene.write('manifest.lock.json', JSON.stringify(lock));
    await rm(scene.path('plugins'), { recursive: true });
    const locked = await dryRun(scene);
    assert.equal(locked.ran.code, 1);
    assert.deepEqual(told(locked.plan), ['fetch small 1']);
    assert.equal(locked.plan.errors?.[0]?.code, 'TREE_DISK_FULL');
    assert.match(locked.plan.errors?.[0]?.message ?? '', /7629394531\.\d MiB needed, [\d.]+ MiB free/);
    assert.match((await scene.sync('--dry-run')).stderr, /TREE_DISK_FULL.*too little/s);
    const checked = await check(scene);
    assert.equal(checked.ran.code, 3);
    assert.equal(checked.found.errors?.[0]?.code, 'TREE_DISK_FULL');
  });

  it('a registry that is down, once; so does check', slow, async t => {
    const scene = await openScene(t);
    const names = ['a', 'b', 'c'];
    for (const name of names) scene.push(name, '1');
    await scene.list({ a: '1', b: '1', c: '1' });
    await scene.sync();
    await scene.registry.down();
    const { ran, plan } = await dryRun(scene);
    assert.equal(ran.code, 0);
    assert.ok(plan.plugins.every(({ warnings }) => /whether its tag moved is not known/.test(String(warnings))));
    const text = await scene.sync('--dry-run', '--retries', '0');
    assert.match(text.stdout, /warning .*not known/);
    const checked = await scene.run(['check', '--retries', '0']);
    assert.equal(checked.code, 3);
    assert.equal(checked.stdout.match(/^unreachable/gm)?.length, 1, checked.stdout);
    assert.match(checked.stdout, /^unreachable +a 1, b 1, c 1 /m);
    const bare = await scene.sync('--dry-run', '--retries', '0', '--no-lock');
    assert.equal(bare.code, 1);
    assert.equal(bare.stderr.match(/REGISTRY_REFUSED/g)?.length, 1, bare.stderr);
  });

  it('aliases that would be published, moved or left', slow, async t => {
    const scene = await openScene(t);
    for (const version of ['1', '2']) scene.push('a', version);
    await scene.list({ a: { versions: ['1', '2'], aliases: { same: '1', moved: '1' } } });
    await scene.sync();
    await scene.list({ a: { versions: ['1', '2'], aliases: { same: '1', moved: '2', fresh: '2' } } });
    const { ran, plan } = await dryRun(scene);
    assert.equal(ran.code, 0);
    assert.deepEqual(told(plan), ['keep a 1', 'keep a 2', 'keep a same', 'alias a moved', 'alias a fresh']);
    assert.deepEqual(
      plan.plugins.flatMap(({ because }) => because ?? []),
      ['was → 1', 'not in the tree'],
    );
    const text = await scene.sync('--dry-run');
    assert.match(text.stdout, /^alias +a moved → 2 +was → 1$/m);
    assert.match(text.stdout, /3 to keep, 2 aliases/);
  });
});

describe('check', { concurrency: 3 }, () => {
  it(
    'distinguishes another image in the manifest from a moved tag, and a missing tag from a registry that is down',
    slow,
    async t => {
      const scene = await openScene(t);
      for (const name of ['a', 'b', 'c']) scene.push(name, '1');
      await scene.list({ a: '1', b: '1', c: '1' });
      await scene.sync();
      scene.registry.push('fork/a', '1', imageFormC({ wasm: buildModule({ seed: 'fork' }) }));
      scene.registry.remove('plugins/b', '1');
      scene.push('b', '1.0.0');
      scene.push('c', '1', undefined, 'again');
      await scene.list({ a: { image: 'fork/a', versions: ['1'] }, b: '1', c: '1' });
      for (const lock of [true, false]) {
        if (!lock) await rm(scene.path('manifest.lock.json'));
        const { found } = await check(scene);
        const kinds = found.findings.map(({ kind, name }) => `${kind} ${name}`);
        assert.deepEqual(kinds, [...(lock ? ['stale a', 'unlocked a'] : ['stale a']), 'gone b', 'moved c']);
        assert.match(found.findings[0]?.detail ?? '', /the manifest names .*fork\/a:1, another image/);
      }
      assert.match((await scene.run(['check'])).stdout, /sync --dry-run --only b suggests the nearest/);
      await scene.list({ b: '1' });
      const dry = await scene.sync('--dry-run');
      assert.match(dry.stdout, /has no tag 1 of plugins\/b/);
      assert.match(dry.stderr, /did you mean 1\.0\.0/);
    },
  );
});

describe('a folder in the way of a file', { concurrency: 3 }, () => {
  it('is to be moved away by hand, as verify and check report', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.sync();
    await rm(scene.path('plugins/a/1/plugin.wasm'));
    await scene.write('plugins/a/1/plugin.wasm/mine', 'x');
    for (const command of ['verify', 'check']) {
      const { stdout } = await scene.run([command]);
      assert.match(stdout, /move a\/1\/plugin\.wasm away by hand/, command);
      assert.doesNotMatch(stdout, /sync fetches damaged|sync brings/, command);
    }
    assert.equal((await scene.sync()).code, 1);
    await rm(scene.path('plugins/index.json'));
    await scene.write('plugins/index.json/mine', 'x');
    assert.match((await scene.run(['verify'])).stderr, /CATALOG_INVALID.*Move it away by hand/s);
    await rm(scene.path('plugins'), { recursive: true });
    await scene.sync();
    await writeFile(scene.path('plugins/a/1/plugin.wasm'), 'spoiled');
    assert.match((await scene.run(['verify'])).stdout, /sync fetches damaged and missing files again/);
  });
});
