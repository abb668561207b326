import assert from 'node:assert/strict';
import { type SpawnOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import process from 'node:process';
import { describe, it } from 'node:test';
import { ENTRY, type ErrorJson, listing, openScene, parsed, type Scene, watch } from '../support/cli.ts';
import { imageFormC } from '../support/images.ts';
import { sample, slow } from '../support/slow.ts';

async function twoPlugins(scene: Scene): Promise<void> {
  for (const name of ['ai-proxy', 'cors']) scene.push(name, '1.0.0');
  await scene.list({ 'ai-proxy': '1.0.0', cors: '1.0.0' });
}

const published = (scene: Scene, name: string, tree = 'plugins') =>
  existsSync(scene.path(tree, name, '1.0.0/plugin.wasm'));

describe('options of sync', { concurrency: 4 }, () => {
  it('have variables, and the command line wins over them', async t => {
    const scene = await openScene(t);
    await twoPlugins(scene);
    await scene.write('lists/other.json', await scene.read('manifest.json'));
    const env = {
      PLUGIN_MIRROR_MANIFEST: 'lists/other.json',
      PLUGIN_MIRROR_OUT: 'from-env',
      PLUGIN_MIRROR_ONLY: 'ai-*, nothing-but-a-glob-that-fits-not',
      PLUGIN_MIRROR_FORMAT: 'json',
      PLUGIN_MIRROR_CONCURRENCY: '1',
      PLUGIN_MIRROR_CACHE_DIR: 'blobs',
      PLUGIN_MIRROR_NO_LOCK: 'yes',
    };
    const wrong = await scene.run(['sync'], { env });
    assert.equal(wrong.code, 2, 'a glob that fits nothing is told, wherever it came from');
    const ran = await scene.run(['sync', '--out', 'from-line'], { env: { ...env, PLUGIN_MIRROR_ONLY: 'ai-*' } });
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(parsed<{ plugins: unknown[] }>(ran).plugins.length, 1);
    assert.ok(published(scene, 'ai-proxy', 'from-line'));
    for (const absent of ['from-env', 'plugins', 'from-line/cors', 'lists/other.lock.json'])
      assert.ok(!existsSync(scene.path(absent)), absent);
    assert.ok(existsSync(scene.path('blobs')));
  });

  it('ignore empty variables, and take false for off', slow, async t => {
    const scene = await openScene(t);
    await twoPlugins(scene);
    const names = ['MANIFEST', 'OUT', 'REGISTRY', 'ENGINE', 'CONCURRENCY', 'ONLY', 'PLAIN_HTTP', 'INSECURE', 'CA_FILE'];
    const more = [
      'REGISTRY_CONFIG',
      'PLATFORM',
      'TIMEOUT',
      'RETRIES',
      'FORMAT',
      'FROZEN',
      'UPDATE',
      'PRUNE',
      'USERNAME',
    ];
    const empty = Object.fromEntries([...names, ...more].map(name => [`PLUGIN_MIRROR_${name}`, '']));
    assert.equal((await scene.run(['sync'], { env: empty })).code, 0);
    assert.ok(published(scene, 'cors'));
    await scene.list({ cors: '1.0.0' });
    const off = { PLUGIN_MIRROR_PRUNE: 'false', PLUGIN_MIRROR_FROZEN: '0', PLUGIN_MIRROR_NO_LOCK: 'off', CI: 'true' };
    const ran = await scene.run(['sync'], { env: off });
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(published(scene, 'ai-proxy'), 'not pruned');
    assert.doesNotMatch(await scene.read('manifest.lock.json'), /ai-proxy/, 'the lock was renewed though CI is set');
    const on = await scene.run(['sync'], { env: { PLUGIN_MIRROR_PRUNE: 'TRUE', PLUGIN_MIRROR_UPDATE: 'true' } });
    assert.equal(on.code, 0, on.stderr);
    assert.ok(!published(scene, 'ai-proxy'), 'pruned');
    const odd = await scene.run(['sync'], { env: { PLUGIN_MIRROR_PRUNE: 'maybe' } });
    assert.equal(odd.code, 2);
    assert.match(odd.stderr, /PLUGIN_MIRROR_PRUNE=maybe.*--prune/);
  });

  it('--only takes globs over NAME and NAME/VERSION, and leaves the rest of the tree and the lock unchanged', async t => {
    const scene = await openScene(t);
    for (const version of ['1.0.0', '2.0.0']) scene.push('a', version);
    scene.push('b', '1.0.0');
    await scene.list({ a: { versions: ['1.0.0', '2.0.0'], aliases: { old: '1.0.0' } }, b: '1.0.0' });
    assert.equal((await scene.sync('--only', 'a/2.*', 'b')).code, 0);
    const first = await scene.read('manifest.lock.json');
    const { report } = await scene.report('--only', 'a/old');
    assert.deepEqual(
      report.plugins.map(({ name, version, status }) => [name, version, status]),
      [
        ['a', '1.0.0', 'fetched'],
        ['a', 'old', 'aliased'],
      ],
    );
    const second = await scene.json<{ plugins: Record<string, object> }>('manifest.lock.json');
    assert.deepEqual(Object.keys(second.plugins.a ?? {}), ['1.0.0', '2.0.0']);
    assert.ok(second.plugins.b && first.includes('"b"'));
    assert.equal((await scene.run(['verify'])).code, 0);
    assert.equal((await scene.sync('--only', 'nope')).code, 2);
    assert.match((await scene.sync('--only', 'nope')).stderr, /SELECTION_EMPTY/);
  });

  it('--only !GLOB excludes from the matches of the other globs, or from everything', slow, async t => {
    const scene = await openScene(t);
    for (const name of ['big-a', 'big-b', 'c', 'd']) scene.push(name, '1.0.0');
    scene.push('c', '2.0.0');
    const single = { 'big-a': '1.0.0', 'big-b': '1.0.0', d: '1.0.0' };
    await scene.list({ ...single, c: { versions: ['1.0.0', '2.0.0'], aliases: { old: '1.0.0' } } });
    const planned = async (...globs: string[]) => {
      const ran = await scene.sync('--dry-run', '--format', 'json', ...globs.flatMap(glob => ['--only', glob]));
      const { plugins } = parsed<{ plugins?: { name: string; version: string }[] }>(ran);
      return plugins?.map(({ name, version }) => `${name}/${version}`).sort() ?? ran.code;
    };
    const small = ['c/1.0.0', 'c/2.0.0', 'c/old', 'd/1.0.0'];
    for (const [globs, expected] of [
      [['!big*'], small],
      [['!(big*)'], small],
      [['!big-a', '!big-b/1.*'], small],
      [
        ['!big*', '!c/2.*'],
        ['c/1.0.0', 'c/old', 'd/1.0.0'],
      ],
      [['!!(c|d)'], ['c/1.0.0', 'c/2.0.0', 'c/old', 'd/1.0.0']],
      [
        ['!big-a', 'big*', 'd'],
        ['big-b/1.0.0', 'd/1.0.0'],
      ],
      [['c', '!c/1.0.0'], ['c/2.0.0']],
      [['c/old', '!c/1.0.0'], 2],
      [['big*', '!big*'], 2],
      [['!nope'], 2],
      [['c', '!nope'], 2],
      [['!'], 2],
    ] as const)
      assert.deepEqual(await planned(...globs), expected, globs.join(' '));
    assert.match((await scene.sync('--only', '!c', 'c')).stderr, /SELECTION_EMPTY.*\n?.*--only !c c leaves no plugin/);
  });

  it('--registry rewrites every image, prefix included, and the lock keeps the manifest’s own names', slow, async t => {
    const scene = await openScene(t);
    const prefixed = 'team/higress/plugins/a';
    scene.registry.push(prefixed, '1.0.0', imageFormC({ wasm: scene.push('a', '9') }));
    await scene.write('manifest.json', '{"registry":"registry.invalid","plugins":{"a":"1.0.0"}}');
    const { ran, report } = await scene.report('--registry', `${scene.registry.host}/team/higress`);
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(scene.registry.count({ path: `/v2/${prefixed}/` }), scene.registry.count());
    assert.equal(report.plugins[0]?.reference, `${scene.registry.host}/${prefixed}:1.0.0`);
    assert.match(await scene.read('manifest.lock.json'), /registry\.invalid\/plugins\/a:1\.0\.0/);
    const again = await scene.run(['sync'], { env: { PLUGIN_MIRROR_REGISTRY: `${scene.registry.host}/team/higress` } });
    assert.match(again.stdout, /1 kept/);
    for (const wrong of ['', 'http://x/y', 'x/../y'])
      assert.equal((await scene.sync('--registry', wrong)).code, 2, wrong);
  });

  const refused: readonly (readonly [string, readonly string[]])[] = [
    ['--engine', ['curl']],
    ['--concurrency', ['0']],
    ['--concurrency', ['1e1']],
    ['--timeout', ['0']],
    ['--out', ['']],
    ['--only', ['']],
    ['--update', ['nobody']],
    ['--platform', ['windows']],
    ['--ca-file', ['nowhere.pem']],
    ['--cert-file', ['manifest.json']],
    ['--username', ['me']],
    ['--frozen', ['--update']],
    ['--frozen', ['--no-lock']],
  ];
  it('that cannot be used end in 2, are named and change nothing', async t => {
    const scene = await openScene(t);
    await twoPlugins(scene);
    const before = await listing(scene.dir);
    for (const [option, rest] of sample(refused, 3)) {
      const ran = await scene.sync(option, ...rest);
      assert.equal(ran.code, 2, `${option} ${rest}: ${ran.code} ${ran.stderr}`);
      assert.ok(ran.stderr.includes(rest[0] === 'nobody' ? rest[0] : option) || option === '--platform', ran.stderr);
      assert.equal(ran.stdout, '');
    }
    assert.deepEqual(await listing(scene.dir), before);
    assert.equal(scene.registry.count(), 0);
    const json = await scene.sync('--format', 'json', '--ca-file', 'nowhere.pem');
    assert.equal(parsed<{ error: ErrorJson }>(json).error.code, 'OPTION_INVALID');
  });
});

describe('the command itself', { concurrency: 4 }, () => {
  it('prints help, and suggests a command for a misspelled one', async t => {
    const scene = await openScene(t);
    const help = await scene.run(['--help']);
    assert.equal(help.code, 0);
    for (const command of ['sync', 'serve', 'check', 'verify', 'outdated', 'import', 'cache'])
      assert.match(help.stdout, new RegExp(`^  ${command} `, 'm'));
    assert.match((await scene.run(['sync', '--help-all'])).stdout, /PLUGIN_MIRROR_TREE/);
    assert.equal((await scene.run([])).code, 2);
    const typo = await scene.run(['synk']);
    assert.deepEqual([typo.code, typo.stdout], [2, '']);
    assert.match(typo.stderr, /sync/);
  });
  it('refuses a URL instead of a path, and does not print its login', async t => {
    const scene = await openScene(t);
    for (const words of sample([
      ['sync', '--manifest'],
      ['sync', '--out'],
      ['check', '--ca-file'],
      ['import'],
      ['serve', '--tree'],
    ])) {
      const ran = await scene.run([...words, 'https://bob:pw-in-url@example.com/list']);
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, /Expected a path on this machine, not a URL/);
      assert.ok(!ran.stderr.includes('pw-in-url'), ran.stderr);
    }
  });

  it('clears only its own cache if a variable is empty', async t => {
    const scene = await openScene(t);
    await scene.write('precious', 'x');
    const ran = await scene.run(['cache', 'clean'], { env: { PLUGIN_MIRROR_CACHE_DIR: '' } });
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /home\/cache\/plugin-mirror\/blobs/);
    assert.equal((await scene.run(['cache', 'clean', '--cache-dir', '.'])).code, 0);
    assert.equal(await scene.read('precious'), 'x');
  });

  it('ends in 2 if every plugin fails because of the same unusable option', slow, async t => {
    const scene = await openScene(t);
    await twoPlugins(scene);
    await scene.write('garbage.pem', 'no certificate');
    for (const [args, env] of [
      [['--registry', 'registry.invalid', '--ca-file', 'garbage.pem'], {}],
      [['--registry', 'registry.invalid', '--retries', '0'], { HTTPS_PROXY: 'http://[x' }],
    ] as const) {
      const ran = await scene.run(['sync', ...args], { env });
      assert.match(ran.stderr, /REGISTRY_OPTIONS/);
      assert.equal(ran.code, 2, ran.stderr);
    }
  });

  it('reports that the current folder was deleted, and blames no tree or manifest', async t => {
    const scene = await openScene(t);
    const script = 'cd "$1" && rmdir "$1" && shift && exec "$@"';
    const options: SpawnOptions = { env: scene.environment(), stdio: ['ignore', 'pipe', 'pipe'] };
    for (const command of sample(['list', 'sync', 'verify', 'serve', 'urls', 'check'], 2)) {
      await mkdir(scene.path('gone'));
      const args = ['-c', script, 'sh', scene.path('gone'), process.execPath, ENTRY, command];
      const ran = await watch(spawn('sh', args, options)).ended;
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, /^plugin-mirror: the current folder does not exist any more.*\n$/);
    }
  });
});
