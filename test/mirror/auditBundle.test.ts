import assert from 'node:assert/strict';
import { copyFile, readdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Refusal } from '../../base/refusal.ts';
import type { Layout } from '../../layout/layout.ts';
import { type LayoutEntry, REF_NAME } from '../../layout/layoutIndex.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { auditBundle, type BundleAudit } from '../../mirror/bundle/auditBundle.ts';
import { openBundled } from '../../mirror/bundle/bundledModules.ts';
import { diffBundles } from '../../mirror/bundle/diffBundles.ts';
import { toolCommands } from '../../mirror/bundle/toolCommands.ts';
import { cover } from '../../mirror/coverage/coverage.ts';
import type { HigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import type { PluginRequest } from '../../mirror/coverage/requests/pluginRequest.ts';
import { imageFormC, MEDIA } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { sample, slow } from '../support/slow.ts';
import { a1, a2, type BundleScene, everything, index, largest, openBundleScene } from './bundleScene.ts';

const { signal } = new AbortController();

const audit = (scene: BundleScene, name: string, lock?: string): Promise<BundleAudit> =>
  auditBundle(scene.path(name), { lock, signal });

async function packed(t: TestContext): Promise<BundleScene> {
  const scene = await openBundleScene(t);
  await scene.list(everything);
  return scene;
}

describe('verifying a bundle', () => {
  it('finds a whole one intact, in each of its forms', async t => {
    const scene = await packed(t);
    await scene.pack('b.tar');
    await scene.pack('p.tar', { partBytes: 9000, frozen: true });
    await scene.pack('folder', { kind: 'folder', frozen: true });
    const forms = [
      ['p.tar.002', 'equal'],
      ['b.tar', 'equal'],
      ['p.tar.sha256', 'equal'],
      ['folder', 'absent'],
    ] as const;
    for (const [name, checksums] of sample(forms)) {
      const found = await audit(scene, name, scene.path('manifest.lock.json'));
      assert.deepEqual([found.sound, found.damaged, found.missing, found.disagreements], [true, [], [], []], name);
      assert.deepEqual([found.versions, found.checksums, found.inBase], [3, checksums, 0]);
      assert.ok(found.blobs > 10 && found.sizeBytes > 10_000);
    }
  });

  it('reports how many bytes it has hashed, to the last one', async t => {
    const scene = await packed(t);
    await scene.pack('b.tar');
    await scene.pack('folder', { kind: 'folder', frozen: true });
    const tarBytes = (await stat(scene.path('b.tar'))).size;
    for (const [name, fileBytes] of [
      ['b.tar', tarBytes],
      ['folder', 0],
    ] as const) {
      const reports: [number, number][] = [];
      const onRead = (readBytes: number, ofBytes: number) => reports.push([readBytes, ofBytes]);
      const { sizeBytes, blobs } = await auditBundle(scene.path(name), { signal, onRead });
      assert.deepEqual(reports.at(-1), [fileBytes + sizeBytes, fileBytes + sizeBytes], name);
      assert.ok(reports.length >= blobs && reports.every(([readBytes, ofBytes]) => readBytes <= ofBytes), name);
    }
  });

  it('names a damaged blob with the images that need it, and the part that has it', async t => {
    const scene = await packed(t);
    await scene.pack('b.tar');
    await scene.damage('b.tar', largest(a1));
    const { sound, damaged, checksums } = await audit(scene, 'b.tar');
    assert.deepEqual([sound, checksums], [false, 'different']);
    assert.deepEqual(
      damaged.map(({ images = [] }) => images),
      [[], [`${scene.registry.host}/plugins/a:1.0.0`]],
    );
    await scene.pack('p.tar', { partBytes: 5000, frozen: true });
    const parts = (await readdir(scene.dir)).filter(name => /^p\.tar\.\d+$/.test(name));
    const last = parts.sort().at(-1) ?? '';
    await scene.damage(last, (await readFile(scene.path(last))).subarray(0, 700));
    const inParts = await audit(scene, 'p.tar.001').catch((error: unknown) => error);
    assert.match(JSON.stringify(inParts), new RegExp(last.replaceAll('.', '\\.')));
  });

  it('names a blob that was cut off once', async t => {
    const scene = await packed(t);
    await scene.pack('folder', { kind: 'folder' });
    const blob = largest(a2);
    const [digest = ''] = [...a2.blobs].find(([, bytes]) => bytes === blob) ?? [];
    const file = `blobs/${digest.replace(':', '/')}`;
    await truncate(scene.path(`folder/${file}`), 1000);
    const { damaged, missing } = await audit(scene, 'folder');
    const problem = `has 1000 bytes instead of ${blob.length} and does not match its digest: other bytes in ${file}`;
    const images = [`${scene.registry.host}/plugins/a:2.0.0`];
    assert.deepEqual([damaged, missing], [[{ subject: digest, problem, images }], []]);
  });

  it('proves index.json by the checksum file', slow, async t => {
    const scene = await packed(t);
    await scene.pack('b.tar');
    const bytes = await readFile(scene.path('b.tar'));
    const text = bytes.toString('latin1').replace('"io.containerd.image.name":', '"io.containerd.image.nime":');
    await writeFile(scene.path('b.tar'), Buffer.from(text, 'latin1'));
    assert.equal((await audit(scene, 'b.tar')).sound, false);
  });

  it('names what the index, a manifest or the lockfile needs and the bundle lacks', async t => {
    const scene = await packed(t);
    await scene.pack('folder', { kind: 'folder' });
    const [layer] = [...a2.blobs].filter(([, bytes]) => bytes === largest(a2)).map(([digest]) => digest);
    await rm(scene.path(`folder/blobs/${layer?.replace(':', '/')}`));
    const { missing, sound } = await audit(scene, 'folder');
    assert.equal(sound, false);
    assert.deepEqual(
      missing.map(({ subject, images }) => [subject, images]),
      [[layer, [`${scene.registry.host}/plugins/a:2.0.0`]]],
    );
    await rm(scene.path(`folder/blobs/${index.digest.replace(':', '/')}`));
    assert.deepEqual(
      (await audit(scene, 'folder')).missing.map(({ subject }) => subject).sort(),
      [index.digest, layer].sort(),
    );
  });

  it('names every image that needs a missing blob', async t => {
    const scene = await openBundleScene(t);
    scene.registry.push('plugins/copy', '1.0.0', a2);
    await scene.list({ ...everything, copy: '1.0.0' });
    await scene.pack('folder', { kind: 'folder' });
    const [layer = ''] = [...a2.blobs].find(([, bytes]) => bytes === largest(a2)) ?? [];
    await rm(scene.path(`folder/blobs/${layer.replace(':', '/')}`));
    const { missing } = await audit(scene, 'folder');
    const images = [`${scene.registry.host}/plugins/a:2.0.0`, `${scene.registry.host}/plugins/copy:1.0.0`];
    assert.deepEqual(missing, [{ subject: layer, problem: 'is not in the bundle', images }]);
  });

  it('reports links in place of blobs next to other findings', async t => {
    const scene = await packed(t);
    await scene.pack('folder', { kind: 'folder' });
    const fileOf = (digest: string) => scene.path(`folder/blobs/${digest.replace(':', '/')}`);
    const [layer = ''] = [...a1.blobs].find(([, bytes]) => bytes === largest(a1)) ?? [];
    const [other = ''] = [...a2.blobs].find(([, bytes]) => bytes === largest(a2)) ?? [];
    for (const digest of [layer, a2.digest]) {
      await rename(fileOf(digest), `${fileOf(digest)}.real`);
      await symlink(`${fileOf(digest)}.real`, fileOf(digest));
    }
    await truncate(fileOf(other), 1000);
    const { damaged, missing } = await audit(scene, 'folder');
    assert.deepEqual(
      missing.map(({ subject, problem }) => [subject, problem]).sort(),
      [layer, a2.digest].map(it => [it, 'is a link or a folder in the bundle, not a regular file']).sort(),
    );
    assert.deepEqual(
      damaged.map(({ subject }) => subject),
      [other],
    );
  });

  it('does not miss what a delta leaves to its base', slow, async t => {
    const scene = await packed(t);
    await scene.list({ a: '1.0.0' });
    await scene.pack('old.tar');
    await scene.list(everything);
    await scene.pack('new.tar', { since: scene.path('old.tar') });
    const { sound, inBase, missing } = await audit(scene, 'new.tar');
    assert.deepEqual([missing, sound, inBase], [[], true, 1]);
  });

  it('compares its lockfile with another one', async t => {
    const scene = await packed(t);
    await scene.pack('b.tar');
    const lock = scene.path('manifest.lock.json');
    const text = await readFile(lock, 'utf8');
    await writeFile(lock, text.replaceAll(a1.digest, a2.digest));
    const { disagreements, sound } = await audit(scene, 'b.tar', lock);
    assert.equal(sound, true);
    assert.deepEqual(disagreements, [`a 1.0.0 is ${a1.digest} in the bundle, and ${a2.digest} in ${lock}`]);
    const error = await audit(scene, 'b.tar', scene.path('none.json')).catch((thrown: unknown) => thrown);
    assert.equal((error as Refusal).code, 'LOCK_UNREADABLE');
  });

  it('proves the blobs of a layout that another tool wrote', slow, async t => {
    const scene = await packed(t);
    await scene.pack('folder', { kind: 'folder' });
    const file = scene.path('folder/index.json');
    const document = JSON.parse(await readFile(file, 'utf8')) as { manifests: { artifactType?: string }[] };
    document.manifests = document.manifests.filter(it => !it.artifactType?.includes('plugin-mirror'));
    await writeFile(file, JSON.stringify(document));
    const { sound, versions } = await audit(scene, 'folder');
    assert.deepEqual([sound, versions], [true, 0]);
  });
});

describe('the content of bundles', () => {
  let scene: BundleScene;
  let clean: () => Promise<void>;
  after(() => clean());
  before(async () => {
    scene = await openBundleScene({ after: given => (clean = given) });
    await scene.list({ a: '1.0.0', b: '1.0.0' });
    await scene.pack('old.tar');
    await rename(scene.path('manifest.lock.json'), scene.path('old.lock.json'));
    const moved = imageFormC({ wasm: buildModule({ seed: 'moved', sizeBytes: 3000 }) });
    scene.registry.push('plugins/b', '1.0.0', moved);
    await scene.list({ a: everything.a, b: '1.0.0' });
    await scene.pack('new.tar');
    await scene.pack('delta.tar', { since: scene.path('old.tar'), frozen: true });
  });

  it('is listed like a tree, with the aliases of its manifest', async () => {
    const { name, modules } = await openBundled(scene.path('new.tar'));
    assert.equal(name, scene.path('new.tar'));
    assert.deepEqual(
      modules.map(it => [it.name, it.version, it.aliasOf, it.digest === undefined, it.sizeBytes]),
      [
        ['a', '1.0.0', undefined, false, 8000],
        ['a', '2.0.0', undefined, false, 9000],
        ['b', '1.0.0', undefined, false, 3000],
        ['a', 'latest', '2.0.0', false, 9000],
      ],
    );
  });

  it('covers oci:// requests to the mirror, except for images that gateways cannot load', async () => {
    const served = await openBundled(scene.path('new.tar'));
    assert.deepEqual(
      [...(served.images ?? [])].filter(([name]) => !name.endsWith('.sig')),
      [
        ['plugins/a:1.0.0', true],
        ['plugins/a:2.0.0', false],
        ['plugins/b:1.0.0', false],
      ],
    );
    const find = (url: string) => {
      const request = { url, consumer: 'a test', kind: 'url', source: {} } as unknown as PluginRequest;
      const data = { releases: [] } as unknown as HigressData;
      const { findings } = cover({ requests: [request], problems: [], served, bases: [], data });
      return [findings[0]?.status, findings[0]?.detail, findings[0]?.missing];
    };
    assert.deepEqual(find('oci://mirror.ns.svc:80/plugins/a:1.0.0'), ['served', undefined, undefined]);
    assert.deepEqual(find('oci://mirror.ns.svc:80/plugins/a:2.0.0'), [
      'oci',
      "Gateways cannot load it over oci://: its last layer is no gzip'd tar. The module is here as /plugins/a/2.0.0/plugin.wasm: use that URL.",
      undefined,
    ]);
    assert.equal(find('oci://harbor.example.com/plugins/a:1.0.0')[0], 'oci');
    const none = `${scene.path('new.tar')} has no such image.`;
    const [known, unknown] = ['plugins/a:9.0.0', 'other/x:1'].map(it => find(`oci://mirror.ns.svc:80/${it}`));
    assert.deepEqual(known, ['oci', none, { name: 'a', version: '9.0.0' }], 'the mirror is not its own source');
    const image = { repository: 'other/x', tag: '1' };
    assert.deepEqual(unknown, ['oci', none, { name: 'x', version: '1', image }]);
    const { image: origin } = find(`oci://${scene.registry.host}/other/x:1`)[2] as { image: { repository: string } };
    assert.equal(origin.repository, `${scene.registry.host}/other/x`, 'a registry that the bundle came from');
  });

  it('is compared with an older bundle: added, changed and removed versions, and the blobs that are new', async () => {
    const diff = await diffBundles(scene.path('old.tar'), scene.path('new.tar'));
    assert.deepEqual(
      [diff.added, diff.changed, diff.removed].map(rows => rows.map(it => `${it.name} ${it.version}`)),
      [['a 2.0.0', 'a latest'], ['b 1.0.0'], []],
    );
    assert.deepEqual([diff.unchanged, diff.referrers, diff.lacking], [1, 1, []]);
    assert.equal(diff.changed[0]?.oldDigest, index.digest);
    assert.ok((diff.blobs?.sizeBytes ?? 0) > 4000);
    const back = await diffBundles(scene.path('new.tar'), scene.path('old.tar'));
    assert.deepEqual(
      back.removed.map(it => `${it.name} ${it.version}`),
      ['a 2.0.0', 'a latest'],
    );
  });

  it('is compared with a lockfile, which has no aliases and no blobs', async () => {
    const diff = await diffBundles(scene.path('old.lock.json'), scene.path('delta.tar'));
    assert.deepEqual(
      [diff.added, diff.changed].map(rows => rows.map(it => `${it.name} ${it.version}`)),
      [['a 2.0.0'], ['b 1.0.0']],
    );
    assert.deepEqual([diff.blobs, diff.lacking], [undefined, []]);
  });

  it('of a delta names the versions that the older one does not have', async () => {
    await scene.list({ a: '2.0.0' });
    await scene.pack('other.tar');
    const { lacking } = await diffBundles(scene.path('other.tar'), scene.path('delta.tar'));
    assert.deepEqual(
      lacking.map(it => `${it.name} ${it.version}`),
      ['a 1.0.0'],
    );
  });

  it('has commands for other tools, which name present images only', async () => {
    const commandsOf = async (name: string): Promise<Map<string, readonly string[]>> => {
      const layout = await openLayout(scene.path(name));
      try {
        return new Map((await toolCommands(layout)).map(({ tool, commands }) => [tool, commands]));
      } finally {
        await layout.close();
      }
    };
    const whole = await commandsOf('new.tar');
    assert.deepEqual([...whole.keys()], ['ORAS', 'skopeo', 'regctl', 'crane', 'ctr', 'docker']);
    assert.equal(whole.get('ORAS')?.length, 4);
    assert.ok(
      whole
        .get('ORAS')
        ?.includes(
          `oras cp --recursive --from-oci-layout ${scene.path('new.tar')}@${a2.digest} "$REGISTRY/plugins/a:2.0.0"`,
        ),
    );
    const delta = await commandsOf('delta.tar');
    assert.ok(!delta.get('ORAS')?.some(command => command.includes(a1.digest)));
    // They read every manifest that index.json names, and the base of a delta has some of them.
    assert.deepEqual([delta.get('crane'), delta.get('ctr')], [[], []]);
    await copyFile(scene.path('new.tar'), scene.path('new'));
    const unpack = (await commandsOf('new')).get('crane')?.[0];
    const folder = scene.path('new.layout');
    assert.equal(unpack, `mkdir ${folder} && tar -xf ${scene.path('new')} -C ${folder}`);
    await scene.pack('it is.tar', { partBytes: 9000 });
    const parts = await commandsOf('it is.tar.001');
    assert.deepEqual(parts.get('cat'), [
      `cat '${scene.path('it is.tar')}'.[0-9][0-9][0-9] > '${scene.path('it is.tar')}'`,
    ]);
    assert.deepEqual(parts.get('docker'), [`docker load --input '${scene.path('it is.tar')}'`]);
  });
});

it('skopeo gets no commands for images that it does not find in a layout', async () => {
  const entry = (name: string, mediaType: string): LayoutEntry => {
    const text = `registry.example.com/plugins/${name}`;
    return { mediaType, digest: a1.digest, size: 3, annotations: { [REF_NAME]: text } };
  };
  const entries = [
    entry('a:1', MEDIA.manifest),
    entry('b:1', 'application/vnd.docker.distribution.manifest.v2+json'),
    entry('c:1', 'application/vnd.docker.distribution.manifest.list.v2+json'),
    entry('d:1', MEDIA.index),
    { ...entry('e:1', MEDIA.index), annotations: { [REF_NAME]: '[::1]:5000/plugins/e:1' } },
  ];
  for (const files of [[], ['b.tar']]) {
    const layout = { path: 'b', files, index: { entries, annotations: {} }, sizeOf: async () => 3 };
    const tools = new Map((await toolCommands(layout as unknown as Layout)).map(it => [it.tool, it]));
    const { commands = [], about = '' } = tools.get('skopeo') ?? {};
    assert.deepEqual(
      commands.map(command => / docker:\/\/(\S+)$/.exec(command)?.[1]),
      ['"$REGISTRY/plugins/a:1"', '"$REGISTRY/plugins/d:1"'],
    );
    assert.match(
      about,
      /Docker's .*: copy \S+\/plugins\/b:1, \S+\/plugins\/c:1, \[::1]\S+ with ORAS or plugin-mirror push\.$/,
    );
    assert.equal(tools.get('ORAS')?.commands.length, 5);
    assert.doesNotMatch(tools.get('ORAS')?.about ?? '', /Docker/);
    const colon = { ...layout, path: 'b:1.tar', files: files.length === 0 ? [] : ['b:1.tar'] };
    const [, skopeo, , crane] = await toolCommands(colon as unknown as Layout);
    assert.match(skopeo?.about ?? '', /no path with a colon/);
    assert.equal(
      crane?.commands[0],
      files.length === 0 ? crane?.commands.at(-1) : 'mkdir b:1 && tar -xf ./b:1.tar -C b:1',
    );
  }
});

it('a pipe is no base of a delta', async t => {
  const scene = await packed(t);
  const { execFileSync } = await import('node:child_process');
  execFileSync('mkfifo', [scene.path('pipe')]);
  const error = await scene.pack('b.tar', { since: scene.path('pipe') }).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof Refusal, String(error));
  assert.equal(error.code, 'LAYOUT_UNREADABLE');
});
