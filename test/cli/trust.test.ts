import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { lockfilePath } from '../../mirror/lockfile/lockfile.ts';
import { listing, openScene, parsed, type Scene } from '../support/cli.ts';
import { hang, status } from '../support/faults.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { asOtherUser, OTHER_USER } from '../support/otherUser.ts';
import { startRegistry } from '../support/registry.ts';
import { slow } from '../support/slow.ts';

const run = promisify(execFile);

interface EntryText {
  readonly reference?: string;
  readonly layer?: object;
  readonly annotations?: object;
}
type LockText = Readonly<Record<'a' | 'own', { readonly '1': EntryText }>>;

async function synced(scene: Scene, ...names: readonly string[]): Promise<void> {
  for (const name of names) scene.push(name, '1');
  await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
  assert.equal((await scene.sync()).code, 0);
}

describe('a locked image', { concurrency: 3 }, () => {
  it('that is gone from the registry is reported, with a remedy', slow, async t => {
    const scene = await openScene(t);
    await synced(scene, 'a');
    const { digest } = imageFormC({ wasm: buildModule({ seed: 'a 1' }), version: '1' });
    scene.registry.remove('plugins/a', digest);
    const fresh = scene.push('a', '1', undefined, 'fresh');
    for (const path of ['plugins', 'home/cache']) await rm(scene.path(path), { recursive: true });
    for (const frozen of [['--frozen'], ['--no-frozen']]) {
      const { ran, report } = await scene.report(...frozen);
      assert.equal(ran.code, 1);
      const error = report.plugins[0]?.error;
      assert.equal(error?.code, 'LOCK_IMAGE_GONE', ran.stderr);
      assert.ok(error.message.includes(`no longer has the locked image ${digest}`), error.message);
      assert.match(error.hint, /plugin-mirror sync --update a/);
    }
    assert.equal((await scene.sync('--update', 'a')).code, 0);
    assert.ok(fresh.equals(await readFile(scene.path('plugins/a/1/plugin.wasm'))));
    // What the manifest itself pins no update would change.
    await scene.list({ a: `1@sha256:${'0'.repeat(64)}` });
    assert.equal((await scene.report()).report.plugins[0]?.error?.code, 'REGISTRY_NOT_FOUND');
  });

  it('is compared with the tree in all fields that both have, by verify --lock', slow, async t => {
    const scene = await openScene(t);
    await scene.write('own.wasm', buildModule({ seed: 'own' }));
    scene.push('a', '1');
    await scene.list({ a: '1', own: { file: 'own.wasm', versions: ['1'] } });
    await scene.sync();
    const text = await scene.read('manifest.lock.json');
    const edits: readonly (readonly [(lock: LockText) => void, RegExp])[] = [
      [
        ({ a }) => Object.assign(a['1'].layer ?? {}, { digest: `sha256:${'f'.repeat(64)}` }),
        /a 1 has its plugin\.wasm from the layer sha256:/,
      ],
      [
        ({ a }) => Object.assign(a['1'].layer ?? {}, { sizeBytes: 7 }),
        /a 1 has the layer’s size \d+ in the tree, 7 in the lock/,
      ],
      [
        ({ a }) => Object.assign(a['1'].layer ?? {}, { mediaType: 'x/y' }),
        /a 1 has the layer’s media type .* x\/y in the lock/,
      ],
      [
        ({ a }) => Object.assign(a['1'], { sizeBytes: 7 }),
        /a 1 has the size of plugin\.wasm \d+ in the tree, 7 in the lock/,
      ],
      [
        ({ a }) => Object.assign(a['1'], { platform: 'linux/arm64' }),
        /a 1 has the platform none in the tree, linux\/arm64/,
      ],
      [
        ({ a }) => Object.assign(a['1'], { reference: a['1'].reference?.replace(':1', ':2') }),
        /a 1 has the origin .*a:1 in the tree, .*a:2 in the lock/,
      ],
      [
        ({ a }) => Object.assign(a['1'], { reference: a['1'].reference?.replace('plugins/', 'fork/') }),
        /a 1 has the origin/,
      ],
      [
        ({ a }) => Object.assign(a['1'].annotations ?? {}, { 'org.opencontainers.image.revision': 'x' }),
        /a 1 has the annotation org\.opencontainers\.image\.revision/,
      ],
      [({ own }) => Object.assign(own['1'], { sizeBytes: 9 }), /own 1 has the size of plugin\.wasm/],
      [
        ({ own }) => Object.assign(own['1'], { file: 'b.wasm' }),
        /own 1 has the origin file:own\.wasm in the tree, file:b\.wasm/,
      ],
    ];
    for (const [edit, words] of edits) {
      const lock = JSON.parse(text) as { plugins: LockText };
      edit(lock.plugins);
      await scene.write('manifest.lock.json', JSON.stringify(lock));
      const ran = await scene.run(['verify', '--lock', 'manifest.lock.json']);
      assert.equal(ran.code, 3, `${words}: ${ran.stdout}${ran.stderr}`);
      assert.match(ran.stdout, words);
      assert.doesNotMatch(ran.stdout, /--frozen --prune/);
    }
    await scene.write('manifest.lock.json', text);
    assert.equal((await scene.run(['verify', '--lock', 'manifest.lock.json'])).code, 0);
    // Another place that stands for the registry is no disagreement.
    scene.registry.push('mirrored/plugins/a', '1', imageFormC({ wasm: buildModule({ seed: 'a 1' }), version: '1' }));
    await rm(scene.path('plugins'), { recursive: true });
    assert.equal((await scene.sync('--registry', `${scene.registry.host}/mirrored`)).code, 0);
    assert.equal((await scene.run(['verify', '--lock', 'manifest.lock.json'])).code, 0);
  });

  it(
    'lets a mirror have a prefix of its own in the place of the manifest’s, and says on from where the bytes came',
    slow,
    async t => {
      const scene = await openScene(t);
      const { host } = scene.registry;
      for (const prefix of ['own', 'mirrored'])
        for (const name of ['plugins/a', 'bare'])
          scene.registry.push(
            `${prefix}/${name}`,
            '1',
            imageFormC({ wasm: buildModule({ seed: name }), version: '1' }),
          );
      const plugins = { a: '1', bare: { image: 'bare', versions: ['1'] } };
      await scene.list(plugins, { registry: `${host}/own` });
      const elsewhere = ['--registry', `${host.replace('127.0.0.1', 'localhost')}/mirrored`];
      assert.equal((await scene.sync(...elsewhere)).code, 0);
      const before = await listing(scene.path('plugins'));
      for (const words of [
        ['check', ...elsewhere],
        ['check'],
        ['verify', '--lock', 'manifest.lock.json'],
        ['sync', '--frozen'],
        ['sync', '--frozen', ...elsewhere],
      ]) {
        const ran = await scene.run(words);
        assert.equal(ran.code, 0, `${words}: ${ran.stdout}${ran.stderr}`);
      }
      assert.deepEqual(await listing(scene.path('plugins')), before);
      // On one host a path is a path, and only who is told of the mirror knows better.
      await rm(scene.path('plugins'), { recursive: true });
      assert.equal((await scene.sync('--registry', `${host}/mirrored`)).code, 0);
      assert.equal((await scene.run(['check', '--registry', `${host}/mirrored`])).code, 0);
      assert.match((await scene.run(['check'])).stdout, /unlocked +a 1 +it has the origin .*mirrored.*own/);
    },
  );
});

describe('a locked version that has changed', { concurrency: 3 }, () => {
  it('is drift if it is a local file, and the new bytes are published', async t => {
    const scene = await openScene(t);
    await scene.write('own.wasm', buildModule({ seed: 'first' }));
    await scene.list({ own: { file: 'own.wasm', versions: ['1'] } });
    await scene.sync();
    const { sha256: before } = (await scene.report()).report.plugins[0] ?? {};
    await scene.write('own.wasm', buildModule({ seed: 'second' }));
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 0);
    const { sha256 } = report.plugins[0] ?? {};
    assert.deepEqual(report.drift, [
      {
        name: 'own',
        version: '1',
        reference: 'file:own.wasm',
        lockedDigest: `sha256:${before}`,
        foundDigest: `sha256:${sha256}`,
        local: true,
      },
    ]);
    assert.match(ran.stderr, /drift own 1: file:own\.wasm has changed since it was locked/);
    assert.doesNotMatch(ran.stderr, /--update/);
    assert.deepEqual((await scene.report()).report.drift, []);
    await scene.write('own.wasm', buildModule({ seed: 'third' }));
    assert.match((await scene.sync('--dry-run')).stdout, /drift +own 1/);
    assert.doesNotMatch((await scene.sync('--update', 'own')).stderr, /drift/, 'it was asked for');
  });

  it('--update of a plugin that --only leaves out is refused', async t => {
    const scene = await openScene(t);
    await synced(scene, 'a', 'b');
    const ran = await scene.sync('--only', 'a', '--update', 'b');
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /SELECTION_EMPTY.*--update b: --only leaves this plugin out/);
    assert.equal((await scene.sync('--only', 'a', 'b', '--update', 'b')).code, 0);
  });
});

describe('a catalog of a later version', { concurrency: 3 }, () => {
  it('is never overwritten: sync ends in 1 and changes nothing', async t => {
    const scene = await openScene(t);
    await synced(scene, 'a');
    await scene.write('plugins/index.json', '{"schemaVersion":2,"tree":"","plugins":[]}');
    scene.push('b', '1');
    await scene.list({ b: '1' });
    const before = await listing(scene.dir);
    for (const args of [[], ['--prune'], ['--no-lock'], ['--only', 'b'], ['--dry-run'], ['--deadline', '0.1']]) {
      const ran = await scene.sync(...args);
      assert.equal(ran.code, 1, args.join(' '));
      assert.match(ran.stderr, /CATALOG_NEWER|SYNC_DEADLINE/, args.join(' '));
      assert.deepEqual(
        { ...(await listing(scene.dir)), 'plugins/': '' },
        { ...before, 'plugins/': '' },
        args.join(' '),
      );
    }
    assert.equal((await scene.run(['check'])).code, 1);
  });
});

const uid = OTHER_USER;

describe('a read-only tree', { ...asOtherUser, concurrency: 3 }, () => {
  it('is kept by a frozen run that has nothing to write, and refused otherwise', slow, async t => {
    const scene = await openScene(t);
    for (const name of ['a', 'b']) scene.push(name, '1');
    await scene.list({ a: { versions: ['1'], aliases: { x: '1' } }, b: '1' });
    assert.equal((await scene.sync('--compress', 'gzip')).code, 0);
    await chmod(scene.dir, 0o755);
    if (uid !== undefined) for (const path of ['home', 'tmp']) await chown(scene.path(path), uid, uid);
    await rm(scene.path('home/cache'), { recursive: true });
    const folders = ['', '/a', '/a/1', '/a/x', '/b', '/b/1'].map(path => scene.path(`plugins${path}`));
    for (const folder of folders) await chmod(folder, 0o555);
    const options = uid === undefined ? {} : { uid };
    const before = await listing(scene.dir);
    scene.registry.reset();
    const frozen = (...args: string[]) =>
      scene.run(['sync', '--frozen', '--compress', 'gzip', '--format', 'json', ...args], options);
    for (const args of [[], ['--prune'], ['--rehash'], ['--only', 'a']]) {
      const ran = await frozen(...args);
      assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
      const { totals, plugins } = parsed<{ totals: Record<string, number>; plugins: object[] }>(ran);
      assert.deepEqual([totals.kept, totals.aliased, plugins.length], args[1] === 'a' ? [1, 1, 2] : [2, 1, 3]);
    }
    assert.deepEqual(await listing(scene.dir), before);
    const without = await scene.run(['sync', '--frozen'], options);
    assert.equal(without.code, 1, 'its compressed forms would have to go');
    assert.match(without.stderr, /TREE_NOT_WRITABLE/);
    await chmod(scene.path('plugins/a/x'), 0o755);
    await rm(scene.path('plugins/a/x/plugin.wasm'));
    assert.match((await frozen()).stderr, /TREE_NOT_WRITABLE/);
    assert.equal(scene.registry.count(), 0);
    // A user other than root can only remove what may be written to.
    for (const folder of folders) await chmod(folder, 0o755);
  });
});

describe('outdated after a bump in the manifest', { concurrency: 3 }, () => {
  it('shows what the tree and the lock still have', slow, async t => {
    const scene = await openScene(t);
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) scene.push('a', version);
    scene.push('b', '1.0.0');
    await scene.list({ a: { versions: ['1.0.0'], aliases: { '0.9.0': '1.0.0', '9.9.9': '1.0.0' } }, b: '1.0.0' });
    await scene.sync();
    const rows = async () =>
      parsed<{ plugins: Record<string, unknown>[] }>(await scene.run(['outdated', '--format', 'json'])).plugins;
    await scene.list({ a: '2.0.0', b: '1.0.0' });
    const repository = `${scene.registry.host}/plugins/a`;
    const known = { name: 'a', repository, current: '1.0.0', wanted: '2.0.0', locked: '1.0.0', behind: true };
    assert.deepEqual(await rows(), [{ ...known, latest: '3.0.0', outdated: true }]);
    await scene.list({ a: '3.0.0', b: '1.0.0' });
    assert.deepEqual(await rows(), [{ ...known, wanted: '3.0.0', latest: '3.0.0', outdated: false }]);
    assert.match((await scene.run(['outdated'])).stdout, /^a +1\.0\.0 +3\.0\.0 +1\.0\.0 +3\.0\.0/m);
    await scene.sync();
    assert.deepEqual(await rows(), []);
  });
});

describe('outdated for a version that is not semantic', { concurrency: 3 }, () => {
  it('calls no version newer than it', async t => {
    const scene = await openScene(t);
    for (const version of ['main', '1.0.0']) scene.push('a', version);
    await scene.list({ a: '1.0.0' });
    await scene.sync();
    await scene.list({ a: 'main' });
    const ran = await scene.run(['outdated', '--all', '--format', 'json']);
    assert.equal(ran.code, 0, ran.stderr);
    const [row] = parsed<{ plugins: Record<string, unknown>[] }>(ran).plugins;
    assert.deepEqual([row?.wanted, row?.latest, row?.outdated, row?.behind], ['main', '1.0.0', false, false]);
  });
});

describe('outdated with mirrors', { concurrency: 3 }, () => {
  /** The mirror and the registry itself have a newer version each. */
  async function mirrored(t: Parameters<typeof openScene>[0], mirrorHas: readonly string[]) {
    const scene = await openScene(t);
    const mirror = await startRegistry();
    t.after(() => mirror.close());
    for (const version of ['1.0.0', '2.0.0']) scene.push('a', version);
    const image = imageFormC({ wasm: buildModule({ sizeBytes: 1000 }) });
    for (const version of mirrorHas) mirror.push('cached/plugins/a', version, image);
    await scene.list({ a: '1.0.0' }, { mirrors: { [scene.registry.host]: [`${mirror.host}/cached`] } });
    const ask = async (...args: string[]) => {
      const ran = await scene.run(['outdated', '--format', 'json', '--retries', '1', ...args]);
      assert.equal(ran.code, 0, ran.stderr);
      const [row] = parsed<{
        plugins: { latest?: string; unheard?: { registry: string; error: { code: string } }[] }[];
      }>(ran).plugins;
      return { latest: row?.latest, silent: row?.unheard?.map(it => [it.registry, it.error.code]), stderr: ran.stderr };
    };
    return { scene, mirror, ask };
  }

  it('counts the versions of each, and a mirror without the repository has none', async t => {
    const some = await mirrored(t, ['1.0.0', '1.1.0']);
    assert.deepEqual(await some.ask(), { latest: '2.0.0', silent: undefined, stderr: '' });
    some.mirror.push('cached/plugins/a', '3.0.0', imageFormC({ wasm: buildModule({ sizeBytes: 1000 }) }));
    assert.deepEqual(await some.ask(), { latest: '3.0.0', silent: undefined, stderr: '' });
    const none = await mirrored(t, []);
    assert.deepEqual(await none.ask(), { latest: '2.0.0', silent: undefined, stderr: '' });
  });

  it(
    'names a place that fails or does not answer while another does, also where nothing is outdated',
    slow,
    async t => {
      const { scene, mirror, ask } = await mirrored(t, ['1.0.0', '1.1.0']);
      scene.registry.script({ fault: status(500) });
      const failing = await ask();
      assert.deepEqual([failing.latest, failing.silent], ['1.1.0', [[scene.registry.host, 'REGISTRY_UNAVAILABLE']]]);
      assert.match(failing.stderr, new RegExp(`^${scene.registry.host} did not answer, .*500`, 'm'));
      scene.registry.script({ fault: hang() });
      const hanging = await ask('--timeout', '1');
      assert.deepEqual([hanging.latest, hanging.silent], ['1.1.0', [[scene.registry.host, 'REGISTRY_TIMEOUT']]]);
      assert.match(
        hanging.stderr,
        /did not answer, and versions that only it has are not counted: .* did not answer for 1 s/,
      );
      await scene.list({ a: '1.1.0' }, { mirrors: { [scene.registry.host]: [`${mirror.host}/cached`] } });
      const ran = await scene.run(['outdated', '--format', 'json', '--timeout', '1', '--retries', '0']);
      const { plugins, unheard } = parsed<{ plugins: unknown[]; unheard?: { registry: string }[] }>(ran);
      assert.deepEqual([plugins, unheard?.map(it => it.registry)], [[], [scene.registry.host]]);
      await scene.list({ a: '1.0.0' }, { mirrors: { [scene.registry.host]: [`${mirror.host}/cached`] } });
      await mirror.close();
      scene.registry.script([]);
      const dead = await ask();
      assert.deepEqual([dead.latest, dead.silent], ['2.0.0', [[mirror.host, 'REGISTRY_REFUSED']]]);
    },
  );

  it('uses a mirror of which one repository fails', slow, async t => {
    const { scene, mirror } = await mirrored(t, ['1.0.0']);
    const image = imageFormC({ wasm: buildModule({ sizeBytes: 1000 }) });
    const names = Array.from({ length: 6 }, (_, index) => `b${index}`);
    for (const name of names) {
      scene.push(name, '1.0.0');
      mirror.push(`cached/plugins/${name}`, '9.9.9', image);
    }
    const mirrors = { [scene.registry.host]: [`${mirror.host}/cached`] };
    await scene.list(Object.fromEntries(names.map(name => [name, '1.0.0'])), { mirrors });
    mirror.script({ path: /plugins\/b0\//, fault: status(503) });
    const outdated = async () => {
      const ran = await scene.run(['outdated', '--format', 'json', '--retries', '0', '--concurrency', '1']);
      const { plugins, unheard } = parsed<{ plugins: { name: string }[]; unheard?: { registry: string }[] }>(ran);
      return { names: plugins.map(({ name }) => name), unheard: unheard?.map(({ registry }) => registry) };
    };
    assert.deepEqual(await outdated(), { names: names.slice(1), unheard: [mirror.host] });
  });
});

describe('the image build', () => {
  /** Runs a script of the image build as it stands, its places moved into the scene; `program` stands in for what it starts. */
  async function scriptIn(scene: Scene, name: string, program: readonly [string, string], places: object = {}) {
    let script = await readFile(resolve(import.meta.dirname, '../../scripts/image', name), 'utf8');
    for (const [from, to] of Object.entries({ 'cd /context': `cd '${scene.dir}'`, ...places }))
      script = script.replaceAll(from, String(to));
    await scene.write(name, script);
    await scene.write(`bin/${program[0]}`, `#!/bin/sh\n${program[1]}\n`);
    await chmod(scene.path('bin', program[0]), 0o755);
    const unset = ['REGISTRY', 'ENGINE', 'PLAIN_HTTP', 'CA_FILE', 'REGISTRY_USERNAME', 'SYNC_ARGS'];
    const empty = Object.fromEntries(unset.map(each => [each, '']));
    const PATH = `${scene.path('bin')}:${process.env.PATH}`;
    return async (env: Readonly<Record<string, string>>) =>
      (await run('sh', [scene.path(name), 'out'], { env: { ...empty, PATH, ...env } })).stdout;
  }

  it('takes the password without the line end that an editor leaves', async t => {
    const scene = await openScene(t);
    const said = await scriptIn(scene, 'imageSync.sh', ['plugin-mirror', 'printf "[%s]" "$PLUGIN_MIRROR_PASSWORD"'], {
      'secrets=/run/secrets': `secrets='${scene.path('secrets')}'`,
    });
    assert.equal(await said({ MANIFEST: 'manifest.json' }), '[]');
    for (const end of ['', '\n', '\r\n']) {
      await scene.write('secrets/registry-password', `p w\t$ü${end}`);
      assert.equal(await said({ MANIFEST: 'manifest.json' }), '[p w\t$ü]');
    }
  });

  it('has npm trust CA_FILE as well as the authorities of the base image', async t => {
    const scene = await openScene(t);
    const said = await scriptIn(scene, 'npmInstall.sh', ['npm', 'cat "${NODE_EXTRA_CA_CERTS:-/dev/null}"'], {
      '/ca.pem': `'${scene.path('ca.pem')}'`,
      '/tmp/authorities.pem': `'${scene.path('authorities.pem')}'`,
    });
    await scene.write('base.pem', 'BASE');
    await scene.write('ca.pem', 'OWN\n');
    const base = { NODE_EXTRA_CA_CERTS: scene.path('base.pem') };
    assert.equal(await said(base), 'BASE');
    assert.equal(await said({ CA_FILE: 'ca.pem' }), 'OWN\n');
    assert.equal(await said({ ...base, CA_FILE: 'ca.pem' }), 'BASE\nOWN\n');
    assert.equal(await said({ NODE_EXTRA_CA_CERTS: '/not/there', CA_FILE: 'ca.pem' }), 'OWN\n');
  });

  it('finds the lock where the command writes it, whatever the manifest’s name', async t => {
    const scene = await openScene(t);
    const ask = await scriptIn(scene, 'imageSync.sh', ['plugin-mirror', 'echo "$@"']);
    for (const name of [
      'manifest.json',
      'Plugins.JSON',
      'list',
      'my.list.json',
      'list.yaml',
      'sub.d/list',
      '.json/x',
    ]) {
      const said = () => ask({ MANIFEST: name });
      assert.match(await said(), /--no-lock/, name);
      const lock = lockfilePath(name);
      await mkdir(join(scene.path(lock), '..'), { recursive: true });
      await scene.write(lock, '{}');
      assert.match(await said(), /--frozen/, name);
      await rm(scene.path(lock));
      await symlink('nowhere', scene.path(lock));
      assert.match(await said(), /--frozen/, `${name}: a link that leads nowhere is for the command to refuse`);
      await rm(scene.path(lock));
    }
  });
});
