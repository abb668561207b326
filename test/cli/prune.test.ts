import assert from 'node:assert/strict';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { describe, it, type TestContext } from 'node:test';
import { listing, openScene, parsed, type Scene } from '../support/cli.ts';
import { slow, slowUnless } from '../support/slow.ts';

/** A tree of a 1.0.0 and c 1.0.0 (and what else is named), synced. */
async function published(t: TestContext, ...more: readonly string[]): Promise<Scene> {
  const scene = await openScene(t);
  for (const name of ['a', 'c', ...more]) scene.push(name, '1.0.0');
  await scene.list(Object.fromEntries(['a', 'c', ...more].map(name => [name, '1.0.0'])));
  assert.equal((await scene.sync()).code, 0);
  return scene;
}

async function versionsOf(scene: Scene): Promise<string[]> {
  const index = await scene.json<{ plugins: { name: string; versions: { version: string }[] }[] }>(
    'plugins/index.json',
  );
  return index.plugins.flatMap(({ name, versions }) => versions.map(({ version }) => `${name}/${version}`));
}

async function filesOf(scene: Scene, below: string): Promise<string[]> {
  return Object.keys(await listing(scene.path('plugins', below))).filter(path => !path.endsWith('/'));
}

describe('pruning', { concurrency: 2 }, () => {
  it('keeps what was published of a plugin whose new version failed, and removes other extras', slow, async t => {
    const scene = await published(t, 'gone');
    const wasm = await readFile(scene.path('plugins/a/1.0.0/plugin.wasm'));
    const dead = { image: '127.0.0.1:1/plugins/c', versions: ['2.0.0'] };
    await scene.list({ a: '1.2.0', c: dead });
    const dry = await scene.sync('--prune', '--dry-run', '--retries', '0', '--format', 'json');
    assert.deepEqual(parsed<{ extras: object[] }>(dry).extras, [
      { name: 'gone', version: '1.0.0', action: 'remove' },
      { name: 'a', version: '1.0.0', kept: 'failed', action: 'leave' },
      { name: 'c', version: '1.0.0', kept: 'failed', action: 'leave' },
    ]);
    const { code, stdout } = await scene.sync('--prune', '--retries', '0');
    assert.equal(code, 1);
    assert.match(stdout, /^ +kept although .* same plugin failed: a\/1\.0\.0, c\/1\.0\.0$/m);
    assert.match(stdout, /^ +removed, no longer in the manifest: gone\/1\.0\.0$/m);
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0', 'c/1.0.0']);
    assert.ok(wasm.equals(await readFile(scene.path('plugins/a/1.0.0/plugin.wasm'))));
    assert.equal((await scene.run(['verify'])).code, 0);
    scene.push('a', '1.2.0');
    await scene.list({ a: '1.2.0' });
    assert.equal((await scene.sync('--prune')).code, 0);
    assert.deepEqual(await versionsOf(scene), ['a/1.2.0'], 'what came at last replaces what was kept');
  });

  it('stays within what --only selects', async t => {
    const scene = await published(t, 'b');
    scene.push('b', '2.0.0');
    await scene.list({ b: '2.0.0' });
    const { ran, report } = await scene.report('--prune', '--only', 'b');
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(
      report.extras.map(({ name, removed }) => [name, removed]),
      [
        ['b', true],
        ['a', false],
        ['c', false],
      ],
    );
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0', 'b/2.0.0', 'c/1.0.0']);
    assert.match((await scene.sync('--prune', '--only', 'b')).stdout, /a\/1\.0\.0, c\/1\.0\.0 .*--only/);
    assert.equal((await scene.sync('--prune')).code, 0);
    assert.deepEqual(await versionsOf(scene), ['b/2.0.0']);
  });

  it('keeps versions that a !GLOB of --only takes away', slow, async t => {
    const scene = await published(t, 'big', 'b');
    await scene.list({ a: '1.0.0' });
    const { ran, report } = await scene.report('--prune', '--only', '!big*', '!c/1.*');
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(
      report.extras.filter(({ removed }) => removed).map(({ name }) => name),
      ['b'],
    );
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0', 'big/1.0.0', 'c/1.0.0']);
  });

  it('can be limited to plugins that the manifest no longer names', slow, async t => {
    const scene = await published(t, 'b');
    await scene.list({ a: '1.0.0' });
    assert.match((await scene.sync('--only', 'b')).stderr, /SELECTION_EMPTY/);
    assert.match((await scene.sync('--prune', '--only', 'nobody')).stderr, /SELECTION_EMPTY/);
    assert.match((await scene.sync('--prune', '--only', 'b', '--dry-run')).stdout, /^prune +b 1\.0\.0/m);
    const ran = await scene.sync('--prune', '--only', 'b');
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0', 'c/1.0.0']);
    assert.equal((await scene.sync('--prune')).code, 0);
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0']);
  });

  it('deletes no file whose bytes are not the published ones, whatever its name', async t => {
    const scene = await published(t);
    await scene.write('plugins/c/1.0.0/plugin.wasm', 'mine');
    await scene.list({ a: '1.0.0' });
    const { code, stdout } = await scene.sync('--prune');
    assert.equal(code, 0);
    assert.match(stdout, /as sync published them: c\/1\.0\.0\/plugin\.wasm \(move them away/);
    assert.equal(await scene.read('plugins/c/1.0.0/plugin.wasm'), 'mine');
    assert.deepEqual(await filesOf(scene, 'c'), ['1.0.0/plugin.wasm'], 'the rest of it went');
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0']);
  });

  it('trusts index.json, not a metadata.json that was edited together with the module', slow, async t => {
    const scene = await published(t);
    const text = await scene.read('plugins/c/1.0.0/metadata.json');
    const metadata = JSON.parse(text) as { sha256: string; sizeBytes: number };
    const mine = 'mine';
    const { createHash } = await import('node:crypto');
    const sha256 = createHash('sha256').update(mine).digest('hex');
    await scene.write('plugins/c/1.0.0/plugin.wasm', mine);
    await scene.write(
      'plugins/c/1.0.0/metadata.json',
      text.replaceAll(metadata.sha256, sha256).replace(`"sizeBytes": ${metadata.sizeBytes}`, '"sizeBytes": 4'),
    );
    await scene.list({ a: '1.0.0' });
    const { report } = await scene.report('--prune');
    assert.deepEqual(Reflect.get(report.extras[0] ?? {}, 'leftPaths'), [
      'c/1.0.0/metadata.json',
      'c/1.0.0/plugin.wasm',
    ]);
    assert.equal(await scene.read('plugins/c/1.0.0/plugin.wasm'), mine);
  });

  it('finds in the catalog a version that has lost its metadata.json, or its folder', slow, async t => {
    const scene = await published(t, 'link', 'void');
    await rm(scene.path('plugins/c/1.0.0/metadata.json'));
    await scene.write('plugins/c/1.0.0/metadata.txt', 'mine');
    await mkdir(scene.path('elsewhere'));
    await rename(scene.path('plugins/link/1.0.0'), scene.path('elsewhere/1.0.0'));
    await symlink('../../elsewhere/1.0.0', scene.path('plugins/link/1.0.0'));
    await rm(scene.path('plugins/void'), { recursive: true });
    await scene.list({ a: '1.0.0' });
    const dry = await scene.sync('--dry-run');
    assert.match(dry.stdout, /extra +c 1\.0\.0 .*metadata\.json is missing.*leaves the catalog/);
    const elsewhere = await listing(scene.path('elsewhere'));
    const { code, stdout } = await scene.sync('--prune');
    assert.equal(code, 0);
    assert.match(stdout, /removed, .*: c\/1\.0\.0 \(some files were not removed\), void\/1\.0\.0$/m);
    assert.match(stdout, /as sync published them: c\/1\.0\.0\/metadata\.txt, link\/1\.0\.0 \(move/);
    assert.deepEqual(await filesOf(scene, 'c'), ['1.0.0/metadata.txt']);
    assert.deepEqual(await listing(scene.path('elsewhere')), elsewhere);
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0']);
  });
});

describe('a file that pruning has to leave', { concurrency: 2 }, () => {
  interface Finding {
    readonly kind: string;
    readonly path?: string;
  }

  async function checked(scene: Scene): Promise<string[]> {
    const { findings } = parsed<{ findings: readonly Finding[] }>(await scene.run(['check', '--format', 'json']));
    return findings.map(({ kind, path }) => `${kind} ${path}`);
  }

  for (const [what, spoil] of [
    ['is no JSON', (): string => 'spoiled'],
    ['was reformatted', (text: string): string => JSON.stringify(JSON.parse(text))],
  ] as const)
    it(
      `is told beforehand and afterwards, and is unknown from then on: a metadata.json that ${what}`,
      slowUnless(what === 'is no JSON'),
      async t => {
        const scene = await published(t);
        const file = 'plugins/c/1.0.0/metadata.json';
        await scene.write(file, spoil(await scene.read(file)));
        await scene.list({ a: '1.0.0' });
        const before = await listing(scene.dir);
        const dry = await scene.sync('--prune', '--dry-run');
        assert.match(
          dry.stdout,
          /^prune +c 1\.0\.0 +not in the manifest; some of it stays, .* not what was published: c\/1\.0\.0\/metadata\.json$/m,
        );
        const plan = await scene.sync('--prune', '--dry-run', '--format', 'json');
        const leftPaths = ['c/1.0.0/metadata.json'];
        assert.deepEqual(parsed<{ extras: object[] }>(plan).extras, [
          { name: 'c', version: '1.0.0', leftPaths, action: 'remove' },
        ]);
        assert.deepEqual(await listing(scene.dir), before);
        const { stdout } = await scene.sync('--prune');
        assert.match(stdout, /^ +removed, no longer in the manifest: c\/1\.0\.0 \(some files were not removed\)$/m);
        assert.match(stdout, /^ +left in place, because .*: c\/1\.0\.0\/metadata\.json \(move them away by hand\)$/m);
        assert.deepEqual(await filesOf(scene, 'c'), ['1.0.0/metadata.json']);
        assert.deepEqual(await checked(scene), ['unknown c']);
        const words = await scene.run(['check']);
        assert.match(words.stdout, /plugin-mirror never touches unknown files: move them out/);
        assert.doesNotMatch(words.stdout, /--prune/);
        const again = await scene.sync('--prune', '--dry-run');
        assert.doesNotMatch(again.stdout, /^prune/m);
        const pruned = await scene.sync('--prune');
        assert.match(pruned.stdout, /c\/1\.0\.0 \(metadata\.json .*\) \(delete their files by hand\)/);
        assert.doesNotMatch(pruned.stdout, /removed/);
        assert.deepEqual(await filesOf(scene, 'c'), ['1.0.0/metadata.json']);
      },
    );

  it('is reported once, with another version of its plugin published or missing', slow, async t => {
    const scene = await published(t);
    await scene.write('plugins/c/1.0.0/metadata.json', 'spoiled');
    scene.push('c', '2.0.0');
    await scene.list({ a: '1.0.0', c: '2.0.0' });
    await scene.sync('--prune');
    assert.deepEqual(await checked(scene), ['unknown c/1.0.0']);
    await rm(scene.path('plugins/c/2.0.0'), { recursive: true });
    await scene.sync('--prune', '--only', 'a');
    assert.deepEqual(await checked(scene), ['missing undefined', 'unknown c/1.0.0']);
  });

  it('does not report a version as both removed and kept', slow, async t => {
    const scene = await published(t);
    await rename(scene.path('plugins/c/1.0.0'), scene.path('elsewhere'));
    await symlink('../../elsewhere', scene.path('plugins/c/1.0.0'));
    await scene.list({ a: '1.0.0' });
    const dry = await scene.sync('--prune', '--dry-run');
    assert.match(dry.stdout, /^extra +c 1\.0\.0 .*; it stays, since it is not what was published: c\/1\.0\.0$/m);
    assert.doesNotMatch((await scene.sync('--prune')).stdout, /removed/);
  });
});

describe('a damaged version that the manifest no longer names', { concurrency: 2 }, () => {
  it('leaves the catalog, is reported, and the tree is intact again', async t => {
    const scene = await published(t, 'bare');
    await writeFile(scene.path('plugins/c/1.0.0/plugin.wasm'), 'spoiled');
    await rm(scene.path('plugins/bare/1.0.0/metadata.json'));
    await scene.list({ a: '1.0.0' });
    const verified = await scene.run(['verify']);
    assert.equal(verified.code, 1);
    assert.match(verified.stdout, /sync --prune removes versions that the manifest does not name/);
    const { code, stdout } = await scene.sync();
    assert.equal(code, 0);
    assert.match(
      stdout,
      /damaged and not in the manifest.*: bare\/1\.0\.0 \(.*\), c\/1\.0\.0 \(plugin\.wasm has 7 bytes/,
    );
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0']);
    assert.equal(await scene.read('plugins/c/1.0.0/plugin.wasm'), 'spoiled', 'nothing is deleted unasked');
    const after = await scene.run(['verify']);
    assert.equal(after.code, 3, 'what is left of them is unknown, and nothing is damaged');
  });

  it('stays published if only a document of it is damaged, and is reported', slow, async t => {
    const scene = await published(t);
    await writeFile(scene.path('plugins/c/1.0.0/metadata.txt'), 'spoiled');
    await scene.list({ a: '1.0.0' });
    const { stdout } = await scene.sync();
    assert.match(stdout, /also in the tree.*c\/1\.0\.0 \(metadata\.txt has 7 bytes.*--prune removes them/);
    assert.deepEqual(await versionsOf(scene), ['a/1.0.0', 'c/1.0.0']);
    await scene.sync('--prune');
    assert.deepEqual(await filesOf(scene, 'c'), ['1.0.0/metadata.txt']);
  });
});
