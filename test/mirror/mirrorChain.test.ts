import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openLayout } from '../../layout/openLayout.ts';
import { bundle } from '../../mirror/bundle/bundle.ts';
import { openBundle } from '../../mirror/bundle/openBundle.ts';
import { pushImages } from '../../mirror/bundle/pushImages.ts';
import { lockfilePath } from '../../mirror/lockfile/lockfile.ts';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { limitsOf, makeJob, type SyncJob, selectVersions } from '../../mirror/plan/job.ts';
import { Session } from '../../mirror/session.ts';
import { sync } from '../../mirror/sync/sync.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { openPusher } from '../../registry/push/openPusher.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { serve } from '../server/client.ts';
import { listing } from '../support/cli.ts';
import { headers, status } from '../support/faults.ts';
import { startRegistry } from '../support/registry.ts';
import { slowUnless } from '../support/slow.ts';
import { a1, a2, type BundleScene, everything, index, openBundleScene } from './bundleScene.ts';
import { bundleImage, envelopeBundle, payloadFor, publicPem, signatureImage, sigTag, simpleLayer } from './signing.ts';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { signal } = new AbortController();
const signatures = [{ images: ['**'], key: './cosign.pub' }];

let scene: BundleScene;
let clean: () => Promise<void>;
let dir: string;
before(async () => {
  scene = await openBundleScene({ after: given => (clean = given) });
  dir = await mkdtemp(join(tmpdir(), 'mirror-chain-'));
  // One signature of each kind: under cosign's tag, as a referrer, and of an index.
  scene.registry.push('plugins/a', sigTag(a1.digest), signatureImage([simpleLayer(key, payloadFor(a1.digest))]));
  scene.registry.push('plugins/a', null, bundleImage(envelopeBundle(key, a2.digest), a2));
  scene.registry.push('plugins/b', sigTag(index.digest), signatureImage([simpleLayer(key, payloadFor(index.digest))]));
  await writeFile(scene.path('cosign.pub'), publicPem(key));
  await scene.list(everything, { signatures });
  await scene.pack('b.tar');
});
after(async () => {
  await clean();
  await rm(dir, { recursive: true, force: true });
});

/** A site with its own manifest and the key of the signatures. Its lockfile is that of the bundle, if it is `locked`. */
async function openSite(name: string, manifest: object, locked: boolean): Promise<string> {
  const site = join(dir, name);
  await mkdir(site);
  await writeFile(join(site, 'cosign.pub'), publicPem(key));
  await writeFile(join(site, 'manifest.json'), JSON.stringify({ plugins: everything, signatures, ...manifest }));
  if (locked) await writeFile(join(site, 'manifest.lock.json'), await readFile(scene.path('manifest.lock.json')));
  return site;
}

async function jobAt(site: string): Promise<SyncJob> {
  const manifest = await readPluginManifest(join(site, 'manifest.json'));
  return {
    manifest,
    selection: selectVersions(manifest, {}),
    lockfile: { path: lockfilePath(manifest.file), mode: 'renewed', update: false },
    tree: { dir: join(site, 'plugins'), rehash: false, prune: false, codings: [], waitMs: 0 },
    limits: limitsOf(4),
  };
}

async function withSession<T>(options: RegistryOptions, work: (session: Session) => Promise<T>): Promise<T> {
  const session = new Session({ openRegistry: onEvent => openRegistry({ ...options, onEvent }), signal });
  try {
    return await work(session);
  } finally {
    await session.registry.close();
  }
}

async function syncAt(site: string, options: RegistryOptions = {}): Promise<void> {
  const job = await jobAt(site);
  const report = await withSession({ mirrors: job.manifest.mirrors, retries: 0, ...options }, session =>
    sync(job, session),
  );
  assert.deepEqual(report.problems, []);
  assert.deepEqual(
    report.outcomes.map(({ name, version, status, error }) => error?.message ?? `${name} ${version} ${status}`).sort(),
    ['a 1.0.0 fetched', 'a 2.0.0 fetched', 'a latest aliased', 'b 1.0.0 fetched'],
  );
}

async function treeAt(site: string): Promise<Record<string, string>> {
  const { '/': _folder, ...tree } = await listing(join(site, 'plugins'));
  assert.ok(Object.keys(tree).length > 10);
  return tree;
}

/** Every entry and every blob of a bundle but the manifest and the lockfile that it carries. */
async function imagesOf(path: string): Promise<{ readonly entries: unknown; readonly blobs: readonly string[] }> {
  const layout = await openLayout(path);
  const own = await openBundle(path);
  try {
    const entries = layout.index.entries.filter(
      ({ annotations, artifactType }) =>
        !`${artifactType} ${JSON.stringify(annotations ?? {})}`.includes('plugin-mirror'),
    );
    assert.equal(entries.length, layout.index.entries.length - 1);
    const digests = await layout.digests();
    const document = layout.index.entries.find(entry => !entries.includes(entry));
    const { layers, config } = JSON.parse((await layout.read(document?.digest ?? 'sha256:', 1e6)).toString()) as {
      layers: { digest: string }[];
      config: { digest: string };
    };
    const left = new Set<string>([document?.digest ?? '', config.digest, ...layers.map(({ digest }) => digest)]);
    return { entries, blobs: digests.filter(digest => !left.has(digest)) };
  } finally {
    await own.close();
    await layout.close();
  }
}

describe('a chain of mirrors', () => {
  it('has the same tree and the same bundle at its second mirror, which cannot reach the origin', async t => {
    const { host } = scene.registry;
    const first = await openSite('first', { registry: host }, true);
    await syncAt(first);
    const server = await serve(t, join(first, 'plugins'), { images: scene.path('b.tar') });
    const mirror = `127.0.0.1:${server.port}`;
    await scene.registry.close();

    const second = await openSite('second', { registry: host, mirrors: { [host]: [mirror] } }, false);
    await syncAt(second);
    assert.deepEqual(await treeAt(second), await treeAt(first));
    assert.deepEqual(
      await readFile(join(second, 'manifest.lock.json'), 'utf8'),
      await readFile(scene.path('manifest.lock.json'), 'utf8'),
    );

    const job = await jobAt(second);
    const selection = selectVersions(job.manifest, { registry: mirror });
    const options = { only: [], attachments: true, since: undefined, version: '1.2.3' };
    const target = { kind: 'tar', path: join(second, 'b.tar') } as const;
    const packed = await withSession({ retries: 0 }, session =>
      bundle({ ...job, selection }, options, target, session),
    );
    assert.deepEqual(packed.failed, []);
    assert.deepEqual(await imagesOf(target.path), await imagesOf(scene.path('b.tar')));
  });
});

describe('signatures after push', () => {
  for (const hasReferrers of [true, false])
    it(
      `are verified at a registry ${hasReferrers ? 'with' : 'without'} the referrers API`,
      slowUnless(hasReferrers),
      async t => {
        const target = await startRegistry();
        t.after(() => target.close());
        if (!hasReferrers)
          target.script([
            { kind: 'manifest', method: 'PUT', fault: headers({ 'oci-subject': null }) },
            { kind: 'referrers', fault: status(404) },
          ]);
        await pushTo(target.host);
        const site = await openSite(`pushed-${hasReferrers}`, { registry: `${target.host}/hub` }, false);
        await syncAt(site);
      },
    );

  async function pushTo(registry: string): Promise<void> {
    const pusher = openPusher({ retries: 0 });
    const { layout, manifest, close } = await openBundle(scene.path('b.tar'));
    try {
      const target = { pusher, registry, prefix: 'hub', force: false, dryRun: false, attachments: true };
      const job = makeJob(manifest, { dir: join(dir, 'unused'), concurrency: 4 });
      const { outcomes } = await withSession({ layout }, session => pushImages(job, target, session));
      assert.deepEqual(
        outcomes.map(({ status, error }) => error?.message ?? status),
        ['pushed', 'pushed', 'pushed'],
      );
    } finally {
      await pusher.close();
      await close();
    }
  }
});
