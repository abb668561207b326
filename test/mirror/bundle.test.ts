import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Refusal } from '../../base/refusal.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { writeFolderLayout } from '../../layout/writeLayout.ts';
import { auditBundle } from '../../mirror/bundle/auditBundle.ts';
import { type BundleOptions, type BundleReport, type BundleTarget, bundle } from '../../mirror/bundle/bundle.ts';
import { makeDocument } from '../../mirror/bundle/document.ts';
import { openBundle } from '../../mirror/bundle/openBundle.ts';
import { lockfilePath } from '../../mirror/lockfile/lockfile.ts';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { limitsOf, type SyncJob, selectVersions } from '../../mirror/plan/job.ts';
import type { SyncReport } from '../../mirror/report.ts';
import { Session } from '../../mirror/session.ts';
import { previewSync, type SyncPlan, sync } from '../../mirror/sync/sync.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { Digest } from '../support/image.ts';
import {
  imageFormA,
  imageFormB,
  imageFormC,
  imageFormD,
  imageOf,
  indexOf,
  MEDIA,
  type TestImage,
} from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { slow } from '../support/slow.ts';
import { payloadFor, publicPem, signatureImage, sigTag, simpleLayer } from './signing.ts';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { signal } = new AbortController();
const a1 = imageFormA({ wasm: buildModule({ seed: 'a1', sizeBytes: 40_000 }), readme: '# a' });
const a2 = imageFormC({ wasm: buildModule({ seed: 'a2', sizeBytes: 50_000 }) });
const inIndex = imageFormD({ wasm: buildModule({ seed: 'b', sizeBytes: 30_000 }) });
const index = indexOf([{ platform: 'linux/amd64', image: inIndex }], { attestations: true });
const sbom = imageOf({
  artifactType: 'application/spdx+json',
  layers: [{ mediaType: 'application/spdx+json', body: Buffer.from('{"spdx":1}') }],
  subject: { mediaType: a2.mediaType, digest: a2.digest, size: a2.manifest.length },
});

let registry: TestRegistry;
let dir: string;
before(async () => {
  registry = await startRegistry();
  registry.push('plugins/a', '1.0.0', a1);
  registry.push('plugins/a', '2.0.0', a2);
  registry.push('plugins/a', null, sbom);
  registry.push('plugins/b', '1.0.0', index);
  for (const [name, image] of [
    ['a', a1],
    ['a', a2],
    ['b', index],
  ] as const)
    registry.push(
      `plugins/${name}`,
      sigTag(image.digest),
      signatureImage([simpleLayer(key, payloadFor(image.digest))]),
    );
});
after(() => registry.close());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bundle-'));
  registry.reset();
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const everything = { a: { versions: ['1.0.0', '2.0.0'], aliases: { latest: '2.0.0' } }, b: '1.0.0' };

async function writeManifest(plugins: object = everything, more: object = {}): Promise<void> {
  await writeFile(join(dir, 'manifest.json'), JSON.stringify({ registry: registry.host, plugins, ...more }));
}

async function jobOf(manifestPath: string, only: readonly string[] = [], tree = 'plugins'): Promise<SyncJob> {
  const manifest = await readPluginManifest(manifestPath);
  return {
    manifest,
    selection: selectVersions(manifest, { only }),
    lockfile: { path: lockfilePath(manifest.file), mode: 'renewed', update: false },
    tree: { dir: join(dir, tree), rehash: false, prune: false, codings: [], waitMs: 0 },
    limits: limitsOf(8),
  };
}

const online = () =>
  new Session({ openRegistry: onEvent => openRegistry({ onEvent, cacheDir: join(dir, 'cache') }), signal });

async function pack(target: Partial<BundleTarget> = {}, options: Partial<BundleOptions> = {}): Promise<BundleReport> {
  const session = online();
  const all = { only: [], attachments: true, since: undefined, version: '1.2.3', ...options };
  try {
    const to = { kind: 'tar', path: join(dir, 'b.tar'), ...target } as BundleTarget;
    return await bundle(await jobOf(join(dir, 'manifest.json'), all.only), all, to, session);
  } finally {
    await session.registry.close();
  }
}

/** What `sync --from` does, with a registry that cannot be asked. */
function load(name: string, tree = 'loaded', manifestPath?: string): Promise<SyncReport> {
  return withBundle(name, tree, manifestPath, sync);
}

/** What `sync --from --dry-run` does. */
function preview(name: string, tree = 'loaded'): Promise<SyncPlan> {
  return withBundle(name, tree, undefined, previewSync);
}

async function withBundle<T>(
  name: string,
  tree: string,
  manifestPath: string | undefined,
  use: (job: SyncJob, session: Session) => Promise<T>,
): Promise<T> {
  const { layout, manifest, only, requires, lacking, close } = await openBundle(join(dir, name), manifestPath);
  const session = new Session({ openRegistry: onEvent => openRegistry({ onEvent, layout }), signal });
  const job = await jobOf(join(dir, 'manifest.json'), [], tree);
  try {
    return await use(
      {
        ...job,
        manifest,
        selection: selectVersions(manifest, { only }),
        lockfile: { path: lockfilePath(manifest.file), mode: 'frozen', update: false, partial: only.length > 0 },
        bundle: { path: name, requires, lacking },
      },
      session,
    );
  } finally {
    await session.registry.close();
    await close();
  }
}

async function treeOf(name: string): Promise<Record<string, string>> {
  const names = (await readdir(join(dir, name), { recursive: true, withFileTypes: true })).filter(it => it.isFile());
  const files = names.map(it => join(it.parentPath, it.name));
  return Object.fromEntries(
    await Promise.all(
      files.map(async file => [file.slice(join(dir, name).length), await readFile(file, 'base64')] as const),
    ),
  );
}

async function refusalOf(work: Promise<unknown>): Promise<Refusal> {
  const error = await work.then(
    () => assert.fail('it succeeded'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Refusal, String(error));
  return error;
}

async function damage(name: string, image: TestImage): Promise<void> {
  const bytes = await readFile(join(dir, name));
  const [layer = Buffer.alloc(0)] = [...image.blobs.values()].sort((one, other) => other.length - one.length);
  const at = bytes.indexOf(layer);
  assert.ok(at > 0);
  bytes[at + 100] = (bytes[at + 100] ?? 0) ^ 1;
  await writeFile(join(dir, name), bytes);
}

describe('a bundle', () => {
  it('holds every image as the registry has it, with signatures and referrers under full names', async () => {
    await writeManifest();
    const { packed, failed } = await pack();
    assert.deepEqual(failed, []);
    assert.deepEqual([packed?.images, packed?.attachments, packed?.left], [3, 4, 0]);
    const layout = await openLayout(join(dir, 'b.tar'));
    try {
      const digests = new Set<string>(await layout.digests());
      for (const image of [a1, a2, index, inIndex, sbom])
        for (const digest of [image.digest, ...image.blobs.keys()]) assert.ok(digests.has(digest), digest);
      assert.deepEqual(await layout.read(index.digest, 1e6), index.manifest);
      const names = layout.index.entries.map(
        ({ annotations }) =>
          annotations?.['org.opencontainers.image.ref.name'] ?? annotations?.['io.containerd.manifest.subject'],
      );
      assert.deepEqual(
        [...names].sort(),
        [
          `${registry.host}/plugins/a:1.0.0`,
          `${registry.host}/plugins/a:2.0.0`,
          `${registry.host}/plugins/a:${sigTag(a1.digest)}`,
          `${registry.host}/plugins/a:${sigTag(a2.digest)}`,
          `${registry.host}/plugins/b:1.0.0`,
          `${registry.host}/plugins/b:${sigTag(index.digest)}`,
          a2.digest,
          undefined,
        ].sort(),
      );
    } finally {
      await layout.close();
    }
  });

  it('has the same bytes in every run, as a tar, through parts and in a folder', slow, async () => {
    await writeManifest();
    await pack();
    await pack({ path: join(dir, 'again.tar') });
    assert.ok((await readFile(join(dir, 'b.tar'))).equals(await readFile(join(dir, 'again.tar'))));
    const { files } = await pack({ path: join(dir, 'p.tar'), partBytes: 60_000 });
    assert.ok(files.length > 2);
    const parts = (await readdir(dir)).filter(name => /^p\.tar\.\d+$/.test(name)).sort();
    const whole = Buffer.concat(await Promise.all(parts.map(name => readFile(join(dir, name)))));
    assert.ok(whole.equals(await readFile(join(dir, 'b.tar'))));
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    for (const name of ['b.tar', 'p.tar.001', 'p.tar.sha256', 'folder']) await load(name, `from-${name}`);
    const expected = await treeOf('from-b.tar');
    for (const name of ['p.tar.001', 'p.tar.sha256', 'folder'])
      assert.deepEqual(await treeOf(`from-${name}`), expected, name);
  });

  it('gives the tree that a sync over the network gives, without a request', async () => {
    await writeManifest();
    await pack();
    const session = online();
    await sync(await jobOf(join(dir, 'manifest.json'), [], 'direct'), session);
    await session.registry.close();
    registry.reset();
    const report = await load('b.tar');
    assert.deepEqual(report.problems, []);
    assert.equal(registry.requests.length, 0);
    assert.deepEqual(await treeOf('loaded'), await treeOf('direct'));
    const again = await load('b.tar');
    assert.deepEqual(
      again.outcomes.map(({ status }) => status),
      ['kept', 'kept', 'kept', 'aliased'],
    );
  });

  it(
    'carries local modules and the keys of signature policies, whose signatures are verified again',
    slow,
    async () => {
      await writeFile(join(dir, 'cosign.pub'), publicPem(key));
      const own = buildModule({ seed: 'own', sizeBytes: 2000 });
      await writeFile(join(dir, 'own.wasm'), own);
      await writeManifest(
        { ...everything, Own_1: { file: './own.wasm', versions: ['1+x'] } },
        { signatures: [{ images: ['**'], key: './cosign.pub' }] },
      );
      await pack();
      await rm(join(dir, 'own.wasm'));
      await rename(join(dir, 'manifest.json'), join(dir, 'sent.json'));
      await writeManifest({ b: '1.0.0' });
      const report = await load('b.tar');
      assert.deepEqual(
        report.outcomes.filter(({ status }) => status === 'failed'),
        [],
      );
      assert.deepEqual(await readFile(join(dir, 'loaded/Own_1/1+x/plugin.wasm')), own);
      assert.match(await readFile(join(dir, 'loaded/a/2.0.0/metadata.json'), 'utf8'), /key sha256:/);
      const layout = await openLayout(join(dir, 'b.tar'));
      const entry = layout.index.entries.find(({ annotations }) =>
        annotations?.['io.containerd.image.name']?.startsWith('plugin-mirror.local/plugins/own-1:1-x'),
      );
      assert.ok(entry !== undefined);
      const { layers } = JSON.parse((await layout.read(entry.digest, 1e6)).toString()) as {
        layers: { mediaType: string }[];
      };
      await layout.close();
      assert.deepEqual(
        layers.map(({ mediaType }) => mediaType),
        [MEDIA.wasmConfig, MEDIA.wasm],
      );
    },
  );

  it('made with --only is loaded with the same selection', slow, async () => {
    await writeManifest();
    await pack({}, { only: ['b'] });
    const { outcomes, problems } = await load('b.tar');
    assert.deepEqual(problems, []);
    assert.deepEqual(
      outcomes.map(({ name, status }) => `${name} ${status}`),
      ['b fetched'],
    );
  });

  it('without referrers asks for none', async () => {
    await writeManifest();
    const { packed } = await pack({}, { attachments: false });
    assert.equal(packed?.attachments, 0);
    assert.ok(!registry.requests.some(({ path }) => /referrers|\.sig/.test(path)));
  });

  it('with a warm cache asks only for what a digest does not fix', async () => {
    await writeManifest();
    await pack();
    const whole = await readFile(join(dir, 'b.tar'));
    registry.reset();
    await pack();
    const asked = registry.requests.map(({ path }) => path.replace(/^.*\/plugins\/./, ''));
    assert.ok(asked.length > 0);
    assert.deepEqual(
      asked.filter(path => !/^\/(?:referrers\/|manifests\/sha256-[0-9a-f]{64}\.sig$)/.test(path)),
      [],
    );
    assert.deepEqual(await readFile(join(dir, 'b.tar')), whole);
  });

  it('replaces large blobs of the cache that are damaged, in a tar, a folder and a pipe', async () => {
    const large = imageFormB({ wasm: buildModule({ seed: 'large', sizeBytes: 3_000_000 }) });
    registry.push('plugins/large', '1.0.0', large);
    await writeManifest({ ...everything, large: '1.0.0' });
    await pack();
    const whole = await readFile(join(dir, 'b.tar'));
    const [digest] = [...large.blobs].find(([, body]) => body.length > 1024 * 1024) ?? assert.fail();
    const cached = join(dir, 'cache', 'blobs', digest.replace(':', '/'));
    const damage = async () => {
      const bytes = await readFile(cached);
      bytes[2_000_000] = (bytes[2_000_000] ?? 0) ^ 1;
      await writeFile(cached, bytes);
    };
    await damage();
    await pack();
    assert.ok((await readFile(join(dir, 'b.tar'))).equals(whole));
    await damage();
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    assert.ok((await auditBundle(join(dir, 'folder'), { signal })).sound);
    await damage();
    const piped: Buffer[] = [];
    const pipe = new Writable({
      write(piece: Buffer, _encoding, done) {
        piped.push(Buffer.from(piece));
        done();
      },
    });
    await pack({ kind: 'pipe', pipe });
    assert.ok(Buffer.concat(piped).equals(whole));
  });

  it('is not written if a version fails, and the lockfile of a first run goes as well', async () => {
    await writeManifest({ ...everything, gone: '1.0.0' });
    const { failed, packed } = await pack();
    assert.equal(packed, undefined);
    assert.deepEqual(
      failed.map(({ name }) => name),
      ['gone'],
    );
    const names = await readdir(dir);
    assert.deepEqual(names.filter(name => name !== 'cache').sort(), ['manifest.json']);
  });

  it('stays frozen where a lockfile is', slow, async () => {
    await writeManifest({ b: '1.0.0' });
    await pack();
    await writeManifest();
    assert.equal((await refusalOf(pack())).code, 'FROZEN_LOCK_DIFFERS');
  });
});

describe('a delta', () => {
  for (const kind of ['bundle', 'lockfile'] as const)
    it(
      `leaves out what the base has, and is loaded on top of it only (--since with a ${kind})`,
      kind === 'bundle' ? {} : slow,
      async () => {
        await writeManifest({ b: '1.0.0' });
        await pack({ path: join(dir, 'base.tar') });
        await rename(join(dir, 'manifest.lock.json'), join(dir, 'base.lock.json'));
        await writeManifest();
        const since = join(dir, kind === 'bundle' ? 'base.tar' : 'base.lock.json');
        const { packed } = await pack({ path: join(dir, 'delta.tar') }, { since });
        assert.equal(packed?.left, 1);
        const layout = await openLayout(join(dir, 'delta.tar'));
        assert.equal(await layout.sizeOf(index.digest), undefined);
        assert.ok(layout.index.entries.some(({ digest }) => digest === index.digest));
        await layout.close();

        const { problems, outcomes } = await load('delta.tar', 'fresh');
        const [problem] = problems as Refusal[];
        assert.equal(problem?.code, 'BUNDLE_INCOMPLETE');
        assert.deepEqual(
          outcomes.map(({ name, error }) => [name, (error as Refusal).code]),
          [['b', 'BUNDLE_BASE_MISSING']],
        );
        assert.match(
          String((outcomes[0]?.error as Refusal | undefined)?.expected),
          new RegExp(`b 1\\.0\\.0 .*${index.digest}`),
        );
        assert.deepEqual(Object.keys(await treeOf('fresh')), []);
        const plan = await preview('delta.tar', 'fresh');
        assert.deepEqual(
          [...plan.versions.flatMap(step => (step.action === 'fail' ? [step.error] : [])), ...plan.problems],
          [outcomes[0]?.error, problem],
        );

        await load('base.tar', 'grown');
        assert.deepEqual((await preview('delta.tar', 'grown')).problems, []);
        const grown = await load('delta.tar', 'grown');
        assert.deepEqual(
          grown.outcomes.map(({ name, status }) => `${name} ${status}`),
          ['a fetched', 'a fetched', 'b kept', 'a aliased'],
        );
      },
    );

  it('needs a base with images', async () => {
    await writeManifest();
    await writeFile(join(dir, 'empty.json'), '{"lockVersion":1,"plugins":{}}');
    assert.equal((await refusalOf(pack({}, { since: join(dir, 'empty.json') }))).code, 'BUNDLE_BASE_INVALID');
  });
});

describe('loading', () => {
  it('does not miss a layer that no registry distributes', async () => {
    const foreign = { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', body: gzipSync('') };
    const { manifest, blobs } = a1;
    const { layers } = JSON.parse(manifest.toString()) as { layers: { mediaType: string; digest: Digest }[] };
    const own = layers.map(({ mediaType, digest }) => ({ mediaType, body: blobs.get(digest) ?? Buffer.alloc(0) }));
    registry.push('plugins/foreign', '1.0.0', imageOf({ layers: [foreign, ...own] }));
    await writeManifest({ foreign: '1.0.0' });
    assert.deepEqual((await pack()).problems, []);
    const { outcomes } = await load('b.tar');
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fetched'],
    );
  });

  it('publishes nothing if one blob is damaged, and names it', async () => {
    await writeManifest();
    await pack();
    await damage('b.tar', a2);
    await rm(join(dir, 'b.tar.sha256'));
    const { outcomes, problems } = await load('b.tar');
    assert.deepEqual(
      outcomes.map(({ name, version, error }) => [name, version, (error as Refusal).code]),
      [['a', '2.0.0', 'LAYOUT_BLOB_DAMAGED']],
    );
    assert.equal((problems[0] as Refusal).code, 'BUNDLE_INCOMPLETE');
    assert.deepEqual(Object.keys(await treeOf('loaded')), []);
  });

  it('refuses a lockfile that disagrees with the index', async () => {
    await writeManifest();
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    const file = join(dir, 'folder/index.json');
    const text = await readFile(file, 'utf8');
    const document = JSON.parse(text) as { manifests: { digest: string; annotations?: Record<string, string> }[] };
    const [one, two] = ['1.0.0', '2.0.0'].map(tag =>
      document.manifests.find(it => it.annotations?.['io.containerd.image.name']?.endsWith(`/a:${tag}`)),
    );
    assert.ok(one !== undefined && two !== undefined);
    Object.assign(one, { digest: two.digest, size: a2.manifest.length });
    await writeFile(file, JSON.stringify(document));
    const { code, found } = await refusalOf(load('folder'));
    assert.equal(code, 'LAYOUT_INVALID');
    assert.match(found ?? '', new RegExp(a2.digest));
  });

  it('refuses a lockfile that names an image which the index lacks, and verify reports it', async () => {
    await writeManifest();
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    const file = join(dir, 'folder/index.json');
    const document = JSON.parse(await readFile(file, 'utf8')) as { manifests: { digest: string }[] };
    document.manifests = document.manifests.filter(({ digest }) => digest !== a2.digest);
    await writeFile(file, JSON.stringify(document));
    const { code, subject, expected, message } = await refusalOf(load('folder'));
    assert.deepEqual([code, subject, expected], ['LAYOUT_INVALID', 'a 2.0.0', `${a2.digest} in index.json`]);
    assert.match(message, /names an image that its index\.json lacks/);
    assert.deepEqual(
      (await auditBundle(join(dir, 'folder'), { signal })).missing.map(finding => finding.subject),
      ['a 2.0.0'],
    );
  });

  it('reports a manifest that index.json names and that is not there as missing in the bundle', async () => {
    await writeManifest();
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    await rm(join(dir, 'folder/blobs', a2.digest.replace(':', '/')));
    const { outcomes, problems } = await load('folder');
    const [{ error } = {}] = outcomes;
    assert.ok(error instanceof Refusal);
    assert.deepEqual(
      [outcomes.length, outcomes[0]?.version, error.code, error.subject],
      [1, '2.0.0', 'LAYOUT_BLOB_MISSING', a2.digest],
    );
    assert.match(error.hint, /^Copy the bundle again, or make it again\./);
    assert.equal((problems[0] as Refusal).code, 'BUNDLE_INCOMPLETE');
  });

  it('publishes nothing from a bundle whose index names what is not there', async () => {
    await writeManifest();
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    const file = join(dir, 'folder/index.json');
    const document = JSON.parse(await readFile(file, 'utf8')) as { manifests: object[] };
    const absent = `sha256:${'0'.repeat(64)}`;
    document.manifests.push({ mediaType: MEDIA.manifest, digest: absent, size: 3 });
    await writeFile(file, JSON.stringify(document));
    const { problems, outcomes } = await load('folder');
    assert.deepEqual([(problems[0] as Refusal).found, outcomes], [`no ${absent}`, []]);
    assert.deepEqual(Object.keys(await treeOf('loaded')), []);
  });

  it('reports a damaged local module as a damaged blob', async () => {
    const module = buildModule({ seed: 'local', sizeBytes: 200_000 });
    await writeFile(join(dir, 'local.wasm'), module);
    await writeManifest({ local: { file: './local.wasm', versions: ['1.0.0'] } });
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    const digest = createHash('sha256').update(module).digest('hex');
    await writeFile(join(dir, 'folder/blobs/sha256', digest), module.subarray(0, 100_000));
    const error = await refusalOf(load('folder'));
    assert.deepEqual([error.code, error.subject], ['LAYOUT_BLOB_DAMAGED', `sha256:${digest}`]);
    const { damaged } = await auditBundle(join(dir, 'folder'), { signal });
    assert.deepEqual(
      damaged.map(({ subject }) => subject),
      [`sha256:${digest}`],
    );
  });

  it('names the bundle whose manifest or lockfile is broken, and not a temporary file', async () => {
    await writeManifest({ b: '1.0.0' });
    await pack();
    const job = { manifest: await readPluginManifest(join(dir, 'manifest.json')) };
    const lock = await readFile(join(dir, 'manifest.lock.json'), 'utf8');
    for (const [broken, code, name] of [
      ['{', 'LOCK_INVALID', 'manifest.lock.json'],
      [Buffer.from([0xff]), 'LOCK_INVALID', 'manifest.lock.json'],
      [`<<<<<<< HEAD\n${lock}`, 'LOCK_CONFLICT', 'manifest.lock.json'],
      [undefined, 'MANIFEST_INVALID', 'manifest.json'],
    ] as const) {
      await writeFile(join(dir, 'manifest.lock.json'), broken ?? lock);
      if (broken === undefined) await writeFile(join(dir, 'manifest.json'), '{"plugins": 1}');
      const lockfile = { path: join(dir, 'manifest.lock.json'), mode: 'frozen', update: false } as const;
      const config = { schemaVersion: 1 as const, version: '1.2.3', only: [], requires: [] };
      const { entry, blobs } = await makeDocument({ ...job, lockfile }, config);
      await writeFolderLayout({ index: { entries: [entry], annotations: {} }, blobs }, join(dir, 'broken'), signal);
      const error = await refusalOf(load('broken'));
      assert.deepEqual([error.code, error.subject], [code, `${name} in ${join(dir, 'broken')}`]);
      assert.ok(error.message.startsWith(`${name} in ${join(dir, 'broken')}`), error.message);
      assert.match(error.hint, /^Copy the bundle again, or make it again\./);
    }
  });

  it('takes a layout of another tool with a manifest, and asks for one without', slow, async () => {
    await writeManifest();
    await pack({ kind: 'folder', path: join(dir, 'folder') });
    const file = join(dir, 'folder/index.json');
    const document = JSON.parse(await readFile(file, 'utf8')) as { manifests: { artifactType?: string }[] };
    document.manifests = document.manifests.filter(it => !it.artifactType?.includes('plugin-mirror'));
    await writeFile(file, JSON.stringify(document));
    assert.equal((await refusalOf(load('folder'))).code, 'BUNDLE_MANIFEST_MISSING');
    const { problems, outcomes } = await load('folder', 'loaded', join(dir, 'manifest.json'));
    assert.deepEqual([problems, outcomes.length], [[], 4]);
  });
});
