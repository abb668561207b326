import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Refusal } from '../../base/refusal.ts';
import { bundle } from '../../mirror/bundle/bundle.ts';
import { openBundle } from '../../mirror/bundle/openBundle.ts';
import { type PushReport, type PushTarget, pushImages } from '../../mirror/bundle/pushImages.ts';
import { type PluginManifest, readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { makeJob } from '../../mirror/plan/job.ts';
import { Session } from '../../mirror/session.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { openPusher } from '../../registry/push/openPusher.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { headers, reset, status } from '../support/faults.ts';
import { imageFormA, imageFormC, imageFormD, imageOf, indexOf } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { refused } from '../support/refused.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { sample, slow, slowUnless } from '../support/slow.ts';
import { payloadFor, signatureImage, sigTag, simpleLayer } from './signing.ts';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { signal } = new AbortController();
const a = imageFormA({ wasm: buildModule({ seed: 'a', sizeBytes: 40_000 }), readme: '# a' });
const c = imageFormC({ wasm: buildModule({ seed: 'c', sizeBytes: 50_000 }) });
const child = imageFormD({ wasm: buildModule({ seed: 'd', sizeBytes: 9000 }) });
const index = indexOf([{ platform: 'linux/amd64', image: child }]);
const sbom = imageOf({
  artifactType: 'application/spdx+json',
  layers: [{ mediaType: 'application/spdx+json', body: Buffer.from('{"spdx":1}') }],
  subject: { mediaType: a.mediaType, digest: a.digest, size: a.manifest.length },
});
const layer = simpleLayer(key, payloadFor(a.digest));
const signature = signatureImage([layer]);
const { privateKey: otherKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

let source: TestRegistry;
let target: TestRegistry;
let dir: string;
beforeEach(async () => {
  [source, target] = await Promise.all([startRegistry(), startRegistry()]);
  dir = await mkdtemp(join(tmpdir(), 'push-'));
  source.push('plugins/a', '1.0.0', a);
  source.push('plugins/a', sigTag(a.digest), signature);
  source.push('plugins/a', null, sbom);
  source.push('plugins/c', '1.0.0', c);
  source.push('plugins/multi', '1.0.0', index);
  const plugins = { a: '1.0.0', c: '1.0.0', multi: '1.0.0', own: { file: 'own.wasm', versions: ['1'] } };
  await writeFile(join(dir, 'own.wasm'), buildModule({ seed: 'own', sizeBytes: 3000 }));
  await pack(plugins);
  source.reset();
});
afterEach(async () => {
  await Promise.all([source.close(), target.close()]);
  await rm(dir, { recursive: true, force: true });
});

/** Writes a manifest, its lockfile and the bundle of both. */
async function pack(plugins: object, since?: string): Promise<void> {
  await writeFile(join(dir, 'manifest.json'), JSON.stringify({ registry: source.host, plugins }));
  await rm(join(dir, 'manifest.lock.json'), { force: true });
  const session = sessionOf({});
  const options = { only: [], attachments: true, since, version: '1' };
  await bundle(await jobOf(), options, { kind: 'tar', path: join(dir, 'b.tar') }, session);
  await session.registry.close();
}

function sessionOf(options: RegistryOptions): Session {
  return new Session({ openRegistry: onEvent => openRegistry({ ...options, onEvent }), signal });
}

async function jobOf(manifest?: PluginManifest): ReturnType<typeof make> {
  return make(manifest ?? (await readPluginManifest(join(dir, 'manifest.json'))));
}

async function make(manifest: PluginManifest) {
  return makeJob(manifest, { dir: join(dir, 'plugins'), concurrency: 4 });
}

interface PushOptions extends Partial<PushTarget> {
  readonly login?: RegistryOptions;
  /** Used instead of the bundle's own one. */
  readonly manifestFile?: string;
}

async function push({ login, manifestFile, ...more }: PushOptions = {}): Promise<PushReport> {
  const pusher = openPusher({ retries: 3, ...login });
  const { layout, manifest, requires, lacking, close } = await openBundle(join(dir, 'b.tar'), manifestFile);
  const session = sessionOf({ layout });
  const plain = { registry: target.host, prefix: 'hub', force: false, dryRun: false, attachments: true };
  try {
    const job = { ...(await jobOf(manifest)), bundle: { path: layout.path, requires, lacking } };
    return await pushImages(job, { pusher, ...plain, ...more }, session);
  } finally {
    await pusher.close();
    await session.registry.close();
    await close();
  }
}

function statuses({ outcomes }: PushReport): string[] {
  return outcomes.map(({ name, status: result, error }) =>
    error === undefined ? `${name} ${result}` : `${name} ${(error as Refusal).code ?? error.message}`,
  );
}

const ALL_PUSHED = ['a pushed', 'c pushed', 'multi pushed', 'own pushed'];

function assertArrived(): void {
  for (const [repository, name, image] of [
    ['hub/plugins/a', '1.0.0', a],
    ['hub/plugins/a', sigTag(a.digest), signature],
    ['hub/plugins/a', sbom.digest, sbom],
    ['hub/plugins/c', '1.0.0', c],
    ['hub/plugins/multi', '1.0.0', index],
    ['hub/plugins/multi', child.digest, child],
  ] as const) {
    assert.ok(target.stored(repository, name)?.equals(image.manifest), `${repository} ${name}`);
    for (const [digest, bytes] of image.blobs) assert.ok(target.stored(repository, digest)?.equals(bytes), digest);
  }
}

describe('push', () => {
  it('copies a bundle under the names of upstream, byte for byte, and nothing twice', async () => {
    const first = await push();
    assert.deepEqual(statuses(first), ALL_PUSHED);
    assertArrived();
    assert.equal(source.requests.length, 0);
    assert.ok(target.stored('hub/plugins/own', '1') !== undefined);
    target.reset();
    const second = await push();
    assert.deepEqual(statuses(second), ['a kept', 'c kept', 'multi kept', 'own kept']);
    assert.deepEqual(
      [second.uploadedBlobs, target.count({ method: 'PUT' }), target.count({ method: 'POST' })],
      [0, 0, 0],
    );
  });

  it('copies from registry to registry', slow, async () => {
    const pusher = openPusher({});
    const session = sessionOf({});
    const plain = { registry: target.host, prefix: 'hub', force: false, dryRun: false, attachments: true };
    const report = await pushImages(await jobOf(), { pusher, ...plain }, session);
    await Promise.all([pusher.close(), session.registry.close()]);
    assert.deepEqual(statuses(report), ALL_PUSHED);
    assertArrived();
  });

  it('pushes no locked image under a tag that the manifest has changed since', async () => {
    const plugins = { a: { versions: ['1.0.0'], tags: { '1.0.0': '2.0.0' } }, c: ['1.0.0', '2.0.0'] };
    const manifestFile = join(dir, 'manifest.json');
    await writeFile(manifestFile, JSON.stringify({ registry: source.host, plugins }));
    const { outcomes } = await push({ manifestFile });
    assert.deepEqual(
      outcomes.map(({ error }) => (error as Refusal | undefined)?.code),
      ['FROZEN_LOCK_DIFFERS', undefined, 'FROZEN_LOCK_DIFFERS'],
    );
    const message = outcomes[0]?.error?.message ?? '';
    assert.match(message, /c 2\.0\.0 is in the manifest, not in the lockfile\n.*plugins\/a:2\.0\.0/);
    assert.equal(outcomes[2]?.error?.message, message, 'one error for both, since it is shown once');
    assert.equal(target.stored('hub/plugins/a', '2.0.0'), undefined);
  });

  it('looks only, in a dry run', slow, async () => {
    assert.deepEqual(statuses(await push({ dryRun: true })), ALL_PUSHED);
    assert.ok(target.requests.every(({ method }) => method === 'HEAD' || method === 'GET'));
  });

  it('does not replace the tag of another image, unless it is forced to', async () => {
    target.push('hub/plugins/a', '1.0.0', c);
    const report = await push();
    assert.deepEqual(statuses(report), ['a PUSH_TAG_TAKEN', 'c pushed', 'multi pushed', 'own pushed']);
    const taken = report.outcomes[0]?.error as Refusal | undefined;
    assert.deepEqual([taken?.expected, taken?.found], [a.digest, c.digest]);
    assert.ok(target.stored('hub/plugins/a', '1.0.0')?.equals(c.manifest));
    assert.equal(statuses(await push({ force: true }))[0], 'a pushed');
    assertArrived();
  });

  it('keeps signatures that were added to ours at the target, with and without force', async () => {
    await push();
    const both = signatureImage([layer, simpleLayer(otherKey, payloadFor(a.digest))]);
    target.push('hub/plugins/a', sigTag(a.digest), both);
    target.reset();
    for (const options of [{}, { dryRun: true }, { force: true }])
      assert.equal(statuses(await push(options))[0], 'a kept');
    assert.equal(target.count({ method: 'PUT' }), 0);
    assert.ok(target.stored('hub/plugins/a', sigTag(a.digest))?.equals(both.manifest));
  });

  it('adds signatures that the source has got since the last push', async () => {
    await push();
    const added = signatureImage([layer, simpleLayer(otherKey, payloadFor(a.digest))]);
    source.push('plugins/a', sigTag(a.digest), added);
    await pack({ a: '1.0.0' });
    assert.deepEqual(statuses(await push({ dryRun: true })), ['a pushed']);
    assert.deepEqual(statuses(await push()), ['a pushed']);
    assert.ok(target.stored('hub/plugins/a', sigTag(a.digest))?.equals(added.manifest));
  });

  it('does not replace other signatures, unless it is forced to', async () => {
    // The payload, and so the layer's digest, is the same for each key.
    const other = signatureImage([simpleLayer(otherKey, payloadFor(a.digest))]);
    target.push('hub/plugins/a', sigTag(a.digest), other);
    for (const options of [{ dryRun: true }, {}]) {
      const { outcomes } = await push(options);
      const taken = outcomes[0]?.error as Refusal | undefined;
      assert.equal(taken?.code, 'PUSH_TAG_TAKEN');
      assert.ok(taken?.subject?.endsWith(sigTag(a.digest)));
      assert.equal(taken?.found, other.digest);
    }
    assert.equal(target.stored('hub/plugins/a', '1.0.0'), undefined, 'nothing of the image was pushed');
    assert.equal(statuses(await push({ force: true, dryRun: true }))[0], 'a pushed');
    assert.equal(statuses(await push({ force: true }))[0], 'a pushed');
    assertArrived();
  });

  it('counts an image as pushed whose signature is new at the target', async () => {
    await push();
    target.remove('hub/plugins/a', sigTag(a.digest));
    for (const options of [{ dryRun: true }, {}])
      assert.deepEqual(statuses(await push(options)), ['a pushed', 'c kept', 'multi kept', 'own kept']);
    assertArrived();
  });

  describe('with images of two registries that have one name at the target', () => {
    let other: TestRegistry;
    beforeEach(async () => {
      other = await startRegistry();
    });
    afterEach(() => other.close());
    const packSecond = () => pack({ a: '1.0.0', second: { image: `${other.host}/plugins/a`, versions: ['1.0.0'] } });

    it('pushes the first one only, with and without force', async () => {
      other.push('plugins/a', '1.0.0', c);
      await packSecond();
      for (const options of [{ dryRun: true }, {}, { force: true }]) {
        const { outcomes } = await push(options);
        assert.equal(outcomes[0]?.error, undefined);
        const taken = outcomes[1]?.error as Refusal | undefined;
        assert.equal(taken?.code, 'PUSH_TAG_TAKEN');
        for (const { host } of [source, other]) assert.ok(taken?.message.includes(`${host}/plugins/a:1.0.0`));
      }
      assert.ok(target.stored('hub/plugins/a', '1.0.0')?.equals(a.manifest));
      assert.equal(target.stored('hub/plugins/a', c.digest), undefined);
    });

    it('pushes one image of both, unless the signatures differ', slow, async () => {
      other.push('plugins/a', '1.0.0', a);
      await packSecond();
      assert.ok((await push()).outcomes.every(({ error }) => error === undefined));
      other.push('plugins/a', sigTag(a.digest), signatureImage([simpleLayer(otherKey, payloadFor(a.digest))]));
      await packSecond();
      for (const options of [{ prefix: 'new', dryRun: true }, { prefix: 'new' }]) {
        const codes = (await push(options)).outcomes.map(({ error }) => (error as Refusal | undefined)?.code ?? 'good');
        assert.deepEqual(codes.sort(), ['PUSH_TAG_TAKEN', 'good']);
      }
    });
  });

  it('lists referrers under the tag schema where the registry does not list them', async () => {
    target.script({ kind: 'manifest', method: 'PUT', fault: headers({ 'oci-subject': null }) });
    await push();
    const listed = target.stored('hub/plugins/a', a.digest.replace(':', '-'));
    const { manifests } = JSON.parse(String(listed)) as { manifests: { digest: string; artifactType: string }[] };
    assert.deepEqual(
      manifests.map(({ digest, artifactType }) => [digest, artifactType]),
      [[sbom.digest, 'application/spdx+json']],
    );
  });

  it('names the images of the base that a delta needs at the target', async () => {
    const base = join(dir, 'base.tar');
    await rename(join(dir, 'b.tar'), base);
    source.push('plugins/new', '1.0.0', child);
    await pack({ a: '1.0.0', multi: '1.0.0', new: '1.0.0' }, base);
    target.push('hub/plugins/multi', '1.0.0', index);
    for (const options of [{ dryRun: true }, {}]) {
      const report = await push(options);
      assert.deepEqual(statuses(report), ['a BUNDLE_BASE_MISSING', 'multi kept', 'new pushed']);
      const error = report.outcomes[0]?.error as Refusal | undefined;
      assert.ok(error?.expected?.includes(`hub/plugins/a:1.0.0 at the target, as ${a.digest}`));
      assert.match(error?.hint ?? '', /^Push the bundle that it was made from/);
    }
  });

  it('pushes new signatures in a delta of images that the target has', slow, async () => {
    await push();
    const base = join(dir, 'base.tar');
    await rename(join(dir, 'b.tar'), base);
    const added = signatureImage([simpleLayer(key, payloadFor(index.digest))]);
    source.push('plugins/multi', sigTag(index.digest), added);
    await pack({ a: '1.0.0', multi: '1.0.0' }, base);
    for (const options of [{ dryRun: true }, {}])
      assert.deepEqual(statuses(await push(options)), ['a kept', 'multi pushed']);
    assert.ok(target.stored('hub/plugins/multi', sigTag(index.digest))?.equals(added.manifest));
    assert.deepEqual(statuses(await push()), ['a kept', 'multi kept']);
  });

  it('logs in, and asks for the right to push', async () => {
    await target.close();
    target = await startRegistry({ auth: { kind: 'bearer', user: 'ci', password: 'secret', anonymous: false } });
    const refused = await push();
    assert.ok(statuses(refused).every(text => text.endsWith('REGISTRY_UNAUTHORIZED')));
    const login = { username: 'ci', password: 'secret' };
    assert.deepEqual(statuses(await push({ login })), ALL_PUSHED);
    assertArrived();
  });

  for (const [what, fault] of [
    ['takes no blob as a whole', status(413)],
    ['fails for a moment', status(503)],
    ['limits the rate', status(429)],
    ['cuts the connection', reset()],
  ] as const)
    it(`continues in chunks at a registry that ${what}`, slowUnless(what === 'takes no blob as a whole'), async () => {
      target.script({ kind: 'other', method: 'PUT', path: /uploads/, first: 4, fault });
      assert.deepEqual(statuses(await push()), ALL_PUSHED);
      assertArrived();
    });

  it('explains why a registry stores nothing', async () => {
    const cases = [
      ['POST', /uploads/, 413, 'REGISTRY_PROTOCOL', /because of its size \(status 413\).*at least 256 KiB/s],
      ['POST', /uploads/, 507, 'REGISTRY_UNAVAILABLE', /has no room for the image.*quota/s],
      ['POST', /uploads/, 404, 'REGISTRY_NOT_FOUND', /has no hub404\/plugins\/a to push to.*Create the project/s],
      ['POST', /uploads/, 405, 'REGISTRY_PROTOCOL', /takes no uploads.*read-only/s],
      ['PUT', /manifests/, 409, 'REGISTRY_PROTOCOL', /refused to store the image.*immutable tags/s],
      ['PUT', /manifests/, 412, 'REGISTRY_PROTOCOL', /refused to store the image.*rules forbid it, such as immutable/s],
      ['PUT', /manifests/, 403, 'REGISTRY_DENIED', /to be written\nA push needs a login: .*immutable tags, a quota/s],
      ['PUT', /manifests/, 422, 'REGISTRY_PROTOCOL', /refused to store the image \(status 422\).*media types/s],
    ] as const;
    for (const [method, path, code, expected, text] of sample(cases, 2)) {
      target.script({ method, path, fault: status(code) });
      const error = (await push({ prefix: `hub${code}` })).outcomes.find(({ name }) => name === 'a')?.error as
        | Refusal
        | undefined;
      assert.equal(error?.code, expected, String(code));
      assert.match(`${error?.message}\n${error?.hint}`, text);
    }
  });

  it('explains that a registry requires all parts of an image', async () => {
    await pack({ a: '1.0.0' });
    const fault = status(400, { code: 'MANIFEST_BLOB_UNKNOWN' });
    target.script({ method: 'PUT', path: /manifests/, fault });
    const [{ error } = {}] = (await push()).outcomes;
    assert.match(error?.message ?? '', /refused to store the image, because it lacks parts of it \(status 400\)$/);
    assert.match((error as Refusal | undefined)?.hint ?? '', /platforms of an index, and this registry requires all/);
  });

  it('names two versions of one tag, of which one is pinned by its digest', async () => {
    source.push('plugins/a', null, c);
    await pack({ a: '1.0.0', pinned: { image: `plugins/a@${c.digest}`, versions: ['1.0.0'] } });
    const { outcomes } = await push();
    const [, { error } = {}] = outcomes;
    assert.match(error?.message ?? '', /^pinned 1\.0\.0 and a 1\.0\.0 have the same name at the target/);
  });

  it('repeats no request of an image that has failed after it ends', async () => {
    await pack({ a: '1.0.0' });
    target.script([
      { method: 'POST', path: /uploads/, fault: status(403) },
      { method: 'HEAD', path: /blobs/, after: 1, fault: status(503) },
    ]);
    let retries = 0;
    const onEvent: RegistryOptions['onEvent'] = event => {
      if (event.type === 'retry') retries++;
    };
    assert.deepEqual(statuses(await push({ login: { retries: 9, onEvent } })), ['a REGISTRY_DENIED']);
    const before = retries;
    await sleep(600);
    assert.equal(retries, before);
  });

  it('retries at a registry that is down for one image, not for each of them', async () => {
    await target.down();
    const requestsFor = async (images: number): Promise<number> => {
      const pusher = openPusher({ retries: 3 });
      const repositories = Array.from({ length: images }, (_, at) => `p${at}`);
      const ask = (repository: string) => pusher.digestAt({ registry: target.host, repository, tag: '1' }, signal);
      await Promise.all(repositories.map(each => assert.rejects(ask(each), refused('REGISTRY_REFUSED'))));
      await pusher.close();
      return pusher.traffic.requests;
    };
    // While the first one is retried, up to three more are tried.
    assert.ok((await requestsFor(20)) <= 4 * (await requestsFor(1)));
  });

  it('gives no credentials to the host of another upload URL', slow, async () => {
    const auth = { kind: 'basic', user: 'ci', password: 'secret' } as const;
    await target.close();
    target = await startRegistry({ auth });
    const other = await startRegistry();
    target.script({ method: 'POST', fault: headers({ location: `${other.url}/v2/x/blobs/uploads/1?state=a%2Bb` }) });
    const report = await push({
      login: { username: auth.user, password: auth.password, credentialsFor: [target.host] },
    });
    assert.ok(statuses(report).every(text => !text.endsWith('pushed')));
    const puts = other.requests.filter(({ method }) => method === 'PUT');
    assert.ok(puts.length > 0);
    assert.ok(other.requests.every(it => it.headers.authorization === undefined));
    assert.match(puts[0]?.url ?? '', /\/uploads\/1\?state=a%2Bb&digest=sha256%3A/);
    await other.close();
  });
});
