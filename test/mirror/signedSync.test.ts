import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { renderProblems } from '../../cli/sync/summary.ts';
import { check } from '../../mirror/check/check.ts';
import { type PluginManifest, parsePluginManifest } from '../../mirror/manifest/readManifest.ts';
import { limitsOf, type SelectionOptions, type SyncJob, selectVersions } from '../../mirror/plan/job.ts';
import type { SyncReport } from '../../mirror/report.ts';
import { Session } from '../../mirror/session.ts';
import { sync } from '../../mirror/sync/sync.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { buildCatalog, catalogText } from '../../tree/catalog.ts';
import { ownFiles, type PublishedVersion } from '../../tree/version/published.ts';
import { imageFormC, type TestImage } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { payloadFor, publicPem, signatureImage, sigTag, simpleLayer } from './signing.ts';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { privateKey: stranger } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const images = Object.fromEntries(
  ['one', 'two', 'three'].map(seed => [seed, imageFormC({ wasm: buildModule({ sizeBytes: 3000, seed }) })]),
) as Record<'one' | 'two' | 'three', TestImage>;

let registry: TestRegistry;
let folder: string;
beforeEach(async () => {
  registry = await startRegistry();
  folder = await mkdtemp(join(tmpdir(), 'signed-sync-'));
  await writeFile(join(folder, 'cosign.pub'), publicPem(key));
  await writeFile(join(folder, 'main.wasm'), buildModule({ sizeBytes: 500 }));
  for (const [name, image] of Object.entries(images)) registry.push(`plugins/${name}`, '1.0.0', image);
});
afterEach(async () => {
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

function sign(name: keyof typeof images, by = key): void {
  const { digest } = images[name];
  registry.push(`plugins/${name}`, sigTag(digest), signatureImage([simpleLayer(by, payloadFor(digest))]));
}

interface Wish {
  readonly signatures?: unknown;
  readonly plugins?: Readonly<Record<string, unknown>>;
  readonly frozen?: boolean;
  readonly at?: string;
  readonly only?: readonly string[];
}

async function run({ signatures, plugins, frozen = false, at, only = [] }: Wish): Promise<SyncReport> {
  const text = JSON.stringify({
    registry: at === undefined ? registry.host : 'registry.example.com',
    plugins: plugins ?? { one: '1.0.0', two: '1.0.0' },
    ...(signatures === undefined ? {} : { signatures }),
  });
  const manifest = await parsePluginManifest(text, { file: join(folder, 'manifest.json') });
  const job = jobOf(manifest, frozen ? 'frozen' : 'renewed', { only, registry: at });
  const session = sessionOf();
  try {
    return await sync(job, session);
  } finally {
    await session.registry.close();
  }
}

function jobOf(manifest: PluginManifest, mode: SyncJob['lockfile']['mode'], options: SelectionOptions = {}): SyncJob {
  const lockfile = { path: join(folder, 'manifest.lock.json'), mode, update: false };
  const tree = { dir: join(folder, 'plugins'), rehash: false, prune: false, codings: [], waitMs: 0 };
  return { manifest, selection: selectVersions(manifest, options), lockfile, tree, limits: limitsOf(4) };
}

function sessionOf(): Session {
  const { signal } = new AbortController();
  return new Session({ openRegistry: onEvent => openRegistry({ retries: 0, onEvent }), signal });
}

/** What `check` reports of signatures. */
async function staleIn(signatures: unknown): Promise<string[]> {
  const text = JSON.stringify({ registry: registry.host, plugins: { one: '1.0.0', two: '1.0.0' }, signatures });
  const manifest = await parsePluginManifest(text, { file: join(folder, 'manifest.json') });
  const session = sessionOf();
  try {
    const { findings } = await check(jobOf(manifest, 'renewed'), session);
    return findings.flatMap(it =>
      'name' in it && it.kind === 'stale' && /signature/.test(it.detail) ? [it.name] : [],
    );
  } finally {
    await session.registry.close();
  }
}

function told({ outcomes }: SyncReport): string[] {
  return outcomes.map(it => {
    const code = it.error !== undefined && 'code' in it.error ? ` ${String(it.error.code)}` : '';
    return `${it.name} ${it.status}${code}`;
  });
}

async function metadataOf(name: string): Promise<PublishedVersion> {
  const path = join(folder, 'plugins', name, '1.0.0', 'metadata.json');
  return JSON.parse(await readFile(path, 'utf8')) as PublishedVersion;
}

/** What whoever can write to the tree can make of it: files and catalog that all say the same. */
async function forge(versions: readonly PublishedVersion[]): Promise<void> {
  for (const metadata of versions)
    for (const [file, text] of ownFiles(metadata))
      await writeFile(join(folder, 'plugins', metadata.name, metadata.version, file), text);
  const catalog = buildCatalog(versions.map(metadata => ({ metadata, pinned: true })));
  await writeFile(join(folder, 'plugins', 'index.json'), catalogText(catalog));
}

async function isPublished(name: string): Promise<boolean> {
  return stat(join(folder, 'plugins', name, '1.0.0', 'plugin.wasm')).then(
    () => true,
    () => false,
  );
}

describe('sync under a signature policy', () => {
  it('publishes signed images and downloads no blob of the others', async () => {
    sign('one');
    sign('two', stranger);
    const report = await run({
      signatures: { key: './cosign.pub' },
      plugins: { one: '1.0.0', two: '1.0.0', three: '1.0.0', local: { file: './main.wasm', versions: ['1.0.0'] } },
    });
    assert.deepEqual(told(report), [
      'one fetched',
      'two failed SIGNATURE_INVALID',
      'three failed SIGNATURE_MISSING',
      'local fetched',
    ]);
    assert.deepEqual(await Promise.all(['one', 'two', 'three', 'local'].map(isPublished)), [true, false, false, true]);
    const layers = registry.requests.filter(({ path, kind }) => kind === 'blob' && /two|three/.test(path));
    assert.equal(layers.length, 1, 'the signature of "two", and nothing else of it');
    const { signature } = await metadataOf('one');
    assert.equal(signature?.digest, images.one.digest);
    assert.match(signature?.signer ?? '', /^key sha256:/);
    assert.equal((await metadataOf('local')).signature, undefined);
  });

  it('requests no signature again if the lock has a proof, and nothing at all when frozen', async () => {
    sign('one');
    sign('two');
    const signatures = { key: './cosign.pub' };
    await run({ signatures });
    registry.reset();
    assert.deepEqual(told(await run({ signatures, frozen: true })), ['one kept', 'two kept']);
    assert.equal(registry.requests.length, 0);
    await run({ signatures });
    assert.ok(registry.requests.every(({ method }) => method === 'HEAD'));
  });

  it('verifies versions published before the policy, and reports those that fail', async () => {
    sign('one');
    await run({});
    assert.equal((await metadataOf('one')).signature, undefined);
    const signatures = { key: './cosign.pub' };
    assert.deepEqual(told(await run({ signatures, frozen: true })), ['one fetched', 'two failed SIGNATURE_MISSING']);
    assert.ok((await metadataOf('one')).signature);
    assert.deepEqual(await staleIn(signatures), ['one', 'two'], 'a frozen run writes no proof into the lock');
    assert.deepEqual(told(await run({ signatures })), ['one fetched', 'two failed SIGNATURE_MISSING']);
    assert.deepEqual(await staleIn(signatures), ['two']);
    // The bytes of "two" stand as they were: a gateway may be running them.
    assert.equal(await isPublished('two'), true);
  });

  it('trusts a proof in the tree only if the lock has it as well', async () => {
    sign('one');
    const signatures = { key: './cosign.pub' };
    await run({ plugins: { two: '1.0.0' } });
    await run({ signatures, plugins: { one: '1.0.0' } });
    const lock = join(folder, 'manifest.lock.json');
    const locked = JSON.parse(await readFile(lock, 'utf8'));
    const [one, two] = [await metadataOf('one'), await metadataOf('two')];
    assert.deepEqual(locked.plugins.one['1.0.0'].signature, one.signature);
    assert.ok(one.signature);
    await forge([one, { ...two, signature: { ...one.signature, digest: two.digest } }]);
    for (const frozen of [false, true]) {
      const report = await run({ signatures, frozen });
      if (!frozen) assert.deepEqual(told(report), ['one kept', 'two failed SIGNATURE_MISSING']);
      assert.deepEqual(report.unverified, [{ name: 'two', version: '1.0.0' }]);
      // Written by a sync that knew of no policy, as if the tree had been forged before it.
      if (!frozen) await run({ plugins: { one: '1.0.0', two: '1.0.0' } });
    }
    assert.equal(JSON.parse(await readFile(lock, 'utf8')).plugins.two['1.0.0'].signature, undefined);
    // Without a lock nothing but the registry can say it.
    sign('two');
    await rm(lock);
    assert.deepEqual(told(await run({ signatures })), ['one fetched', 'two fetched']);
    assert.deepEqual(told(await run({ signatures, frozen: true })), ['one kept', 'two kept']);
    // Another mark than the locked one.
    const again = await metadataOf('two');
    assert.ok(again.signature);
    await forge([await metadataOf('one'), { ...again, signature: { ...again.signature, signer: 'somebody' } }]);
    assert.deepEqual(await staleIn(signatures), ['two']);
    assert.deepEqual(told(await run({ signatures, frozen: true })), ['one kept', 'two fetched']);
  });

  it('reports unverified versions that the run did not select', async () => {
    sign('one');
    const signatures = { key: './cosign.pub' };
    const plugins = { one: '1.0.0', two: { versions: ['1.0.0'], aliases: { x: '1.0.0' } } };
    await run({ plugins });
    const report = await run({ signatures, plugins, only: ['one'] });
    assert.deepEqual(told(report), ['one fetched']);
    assert.deepEqual(report.unverified, [
      { name: 'two', version: '1.0.0' },
      { name: 'two', version: 'x' },
    ]);
    const problems = renderProblems(report, false);
    assert.match(problems, /not verified under the manifest’s signature policy: two 1\.0\.0, two x/);
    sign('two');
    assert.deepEqual((await run({ signatures, plugins })).unverified, []);
    assert.deepEqual((await run({ signatures, plugins, only: ['one'] })).unverified, []);
  });

  it('verifies again when the policy changes', async () => {
    sign('one');
    sign('two');
    await run({ signatures: { key: './cosign.pub' } });
    await writeFile(join(folder, 'cosign.pub'), publicPem(stranger));
    sign('one', stranger);
    const report = await run({ signatures: { key: './cosign.pub' }, frozen: true });
    assert.deepEqual(told(report), ['one fetched', 'two failed SIGNATURE_INVALID']);
  });

  it('applies the first matching policy to the names in the manifest, also with a mirror', async () => {
    sign('one');
    await writeFile(join(folder, 'other.pub'), publicPem(stranger));
    sign('three', stranger);
    const signatures = [
      { images: 'registry.example.com/plugins/one', key: './cosign.pub' },
      { images: ['registry.example.com/**/two', 'elsewhere/**'], unsigned: true },
      { key: './other.pub' },
    ];
    const plugins = { one: '1.0.0', two: '1.0.0', three: '1.0.0' };
    const report = await run({ signatures, plugins, at: registry.host });
    assert.deepEqual(told(report), ['one fetched', 'two fetched', 'three fetched']);
    assert.equal((await metadataOf('two')).signature, undefined);
  });
});

it('a run without a policy loads no Sigstore package', async () => {
  const mirror = new URL('../../mirror/', import.meta.url);
  for (const file of [
    'sync/fetchPlugin.ts',
    'plan/planSync.ts',
    'plan/steps.ts',
    'plan/facts.ts',
    'manifest/readManifest.ts',
    'manifest/signatures.ts',
    'signatures/policy.ts',
  ]) {
    const text = (await readFile(new URL(file, mirror), 'utf8')).replace(/^import type .*$/gm, '');
    const loaded = [...text.matchAll(/^import .*from '([^']+)';$/gm)].map(([, name]) => name);
    assert.deepEqual(
      loaded.filter(name => /sigstore|signatures\/(?!policy\.ts)/.test(name ?? '')),
      [],
      file,
    );
  }
});
