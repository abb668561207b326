import assert from 'node:assert/strict';
import { existsSync, readFileSync, watch } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { listing, openScene, printed, type Scene } from '../support/cli.ts';
import { heldBack } from '../support/faults.ts';
import { imageFormC, imageFormD, indexOf } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { sample, slow } from '../support/slow.ts';

const CREATED = '2026-02-02T00:00:00Z';

/** A tree and a lock for a 1 and b 1; then b's tag moves. */
async function moved(scene: Scene): Promise<{ old: Buffer; fresh: Buffer }> {
  scene.push('a', '1');
  const old = scene.push('b', '1');
  await scene.list({ a: '1', b: '1' });
  assert.equal((await scene.sync()).code, 0);
  const fresh = scene.push('b', '1', imageFormC({ wasm: buildModule({ seed: 'fresh' }), created: CREATED }));
  scene.registry.reset();
  return { old, fresh };
}

/** Loaded before the command: another run takes the tree over at a step of writing the lockfile. */
const TAKEN = `
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
const step = process.env.STEP;
const original = fs.promises[step];
fs.promises[step] = async function (path, ...rest) {
  if (String(path).includes('.manifest.lock.json.')) {
    fs.rmSync(process.env.LOCK);
    fs.writeFileSync(process.env.LOCK, 'of another run');
  }
  return original.call(this, path, ...rest);
};
syncBuiltinESMExports();
`;

const moduleB = (scene: Scene) => readFile(scene.path('plugins/b/1/plugin.wasm'));

describe('the lockfile', { concurrency: 3 }, () => {
  it('lists the resolved images: sorted, stable, without times, the same after every run', async t => {
    const scene = await openScene(t);
    const image = imageFormC({ wasm: buildModule({ seed: 'a' }), version: '1' });
    const index = indexOf([{ platform: 'linux/amd64', image: imageFormD({ wasm: buildModule({ seed: 'z' }) }) }]);
    scene.push('a', '1', image);
    scene.push('z', '1', index);
    await scene.list({ z: '1', a: { versions: ['1'], aliases: { x: '1' } } });
    await scene.sync();
    const text = await scene.read('manifest.lock.json');
    const lock = JSON.parse(text);
    assert.deepEqual(Object.keys(lock.plugins), ['a', 'z']);
    const [layer] = JSON.parse(image.manifest.toString()).layers;
    assert.deepEqual(
      { ...lock.plugins.a['1'], sha256: '', annotations: {} },
      {
        reference: `${scene.registry.host}/plugins/a:1`,
        digest: image.digest,
        layer: { digest: layer.digest, mediaType: layer.mediaType, sizeBytes: layer.size },
        sha256: '',
        sizeBytes: buildModule({ seed: 'a' }).length,
        annotations: {},
      },
    );
    assert.equal(lock.plugins.a['1'].annotations['org.opencontainers.image.version'], '1');
    assert.deepEqual([lock.plugins.z['1'].digest, lock.plugins.z['1'].platform], [index.digest, 'linux/amd64']);
    assert.ok(text.endsWith('}\n'));
    await rm(scene.path('manifest.lock.json'));
    await scene.sync('--out', 'other', '--concurrency', '1');
    assert.equal(await scene.read('manifest.lock.json'), text);
  });

  it('may be kept elsewhere: --lock FILE', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    const lock = ['--lock', 'state/locked.json'];
    await mkdir(scene.path('state'));
    assert.equal((await scene.sync(...lock)).code, 0);
    assert.ok(!existsSync(scene.path('manifest.lock.json')));
    const text = await scene.read('state/locked.json');
    scene.push('a', '1', imageFormC({ wasm: buildModule({ seed: 'moved' }) }));
    const frozen = await scene.run(['sync'], { env: { CI: 'true', PLUGIN_MIRROR_LOCK: 'state/locked.json' } });
    assert.equal(frozen.code, 0, frozen.stderr);
    const checked = await scene.run(['check', ...lock]);
    assert.equal(checked.code, 3);
    assert.match(checked.stdout, /^moved +a 1 /m);
    assert.equal(await scene.read('state/locked.json'), text);
    const off = await scene.run(['sync', '--no-lock'], { env: { PLUGIN_MIRROR_LOCK: 'state/locked.json' } });
    assert.equal(off.code, 0, off.stderr);
    assert.equal(await scene.read('state/locked.json'), text);
  });

  for (const step of ['open', 'rename'])
    it(`is left to a run that takes the tree over: before the ${step} of the new one`, async t => {
      const scene = await openScene(t);
      const old = await moved(scene);
      assert.ok(old.old);
      const before = await scene.read('manifest.lock.json');
      await scene.write('taken.mjs', TAKEN);
      const env = {
        NODE_OPTIONS: `--import ${pathToFileURL(scene.path('taken.mjs'))}`,
        STEP: step,
        LOCK: scene.path('plugins/.lock'),
      };
      const ran = await scene.start(['sync', '--update'], { env }).ended;
      assert.equal(ran.code, 1, ran.stderr);
      assert.match(ran.stderr, /TREE_LOCK_LOST/);
      assert.equal(await scene.read('plugins/.lock'), 'of another run');
      // Between the last look and the rename, nothing can be known.
      if (step === 'open') assert.equal(await scene.read('manifest.lock.json'), before);
    });

  it('that is kept elsewhere is read by every command that reads one', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const lock = ['--lock', scene.path('locked.json')];
    assert.equal((await scene.sync(...lock)).code, 0);
    const [entry] = Object.values(JSON.parse(await scene.read('locked.json')).plugins.a) as [{ sha256: string }];
    for (const args of [
      ['list', '--manifest', 'manifest.json'],
      ['urls', '--format', 'wasmplugin'],
    ]) {
      const ran = await scene.run([...args, ...lock, ...(args[0] === 'list' ? ['--format', 'json'] : [])]);
      assert.ok(ran.stdout.includes(entry.sha256), ran.stdout);
    }
    const outdated = await scene.run(['outdated', '--all', '--format', 'json', ...lock]);
    assert.equal(JSON.parse(outdated.stdout).plugins[0].locked, '1.0.0');
    assert.equal((await scene.run(['verify', ...lock])).code, 0);
    const other = { url: 'http://h.svc/plugins/a/1.0.0/plugin.wasm', sha256: '0'.repeat(64) };
    const resource = { apiVersion: 'extensions.higress.io/v1alpha1', kind: 'WasmPlugin', metadata: { name: 'a' } };
    await scene.write('wasm.json', JSON.stringify({ ...resource, spec: other }));
    const covered = await scene.run(['coverage', 'wasm.json', ...lock]);
    assert.equal(covered.code, 3);
    assert.match(covered.stdout, /^sha256 /m);
  });

  it('is followed: a tag that moved is reported as drift and not mirrored until --update NAME', async t => {
    const scene = await openScene(t);
    const { old, fresh } = await moved(scene);
    const lock = await scene.read('manifest.lock.json');
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 0);
    const { digest: lockedDigest } = imageFormC({ wasm: old, version: '1' });
    const { digest: foundDigest } = imageFormC({ wasm: fresh, created: CREATED });
    const reference = `${scene.registry.host}/plugins/b:1`;
    assert.deepEqual(report.drift, [
      { name: 'b', version: '1', reference, lockedDigest, foundDigest, foundCreated: CREATED },
    ]);
    for (const told of [lockedDigest, foundDigest, CREATED, 'sync --update b'])
      assert.ok(ran.stderr.includes(told), told);
    // With the tree gone, too, the locked image is pulled.
    await rm(scene.path('plugins'), { recursive: true });
    assert.match((await scene.sync()).stderr, /drift b 1/);
    assert.ok(old.equals(await moduleB(scene)));
    assert.equal((await scene.sync('--update', 'a')).code, 0);
    assert.equal(await scene.read('manifest.lock.json'), lock);
    const updated = await scene.report('--update', 'b');
    assert.deepEqual([updated.ran.code, updated.report.drift], [0, []]);
    assert.ok(fresh.equals(await moduleB(scene)));
    assert.ok((await scene.read('manifest.lock.json')).includes(foundDigest));
  });

  it('without a lockfile, a tag that moved is followed and reported as moved', slow, async t => {
    const scene = await openScene(t);
    const old = scene.push('b', '1');
    await scene.list({ b: '1' });
    assert.equal((await scene.sync('--no-lock')).code, 0);
    const fresh = scene.push('b', '1', imageFormC({ wasm: buildModule({ seed: 'fresh' }), created: CREATED }));
    const { ran, report } = await scene.report('--no-lock');
    assert.equal(ran.code, 0);
    assert.deepEqual(report.drift, [
      {
        name: 'b',
        version: '1',
        reference: `${scene.registry.host}/plugins/b:1`,
        lockedDigest: imageFormC({ wasm: old, version: '1' }).digest,
        foundDigest: imageFormC({ wasm: fresh, created: CREATED }).digest,
        followed: true,
        foundCreated: CREATED,
      },
    ]);
    assert.match(
      ran.stderr,
      /drift b 1: .* moved since it was published; it is not locked, so this run takes the new image/,
    );
    assert.doesNotMatch(ran.stderr, /--update/);
    assert.ok(fresh.equals(await moduleB(scene)));
    assert.deepEqual((await scene.report('--no-lock')).report.drift, []);
  });

  it('--update alone resolves every tag again', async t => {
    const scene = await openScene(t);
    const { fresh } = await moved(scene);
    assert.equal((await scene.sync('--update')).code, 0);
    assert.ok(fresh.equals(await moduleB(scene)));
  });

  it('gains and loses entries with the manifest, and only new ones are resolved', async t => {
    const scene = await openScene(t);
    const { old } = await moved(scene);
    scene.push('c', '1');
    await scene.list({ b: '1', c: '1' });
    assert.equal((await scene.sync()).code, 0);
    const lock = await scene.json<{ plugins: object }>('manifest.lock.json');
    assert.deepEqual(Object.keys(lock.plugins), ['b', 'c']);
    assert.ok(old.equals(await moduleB(scene)));
    // The same version from another place is another entry.
    scene.registry.push('fork/b', '1', imageFormC({ wasm: buildModule({ seed: 'fork' }) }));
    await scene.list({ b: { image: 'fork/b', versions: ['1'] }, c: '1' });
    assert.equal((await scene.sync()).code, 0);
    assert.ok(buildModule({ seed: 'fork' }).equals(await moduleB(scene)));
    assert.match(await scene.read('manifest.lock.json'), /fork\/b:1/);
  });
});

describe('a lockfile that another run renews meanwhile', { concurrency: 2 }, () => {
  const large = (seed: string) => imageFormC({ wasm: buildModule({ seed, sizeBytes: 600_000 }) });

  it('is read again by a run that waited for the other one', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1', large('one'));
    await scene.list({ a: '1' });
    assert.equal((await scene.sync()).code, 0);
    for (const [seed, args] of [
      ['two', ['--frozen']],
      ['three', []],
    ] as const) {
      scene.push('a', '1', large(seed));
      let release = (): void => undefined;
      const held = new Promise<void>(resolve => {
        release = resolve;
      });
      scene.registry.script({ kind: 'blob', fault: heldBack(held) });
      scene.registry.reset();
      const updating = scene.start(['sync', '--update']);
      while (scene.registry.count({ kind: 'blob' }) === 0) await setTimeout(20);
      const second = scene.start(['sync', '--wait', '60', ...args]);
      await printed(second, /waiting for another sync/);
      release();
      assert.equal((await updating.ended).code, 0);
      const waiting = await second.ended;
      assert.equal(waiting.code, 0, waiting.stderr);
      assert.match(waiting.stdout, /waiting for another sync/);
      assert.equal((await scene.run(['verify', '--lock', 'manifest.lock.json'])).code, 0);
      assert.match(await scene.read('manifest.lock.json'), new RegExp(large(seed).digest));
    }
  });

  it('is written before the next run may have the tree', async t => {
    const scene = await openScene(t);
    scene.push('a', '1', large('one'));
    await scene.list({ a: '1' });
    assert.equal((await scene.sync()).code, 0);
    scene.push('a', '1', large('two'));
    const atRelease: string[] = [];
    const watcher = watch(scene.path('plugins'), (_, name) => {
      if (name === '.lock' && scene.registry.count('blob') > 0 && !existsSync(scene.path('plugins/.lock')))
        atRelease.push(readFileSync(scene.path('manifest.lock.json'), 'utf8'));
    });
    t.after(() => watcher.close());
    scene.registry.reset();
    const ran = await scene.sync('--update');
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(atRelease.length > 0, 'the watcher saw the tree released');
    for (const text of atRelease) assert.match(text, new RegExp(large('two').digest));
  });

  it('keeps the entries that a run with another tree has written', slow, async t => {
    const scene = await openScene(t);
    for (const name of ['a', 'b']) scene.push(name, '1', large(`${name} one`));
    await scene.list({ a: '1', b: '1' });
    assert.equal((await scene.sync()).code, 0);
    for (const name of ['a', 'b']) scene.push(name, '1', large(`${name} two`));
    let release = (): void => undefined;
    const held = new Promise<void>(resolve => {
      release = resolve;
    });
    scene.registry.script({
      kind: 'blob',
      path: new RegExp([...large('a two').blobs.keys()].join('|')),
      fault: heldBack(held),
    });
    scene.registry.reset();
    const slow = scene.start(['sync', '--update', 'a']);
    while (scene.registry.count({ kind: 'blob' }) === 0) await setTimeout(20);
    assert.equal((await scene.sync('--out', 'other', '--only', 'b', '--update', 'b')).code, 0);
    release();
    assert.equal((await slow.ended).code, 0);
    const lock = await scene.read('manifest.lock.json');
    for (const name of ['a', 'b']) assert.match(lock, new RegExp(large(`${name} two`).digest));
  });
});

describe('--frozen', { concurrency: 3 }, () => {
  it('sends no request if the tree is complete, and asks only for locked digests if it is not', async t => {
    const scene = await openScene(t);
    const { old } = await moved(scene);
    const { connections } = scene.registry;
    const { ran, report } = await scene.report('--frozen');
    assert.deepEqual([ran.code, report.totals.kept, report.totals.requests], [0, 2, 0]);
    assert.equal(scene.registry.connections, connections);
    assert.equal(scene.registry.count(), 0);
    await rm(scene.path('plugins'), { recursive: true });
    await rm(scene.path('home'), { recursive: true });
    assert.equal((await scene.sync('--frozen')).code, 0);
    assert.ok(old.equals(await moduleB(scene)));
    for (const { path, kind } of scene.registry.requests)
      if (kind === 'manifest') assert.match(path, /\/manifests\/sha256:/);
    assert.ok(scene.registry.count() > 0);
  });

  it('loads no network code and no archive code when the tree is complete', async t => {
    const scene = await openScene(t);
    await moved(scene);
    const heard = scene.path('loads.txt');
    const tell = `import{appendFileSync}from'node:fs';export function load(url,context,next){appendFileSync(${JSON.stringify(heard)},url+'\\n');return next(url,context)}`;
    const hook = `import{register}from'node:module';register('data:text/javascript,'+encodeURIComponent(${JSON.stringify(tell)}))`;
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
    const modulesOf = async (...words: readonly string[]) => {
      await rm(heard, { force: true });
      assert.equal((await scene.run(['sync', ...words], { env })).code, 0);
      return new Set(
        [...(await scene.read('loads.txt')).matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)/g)].map(m => m[1]),
      );
    };
    const frozen = await modulesOf('--frozen');
    assert.ok(frozen.has('commander'));
    const idle = ['undici', 'tar', 'express', 'execa', 'log-update'];
    assert.deepEqual(
      idle.filter(name => frozen.has(name)),
      [],
    );
    assert.ok((await modulesOf('--no-frozen')).has('undici'));
  });

  it('ends in 3 with every difference and the command that fixes it, and touches nothing', async t => {
    const scene = await openScene(t);
    await moved(scene);
    await scene.list({ a: ['2'], b: { image: 'fork/b', versions: ['1'] } });
    const before = await listing(scene.path('plugins'));
    const ran = await scene.sync('--frozen');
    assert.equal(ran.code, 3);
    for (const told of [
      'a 2 is in the manifest',
      'a 1 is in the lockfile',
      'fork/b:1',
      'plugin-mirror sync --no-frozen',
    ])
      assert.ok(ran.stderr.includes(told), `${told}: ${ran.stderr}`);
    assert.deepEqual(await listing(scene.path('plugins')), before);
    assert.equal(scene.registry.count(), 0);
    await rm(scene.path('manifest.lock.json'));
    const missing = await scene.sync('--frozen');
    assert.equal(missing.code, 3);
    assert.match(missing.stderr, /FROZEN_LOCK_MISSING/);
  });

  it('is the default if CI is true, unless --no-frozen, --update or --no-lock is given', slow, async t => {
    const scene = await openScene(t);
    await moved(scene);
    const ci = (...args: string[]) => scene.run(['sync', ...args], { env: { CI: 'true' } });
    assert.match((await ci()).stdout, / 0 requests/);
    assert.match((await ci('--no-frozen')).stderr, /drift b 1/);
    for (const [variable, value, asks] of [
      ['FROZEN', '0', true],
      ['NO_FROZEN', '1', true],
      ['NO_FROZEN', 'false', false],
    ] as const) {
      const ran = await scene.run(['sync'], { env: { CI: 'true', [`PLUGIN_MIRROR_${variable}`]: value } });
      assert.equal(/drift b 1/.test(ran.stderr), asks, `${variable}=${value}: ${ran.stderr}`);
    }
    assert.match((await scene.run(['sync'], { env: { CI: 'false' } })).stderr, /drift b 1/);
    assert.equal((await ci('--update', 'b')).code, 0);
    await scene.list({ a: '1' });
    assert.equal((await ci()).code, 3);
    await rm(scene.path('manifest.lock.json'));
    scene.registry.reset();
    const unlocked = await ci();
    assert.equal(unlocked.code, 3);
    assert.match(unlocked.stderr, /FROZEN_LOCK_MISSING .* where CI is set, .*sync --no-frozen once.*--no-lock/s);
    assert.equal(scene.registry.requests.length, 0);
    assert.equal((await ci('--no-lock')).code, 0);
    assert.equal(existsSync(scene.path('manifest.lock.json')), false);
    assert.equal((await ci('--no-frozen')).code, 0);
    assert.ok(existsSync(scene.path('manifest.lock.json')));
  });

  it('compares the bytes of plugin.wasm, not only the digests', slow, async t => {
    const scene = await openScene(t);
    await moved(scene);
    const lock = await scene.read('manifest.lock.json');
    const { sha256, layer } = JSON.parse(lock).plugins.a['1'];
    const other = 'f'.repeat(64);
    for (const edit of [`"sha256": "${sha256}"`, `"digest": "${layer.digest}"`]) {
      await writeFile(scene.path('manifest.lock.json'), lock.replace(edit, edit.replace(/[0-9a-f]{64}/, other)));
      const ran = await scene.sync('--frozen');
      assert.equal(ran.code, 1, edit);
      assert.match(ran.stderr, /LOCK_BYTES_DIFFER/);
    }
    assert.equal((await scene.run(['verify'])).code, 0, 'the former bytes stay');
  });
});

describe('the same bytes under another name', { concurrency: 3 }, () => {
  it('are kept with the new origin; sync, check, verify and --frozen agree', slow, async t => {
    const scene = await openScene(t);
    const wasm = scene.push('a', '1');
    scene.registry.push('plugins/a', 'v1', imageFormC({ wasm, version: '1' }));
    scene.registry.push('other/a', '1', imageFormC({ wasm, version: '1' }));
    await scene.write('x.wasm', wasm);
    await scene.write('y.wasm', wasm);
    const names = [
      { a: '1', own: { file: 'x.wasm', versions: ['1'] } },
      { a: { versions: ['1'], tags: { 1: 'v1' } }, own: { file: 'y.wasm', versions: ['1'] } },
      { a: { image: 'other/a', versions: ['1'], aliases: { x: '1' } }, own: { file: 'y.wasm', versions: ['1'] } },
    ];
    for (const [at, list] of names.entries()) {
      await scene.list(list);
      scene.registry.reset();
      const { ran, report } = await scene.report('--compress', 'gzip');
      assert.equal(ran.code, 0, ran.stderr);
      assert.deepEqual(
        report.plugins.map(({ status }) => status).filter(status => status !== 'aliased'),
        at === 0 ? ['fetched', 'fetched'] : ['kept', 'kept'],
      );
      if (at > 0) assert.equal(scene.registry.bytesServed('blob'), 0);
      assert.equal((await scene.run(['check'])).code, 0);
      assert.equal((await scene.run(['verify', '--lock', 'manifest.lock.json'])).code, 0);
      assert.equal((await scene.sync('--frozen', '--compress', 'gzip')).code, 0);
      assert.equal((await scene.sync('--out', `fresh-${at}`, '--compress', 'gzip')).code, 0);
      assert.deepEqual(await listing(scene.path('plugins')), await listing(scene.path(`fresh-${at}`)));
    }
  });
});

describe('a lockfile in which something other than a digest was edited', { concurrency: 3 }, () => {
  type Entry = Record<string, unknown> & { layer: Record<string, unknown>; annotations: Record<string, string> };
  const revision = 'org.opencontainers.image.revision';
  const edits: Readonly<Record<string, readonly [(entry: Entry) => void, RegExp]>> = {
    'a platform of a plain image': [
      entry => (entry.platform = 'linux/arm64'),
      /a 1 has the platform none .* linux\/arm64/,
    ],
    'a media type': [
      entry => (entry.layer.mediaType = 'x/y'),
      /a 1 has the layer’s media type .* x\/y in the lockfile/,
    ],
    'a size of the layer': [entry => (entry.layer.sizeBytes = 7), /a 1 has the layer’s size \d+ .* 7 in the lockfile/],
    'an annotation': [
      entry => (entry.annotations[revision] = 'x'),
      /a 1 has the annotation \S+revision \w+ in the tree, x in the lockfile/,
    ],
    'no annotations': [
      entry => Reflect.deleteProperty(entry, 'annotations'),
      /a 1 has the annotation .* none in the lockfile/,
    ],
  };
  for (const [what, [edit, words]] of Object.entries(edits))
    it(`${what}: check says so, --frozen ends in 3 with whole plugins, sync mends it`, slow, async t => {
      const scene = await openScene(t);
      scene.push('a', '1', imageFormC({ wasm: buildModule({ seed: 'a' }), version: '1' }));
      await scene.list({ a: '1' });
      assert.equal((await scene.sync()).code, 0);
      const text = await scene.read('manifest.lock.json');
      const lock = JSON.parse(text);
      edit(lock.plugins.a['1']);
      await scene.write('manifest.lock.json', `${JSON.stringify(lock, null, 2)}\n`);
      assert.equal((await scene.run(['check'])).code, 3);
      for (const isEmpty of [false, true]) {
        if (isEmpty) await rm(scene.path('plugins'), { recursive: true });
        const dry = await scene.sync('--frozen', '--dry-run');
        assert.equal(dry.code, 3, dry.stderr);
        assert.match(dry.stderr, words);
        const ran = await scene.sync('--frozen');
        assert.equal(ran.code, 3, ran.stderr);
        assert.match(ran.stderr, /FROZEN_LOCK_UNTRUE/);
        assert.match(ran.stderr, words);
        assert.equal((await scene.run(['verify'])).code, 0);
      }
      assert.equal((await scene.sync('--no-frozen')).code, 0);
      assert.equal(await scene.read('manifest.lock.json'), text);
    });

  it('a platform that the index lacks is refused, with the platforms that it has', async t => {
    const scene = await openScene(t);
    scene.push(
      'a',
      '1',
      indexOf([{ platform: 'linux/amd64', image: imageFormD({ wasm: buildModule({ seed: 'z' }) }) }]),
    );
    await scene.list({ a: '1' });
    assert.equal((await scene.sync()).code, 0);
    const text = await scene.read('manifest.lock.json');
    await scene.write('manifest.lock.json', text.replace('linux/amd64', 'linux/s390x'));
    await rm(scene.path('plugins'), { recursive: true });
    const ran = await scene.sync('--frozen');
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, /no image for linux\/s390x, the locked platform.*linux\/amd64.*restore it/s);
  });

  it('another layer is missed before anything is downloaded, also by a dry run', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    assert.equal((await scene.sync()).code, 0);
    const lock = JSON.parse(await scene.read('manifest.lock.json'));
    lock.plugins.a['1'].layer.digest = `sha256:${'f'.repeat(64)}`;
    await scene.write('manifest.lock.json', `${JSON.stringify(lock, null, 2)}\n`);
    await rm(scene.path('plugins'), { recursive: true });
    await rm(scene.path('home'), { recursive: true, force: true });
    scene.registry.reset();
    for (const args of [['--dry-run'], []]) {
      const ran = await scene.sync(...args);
      assert.equal(ran.code, 1);
      assert.match(`${ran.stdout}${ran.stderr}`, /LOCK_BYTES_DIFFER/);
    }
    assert.equal(scene.registry.bytesServed('blob'), 0);
  });
});

describe('a lockfile that cannot be read', { concurrency: 2 }, () => {
  it('is reported with the fitting remedy', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    assert.equal((await scene.sync()).code, 0);
    const lock = scene.path('manifest.lock.json');
    const text = await scene.read('manifest.lock.json');
    assert.match(
      (await scene.run(['verify', '--lock', 'none.json'])).stderr,
      /LOCK_UNREADABLE.*Check the path of the lockfile/s,
    );
    await writeFile(lock, `<<<<<<< ours\n${text}`);
    assert.match((await scene.sync()).stderr, /git checkout --theirs -- .*manifest\.lock\.json/);
    await rm(lock);
    await mkdir(lock);
    const folder = await scene.sync();
    assert.equal(folder.code, 2);
    assert.match(folder.stderr, /LOCK_UNREADABLE.*it is a folder.*Put the lockfile itself at/s);
    assert.doesNotMatch(folder.stderr, /the right to read/);
    await rm(lock, { recursive: true });
    await symlink('nowhere.json', lock);
    const dangling = await scene.sync();
    assert.equal(dangling.code, 2);
    assert.match(dangling.stderr, /LOCK_UNREADABLE.*leads nowhere.*delete the link/s);
  });
});

describe('a lockfile that is not as sync wrote it', { concurrency: 3 }, () => {
  const harms: Readonly<Record<string, readonly [(text: string) => string, string]>> = {
    'is cut off': [text => text.slice(0, text.length >> 1), 'LOCK_INVALID'],
    'is empty': [() => '', 'LOCK_INVALID'],
    'comes from a later version': [text => text.replace(/"lockVersion": \d+/, '"lockVersion": 99'), 'LOCK_NEWER'],
    'has a merge conflict': [text => `<<<<<<< ours\n${text}=======\n${text}>>>>>>> theirs\n`, 'LOCK_CONFLICT'],
    'has a digest that is none': [text => text.replace(/sha256:[0-9a-f]{64}/, 'sha256:123'), 'LOCK_INVALID'],
    'names a path out of the tree': [text => text.replace('"a"', '"../a"'), 'LOCK_INVALID'],
    'has an unknown key': [text => text.replace('"lockVersion"', '"surprise": 1, "lockVersion"'), 'LOCK_INVALID'],
  };
  it('is refused by its own error, and nothing is lost', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.sync();
    const good = await scene.read('manifest.lock.json');
    for (const [harm, [spoil, code]] of sample(Object.entries(harms), 2)) {
      await writeFile(scene.path('manifest.lock.json'), spoil(good));
      const before = await listing(scene.dir);
      const ran = await scene.sync();
      assert.equal(ran.code, 2, `${harm}: ${ran.stderr}`);
      assert.match(ran.stderr, new RegExp(`${code}.*manifest\\.lock\\.json`), harm);
      assert.match(ran.stderr, /→ \w+/);
      assert.deepEqual(await listing(scene.dir), before, harm);
    }
  });

  it('with a digest that the registry does not have fails the version, and keeps the published one', async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    await scene.sync();
    const lock = await scene.read('manifest.lock.json');
    const digest = JSON.parse(lock).plugins.a['1'].digest;
    await writeFile(scene.path('manifest.lock.json'), lock.replaceAll(digest, `sha256:${'0'.repeat(64)}`));
    const ran = await scene.sync('--frozen');
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, /REGISTRY_NOT_FOUND|MANIFEST_UNKNOWN|0000/);
    assert.ok(existsSync(scene.path('plugins/a/1/plugin.wasm')));
  });
});
