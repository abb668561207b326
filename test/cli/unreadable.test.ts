import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { openScene, parsed, type Ran, type RunOptions, type Scene, type SyncJson } from '../support/cli.ts';
import { asOtherUser, OTHER_USER } from '../support/otherUser.ts';
import { slow } from '../support/slow.ts';

const exec = promisify(execFile);

/** The tree is that user's. */
const uid = OTHER_USER;
const options: RunOptions = uid === undefined ? {} : { uid };

interface Owned {
  readonly scene: Scene;
  /** `plugin-mirror` as the owner of the tree. */
  readonly run: (...args: readonly string[]) => Promise<Ran>;
  readonly harm: (path: string) => Promise<void>;
}

/** A tree of b 1.0.0, c 1.0.0 and c 1.1.0 with the alias x of c 1.1.0, without b, whose owner is no root. */
async function owned(t: TestContext): Promise<Owned> {
  const harmed: string[] = [];
  // Before the folder goes, which a user who is no root could not empty.
  t.after(() => Promise.all(harmed.map(path => chmod(path, 0o755).catch(() => undefined))));
  const scene = await openScene(t);
  for (const [name, version] of [
    ['b', '1.0.0'],
    ['c', '1.0.0'],
    ['c', '1.1.0'],
  ] as const)
    scene.push(name, version);
  await scene.list({ b: '1.0.0', c: { versions: ['1.0.0', '1.1.0'], aliases: { x: '1.1.0' } } });
  assert.equal((await scene.sync()).code, 0);
  await chmod(scene.dir, 0o755);
  if (uid !== undefined) await exec('chown', ['-R', String(uid), scene.dir]);
  await rm(scene.path('plugins/b'), { recursive: true });
  const harm = async (path: string): Promise<void> => {
    harmed.push(scene.path('plugins', path));
    await chmod(scene.path('plugins', path), 0);
  };
  return { scene, run: (...args) => scene.run(args, options), harm };
}

async function listedIn(scene: Scene): Promise<string[]> {
  const { plugins } = await scene.json<{ plugins: { name: string; versions: { version: string }[] }[] }>(
    'plugins/index.json',
  );
  return plugins.flatMap(({ name, versions }) => versions.map(({ version }) => `${name} ${version}`));
}

const ALL = ['b 1.0.0', 'c 1.0.0', 'c 1.1.0', 'c x'];

describe('a published file without read permission', { concurrency: 2, ...asOtherUser }, () => {
  it('is damage that the owner of the tree repairs, whichever file it is', slow, async t => {
    const { scene, run, harm } = await owned(t);
    const files = await readdir(scene.path('plugins/c/1.1.0'));
    assert.ok(files.includes('metadata.json') && files.includes('plugin.wasm'));
    for (const harms of [
      ['c/1.1.0/plugin.wasm'],
      ['c/1.1.0/metadata.json', 'c/1.0.0/metadata.txt', 'c/x/plugin.wasm', 'snapshot-inventory.json'],
      files.map(file => `c/1.1.0/${file}`),
    ]) {
      await rm(scene.path('plugins/b'), { recursive: true, force: true });
      for (const path of harms) await harm(path);
      const dry = await run('sync', '--dry-run');
      assert.equal(dry.code, 0, dry.stderr);
      assert.match(dry.stdout, /^fetch +c 1\.1\.0 .* may not be read by this user$/m);
      assert.match(dry.stdout, /^fetch +b 1\.0\.0 /m);
      const ran = await run('sync');
      assert.equal(ran.code, 0, ran.stderr);
      assert.match(ran.stdout, /✓ 4 of 4/);
      assert.deepEqual(await listedIn(scene), ALL);
      const verified = await run('verify');
      assert.equal(verified.code, 0, verified.stdout);
    }
  });

  it('does not stop the versions that --only selects', slow, async t => {
    const { scene, run, harm } = await owned(t);
    await harm('c/1.1.0/plugin.wasm');
    const ran = await run('sync', '--frozen', '--only', 'b');
    assert.equal(ran.code, 1, ran.stderr);
    assert.match(ran.stderr, /UNSELECTED_DAMAGED.*c 1\.1\.0: plugin\.wasm may not be read/s);
    assert.match(ran.stdout, /1 of 1/);
    assert.ok((await listedIn(scene)).includes('b 1.0.0'));
    assert.equal((await run('sync', '--frozen')).code, 0);
    assert.deepEqual(await listedIn(scene), ALL);
  });

  it('is named if the manifest does not name its version', slow, async t => {
    const { scene, run, harm } = await owned(t);
    await scene.list({ b: '1.0.0', c: '1.0.0' });
    await harm('c/1.1.0/metadata.txt');
    await harm('c/x/plugin.wasm');
    const dry = await run('sync', '--dry-run');
    assert.equal(dry.code, 0, dry.stderr);
    assert.match(dry.stdout, /^extra +c 1\.1\.0 .*damaged \(metadata\.txt may not be read by this user\)$/m);
    assert.match(dry.stdout, /^extra +c x .*damaged \(plugin\.wasm may not be read .*\), so it leaves the catalog$/m);
    const ran = await run('sync');
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /also in the tree.*: c\/1\.1\.0 \(metadata\.txt may not be read by this user\)/);
    assert.match(ran.stdout, /damaged and not in the manifest.*: c\/x \(plugin\.wasm may not be read/);
    assert.deepEqual(await listedIn(scene), ['b 1.0.0', 'c 1.0.0', 'c 1.1.0'], 'its plugin.wasm is whole');
    const pruned = await run('sync', '--prune');
    assert.equal(pruned.code, 0, pruned.stderr);
    assert.match(pruned.stdout, /left in place, because .*: c\/1\.1\.0\/metadata\.txt, c\/x\/plugin\.wasm \(move/);
    assert.deepEqual(await listedIn(scene), ['b 1.0.0', 'c 1.0.0']);
  });
});

describe('a version’s folder without read permission', { concurrency: 2, ...asOtherUser }, () => {
  it('fails only that version, before any of its blobs is downloaded', slow, async t => {
    const { scene, run, harm } = await owned(t);
    await harm('c/1.1.0');
    await harm('c/x');
    await rm(scene.path('home/cache'), { recursive: true });
    const dry = await run('sync', '--dry-run');
    assert.equal(dry.code, 1);
    assert.match(dry.stdout, /^fetch +b 1\.0\.0 /m);
    assert.match(dry.stdout, /^fail +c 1\.1\.0 +This user may not read /m);
    scene.registry.reset();
    const ran = await run('sync', '--format', 'json');
    assert.equal(ran.code, 1);
    const told = parsed<SyncJson>(ran).plugins.map(it => `${it.name} ${it.version} ${it.error?.code ?? it.status}`);
    assert.deepEqual(told, ['b 1.0.0 fetched', 'c 1.0.0 kept', 'c 1.1.0 TREE_UNREADABLE', 'c x ALIAS_TARGET_FAILED']);
    assert.equal(
      scene.registry.count(it => it.kind === 'blob' && it.path.includes('/plugins/c/')),
      0,
    );
    assert.deepEqual(await listedIn(scene), ['b 1.0.0', 'c 1.0.0']);
    await chmod(scene.path('plugins/c/1.1.0'), 0o755);
    const alias = await run('sync', '--dry-run');
    assert.match(alias.stdout, /^fail +c x → 1\.1\.0 +This user may not read /m);
  });

  it('or without write permission, or that of a whole plugin, stops no other plugin', slow, async t => {
    const { scene, run, harm } = await owned(t);
    await harm('c/1.1.0/plugin.wasm');
    await chmod(scene.path('plugins/c/1.1.0'), 0o555);
    const codes = async (...args: string[]) =>
      parsed<SyncJson>(await run('sync', '--format', 'json', ...args)).plugins.map(it => it.error?.code ?? it.status);
    assert.deepEqual(await codes(), ['fetched', 'kept', 'TREE_NOT_WRITABLE', 'ALIAS_TARGET_FAILED']);
    await chmod(scene.path('plugins/c/1.1.0'), 0o755);
    await rm(scene.path('plugins/b'), { recursive: true });
    await harm('c');
    const barred = ['TREE_UNREADABLE', 'TREE_UNREADABLE', 'ALIAS_TARGET_FAILED'];
    const dry = await run('sync', '--dry-run');
    assert.match(dry.stdout, /^fetch +b 1\.0\.0 /m);
    assert.match(dry.stderr, /^error TREE_UNREADABLE .*plugins\/c$/m);
    assert.deepEqual(await codes(), ['fetched', ...barred]);
    assert.deepEqual(await codes('--only', 'b'), ['kept']);
    await chmod(scene.path('plugins/c'), 0o755);
    assert.equal((await run('sync')).code, 0);
    assert.deepEqual(await listedIn(scene), ALL);
  });

  it('is left alone and reported if the manifest does not name it', slow, async t => {
    const { scene, run, harm } = await owned(t);
    await scene.list({ b: '1.0.0', c: '1.0.0' });
    await harm('c/1.1.0');
    for (const args of [['--dry-run'], ['--prune', '--dry-run'], ['--prune']]) {
      const ran = await run('sync', ...args);
      assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
      assert.match(ran.stdout, /c[ /]1\.1\.0/, args.join(' '));
    }
    assert.deepEqual(await listedIn(scene), ['b 1.0.0', 'c 1.0.0']);
  });
});

describe('a folder of the volume or of another program', { concurrency: 2, ...asOtherUser }, () => {
  it('keeps no catalog from being written', slow, async t => {
    const { scene, run, harm } = await owned(t);
    for (const folder of ['lost+found', '@eaDir', 'System Volume Information', 'backup']) {
      await mkdir(scene.path('plugins', folder));
      await harm(folder);
    }
    await rm(scene.path('plugins/index.json'));
    const ran = await run('sync', '--prune');
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /^warning: .*plugins\/backup: this user may not read that folder/m);
    assert.doesNotMatch(ran.stdout + ran.stderr, /lost\+found|@eaDir|System Volume/);
    assert.deepEqual(await listedIn(scene), ALL);
    const check = await run('check');
    assert.match(check.stdout, /backup/);
    assert.doesNotMatch(check.stdout, /lost\+found|@eaDir|System Volume/);
    await rmdir(scene.path('plugins/backup'));
    for (const command of ['check', 'outdated', 'verify']) {
      const passed = await run(command);
      assert.equal(passed.code, 0, `${command}: ${passed.stdout}${passed.stderr}`);
    }
  });
});
