import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, describe, it } from 'node:test';
import type { Refusal } from '../../base/refusal.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import { parseReference, type Reference } from '../../registry/reference.ts';
import type { Registry, RegistryOptions } from '../../registry/registry.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import {
  captivePortal,
  chunked,
  corrupt,
  expiredToken,
  finish,
  headers,
  reset,
  status,
  wrongBytes,
} from '../support/faults.ts';
import { digestOf, imageOf, indexOf } from '../support/images.ts';
import { refused } from '../support/refused.ts';
import { startRegistry, type TestRegistry, type RegistryOptions as TestRegistryOptions } from '../support/registry.ts';

// One table for both engines: they must return the same bytes and the same error codes.

const WASM = 'application/vnd.module.wasm.content.layer.v1+wasm';
const small = Buffer.from('{"title":"a plugin"}');
const large = randomBytes(3_000_000);
const image = imageOf({
  layers: [
    { mediaType: 'application/vnd.module.wasm.spec.v1+yaml', body: small, title: 'spec.yaml' },
    { mediaType: WASM, body: large, title: 'plugin.wasm' },
  ],
  annotations: { 'org.opencontainers.image.version': '1.0.0' },
});
const other = imageOf({ layers: [{ mediaType: WASM, body: Buffer.from('\0asm of arm') }] });
const amd64 = { os: 'linux', architecture: 'amd64' };

interface Stage {
  readonly server: TestRegistry;
  readonly registry: Registry;
  reference(name: string): Reference;
}

interface Case {
  readonly name: string;
  readonly server?: TestRegistryOptions;
  readonly options?: RegistryOptions;
  readonly play: (stage: Stage) => Promise<void>;
}

const layersOf = async ({ registry, reference }: Stage, name = 'plugins/a:1') => {
  const found = await registry.fetchImage(reference(name));
  return Promise.all(found.manifest.layers.map(async layer => buffer(await registry.openBlob(reference(name), layer))));
};

const CASES: readonly Case[] = [
  {
    name: 'resolves a tag to the digest of the manifest, once',
    play: async ({ server, registry, reference }) => {
      const tag = reference('plugins/a:1');
      const [first, second] = await Promise.all([registry.resolve(tag), registry.resolve(tag)]);
      assert.equal(first, image.digest);
      assert.equal(second, image.digest);
      assert.equal(await registry.resolve(tag), image.digest);
      assert.equal(server.count('manifest'), 1);
    },
  },
  {
    name: 'asks nothing to resolve a digest',
    play: async ({ server, registry, reference }) => {
      assert.equal(await registry.resolve(reference(`plugins/a@${image.digest}`)), image.digest);
      assert.equal(server.requests.length, 0);
    },
  },
  {
    name: 'resolves where HEAD bears no digest',
    play: async ({ server, registry, reference }) => {
      server.script({ kind: 'manifest', fault: headers({ 'docker-content-digest': null }) });
      assert.equal(await registry.resolve(reference('plugins/a:1')), image.digest);
    },
  },
  {
    name: 'reads an image and all its layers to the byte',
    play: async stage => {
      const found = await stage.registry.fetchImage(stage.reference('plugins/a:1'));
      assert.equal(found.digest, image.digest);
      assert.equal(found.manifestDigest, image.digest);
      assert.equal(found.platform, undefined);
      assert.deepEqual(found.manifest.annotations, { 'org.opencontainers.image.version': '1.0.0' });
      assert.deepEqual(
        found.manifest.layers.map(({ mediaType, size, annotations }) => [mediaType, size, annotations]),
        [
          ['application/vnd.module.wasm.spec.v1+yaml', small.length, { 'org.opencontainers.image.title': 'spec.yaml' }],
          [WASM, large.length, { 'org.opencontainers.image.title': 'plugin.wasm' }],
        ],
      );
      const bytes = await layersOf(stage);
      assert.ok(bytes[0]?.equals(small));
      assert.ok(bytes[1]?.equals(large));
    },
  },
  {
    name: 'reads an image by its digest, tag or no tag beside it',
    play: async ({ registry, reference }) => {
      for (const name of [`plugins/a@${image.digest}`, `plugins/a:gone@${image.digest}`])
        assert.equal((await registry.fetchImage(reference(name))).digest, image.digest);
    },
  },
  {
    name: 'fetches what the tag was resolved to, though the tag has moved',
    play: async ({ server, registry, reference }) => {
      await registry.resolve(reference('plugins/a:1'));
      server.push('plugins/a', '1', other);
      assert.equal((await registry.fetchImage(reference('plugins/a:1'))).digest, image.digest);
    },
  },
  {
    name: 'has a blob travel once, however many ask at once and later',
    play: async ({ server, registry, reference }) => {
      const [, layer] = (await registry.fetchImage(reference('plugins/a:1'))).manifest.layers;
      assert.ok(layer);
      const ask = async () => buffer(await registry.openBlob(reference('plugins/a:1'), layer));
      const all = [...(await Promise.all([ask(), ask(), ask()])), await ask()];
      assert.ok(all.every(bytes => bytes.equals(large)));
      assert.equal(server.count({ kind: 'blob', method: 'GET' }), 1);
      assert.equal(registry.traffic.bytesDownloaded, large.length);
    },
  },
  {
    name: 'takes linux/amd64 out of an index, never an attestation',
    play: async ({ server, registry, reference }) => {
      const members = [
        { image: other, platform: 'linux/arm64/v8' },
        { image, platform: 'linux/amd64' },
      ];
      const index = indexOf(members, { attestations: true });
      server.push('plugins/i', '1', index);
      const found = await registry.fetchImage(reference('plugins/i:1'));
      assert.equal(found.digest, index.digest);
      assert.equal(found.manifestDigest, image.digest);
      assert.deepEqual(found.platform, amd64);
    },
  },
  {
    name: 'takes the platform asked for',
    options: { platform: 'linux/arm64' },
    play: async ({ server, registry, reference }) => {
      server.push(
        'plugins/i',
        '1',
        indexOf([
          { image, platform: 'linux/amd64' },
          { image: other, platform: 'linux/arm64/v8' },
        ]),
      );
      assert.equal((await registry.fetchImage(reference('plugins/i:1'))).manifestDigest, other.digest);
      assert.equal((await registry.fetchImage(reference('plugins/a:1'))).manifestDigest, image.digest);
    },
  },
  {
    name: 'refuses an index without the platform asked for, and lists what there is',
    options: { platform: 'linux/s390x' },
    play: async ({ server, registry, reference }) => {
      server.push('plugins/i', '1', indexOf([{ image, platform: 'linux/amd64' }]));
      await assert.rejects(registry.fetchImage(reference('plugins/i:1')), (error: unknown) => {
        refused('IMAGE_NO_PLATFORM')(error);
        assert.match((error as Refusal).found ?? '', /linux\/amd64/);
        return true;
      });
    },
  },
  {
    name: 'says that a tag is not there',
    play: async ({ registry, reference }) => {
      await assert.rejects(registry.resolve(reference('plugins/a:9')), refused('REGISTRY_NOT_FOUND'));
      await assert.rejects(registry.fetchImage(reference('plugins/a:9')), refused('REGISTRY_NOT_FOUND'));
    },
  },
  {
    name: 'says that a repository is not there',
    play: async ({ registry, reference }) => {
      await assert.rejects(registry.fetchImage(reference('plugins/nobody:1')), refused('REGISTRY_NOT_FOUND'));
      await assert.rejects(registry.listTags(reference('plugins/nobody:1')), refused('REGISTRY_NOT_FOUND'));
    },
  },
  {
    name: 'says that a blob is not there',
    play: async ({ server, registry, reference }) => {
      const [, layer] = (await registry.fetchImage(reference('plugins/a:1'))).manifest.layers;
      assert.ok(layer);
      server.remove('plugins/a', layer.digest);
      await assert.rejects(registry.openBlob(reference('plugins/a:1'), layer), refused('REGISTRY_NOT_FOUND'));
    },
  },
  {
    name: 'refuses what is not an image',
    play: async ({ server, registry, reference }) => {
      const pushed: [string, string, string][] = [
        ['schema1', JSON.stringify({ schemaVersion: 1, name: 'a', fsLayers: [] }), 'IMAGE_TYPE_UNSUPPORTED'],
        ['both', JSON.stringify({ ...JSON.parse(image.manifest.toString()), manifests: [] }), 'IMAGE_MANIFEST_INVALID'],
        ['size', image.manifest.toString().replace(`"size":${large.length}`, '"size":-1'), 'IMAGE_MANIFEST_INVALID'],
      ];
      for (const [tag, text, code] of pushed) {
        const manifest = Buffer.from(text);
        server.push('plugins/odd', tag, { ...image, manifest, digest: digestOf(manifest) });
        await assert.rejects(registry.fetchImage(reference(`plugins/odd:${tag}`)), refused(code), tag);
      }
    },
  },
  {
    name: 'refuses a login page in place of a manifest',
    play: async ({ server, registry, reference }) => {
      server.script({ kind: 'manifest', fault: captivePortal() });
      await assert.rejects(registry.fetchImage(reference('plugins/a:1')), refused('REGISTRY_PROTOCOL'));
      await assert.rejects(registry.resolve(reference('plugins/a:1')), refused('REGISTRY_PROTOCOL'));
    },
  },
  {
    name: 'lists all tags in order',
    play: async ({ server, registry, reference }) => {
      for (const tag of ['2', '1.0.0', 'latest']) server.push('plugins/a', tag, image);
      const { tags, unheard } = await registry.listTags(reference('plugins/a:1'));
      assert.deepEqual(unheard, []);
      assert.deepEqual([...tags].sort(), ['1', '1.0.0', '2', 'latest']);
    },
  },
  {
    name: 'gets a token without credentials',
    server: { auth: { kind: 'bearer', anonymous: true, realm: 'cross-origin' } },
    play: async stage => assert.ok((await layersOf(stage))[1]?.equals(large)),
  },
  {
    name: 'proves itself with name and password, by token and by Basic',
    server: { auth: { kind: 'bearer', user: 'robot', password: 'tr0ub4dor' } },
    options: { username: 'robot', password: 'tr0ub4dor' },
    play: async stage => assert.ok((await layersOf(stage))[1]?.equals(large)),
  },
  {
    name: 'proves itself by Basic',
    server: { auth: { kind: 'basic', user: 'robot', password: 'tr0ub4dor' } },
    options: { username: 'robot', password: 'tr0ub4dor' },
    play: async stage => assert.ok((await layersOf(stage))[1]?.equals(large)),
  },
  {
    name: 'is refused with a wrong password, and never tells it',
    server: { auth: { kind: 'basic', user: 'robot', password: 'tr0ub4dor' } },
    options: { username: 'robot', password: 'p1anted-secret' },
    play: async ({ registry, reference }) => {
      const told = (error: unknown) => {
        refused('REGISTRY_UNAUTHORIZED')(error);
        assert.doesNotMatch(`${(error as Error).stack} ${JSON.stringify(error)}`, /p1anted-secret/);
        return true;
      };
      await assert.rejects(registry.resolve(reference('plugins/a:1')), told);
      await assert.rejects(registry.fetchImage(reference('plugins/a:1')), told);
    },
  },
  {
    name: 'is refused where a registry hides what is not there',
    server: { auth: { kind: 'bearer', anonymous: true }, aliyunStyle: true },
    play: async ({ registry, reference }) => {
      await assert.rejects(registry.resolve(reference('plugins/nobody:1')), refused('REGISTRY_UNAUTHORIZED'));
      await assert.rejects(registry.fetchImage(reference('plugins/nobody:1')), refused('REGISTRY_UNAUTHORIZED'));
    },
  },
  {
    name: 'is refused with 403',
    play: async ({ server, registry, reference }) => {
      server.script({ kind: 'manifest', fault: status(403, { code: 'DENIED', message: 'not for you' }) });
      await assert.rejects(registry.resolve(reference('plugins/a:1')), refused('REGISTRY_DENIED'));
      await assert.rejects(registry.fetchImage(reference('plugins/a:1')), refused('REGISTRY_DENIED'));
    },
  },
  {
    name: 'follows a redirect to another origin without its credentials',
    server: { blobRedirect: 'cross-origin', auth: { kind: 'bearer', user: 'robot', password: 'tr0ub4dor' } },
    options: { username: 'robot', password: 'tr0ub4dor' },
    play: async stage => {
      assert.ok((await layersOf(stage))[1]?.equals(large));
      const stored = stage.server.requests.filter(({ server }) => server === 'storage');
      assert.ok(stored.length > 0);
      assert.ok(stored.every(({ headers }) => headers.authorization === undefined));
    },
  },
  {
    name: 'gets a new token when the old one ends in mid-run',
    server: { auth: { kind: 'bearer', anonymous: true } },
    play: async stage => {
      stage.server.script({ kind: 'blob', first: 1, fault: expiredToken() });
      assert.ok((await layersOf(stage))[1]?.equals(large));
    },
  },
  {
    name: 'outlives connections that are reset, before and in the answer',
    play: async stage => {
      stage.server.script([
        { kind: 'manifest', first: 1, fault: reset() },
        { kind: 'blob', first: 2, fault: reset({ afterBytes: 10 }) },
      ]);
      const [spec, wasm] = await layersOf(stage);
      assert.ok(spec?.equals(small) && wasm?.equals(large));
    },
  },
  {
    name: 'outlives a body that ends early',
    play: async stage => {
      stage.server.script({ kind: 'blob', first: 1, per: 'path', fault: finish({ afterBytes: 7 }) });
      const [spec, wasm] = await layersOf(stage);
      assert.ok(spec?.equals(small) && wasm?.equals(large));
    },
  },
  {
    name: 'reads a body without a length',
    play: async stage => {
      stage.server.script({ kind: 'blob', method: 'GET', fault: chunked() });
      assert.ok((await layersOf(stage))[1]?.equals(large));
    },
  },
  {
    name: 'fetches a blob again whose bytes were wrong once',
    play: async stage => {
      stage.server.script({ kind: 'blob', method: 'GET', first: 1, per: 'path', fault: corrupt() });
      const [spec, wasm] = await layersOf(stage);
      assert.ok(spec?.equals(small) && wasm?.equals(large));
    },
  },
  {
    name: 'refuses a blob whose bytes stay wrong',
    play: async ({ server, registry, reference }) => {
      const { layers } = (await registry.fetchImage(reference('plugins/a:1'))).manifest;
      server.script({ kind: 'blob', method: 'GET', fault: corrupt() });
      for (const layer of layers)
        await assert.rejects(registry.openBlob(reference('plugins/a:1'), layer), refused('REGISTRY_DIGEST_MISMATCH'));
    },
  },
  {
    name: 'refuses a manifest whose bytes are not those of its digest',
    play: async ({ server, registry, reference }) => {
      server.script({ kind: 'manifest', method: 'GET', fault: wrongBytes(other.manifest) });
      const exact = reference(`plugins/a@${image.digest}`);
      await assert.rejects(registry.fetchImage(exact), refused('REGISTRY_DIGEST_MISMATCH'));
    },
  },
  {
    name: 'says that nobody listens',
    options: { retries: 0 },
    play: async ({ server, registry, reference }) => {
      await server.down();
      await assert.rejects(registry.fetchImage(reference('plugins/a:1')), refused('REGISTRY_REFUSED'));
    },
  },
  {
    name: 'gives up on silence',
    options: { timeoutMs: 400, retries: 0 },
    play: async ({ server, registry, reference }) => {
      server.script({ kind: 'manifest', fault: { name: 'hang', delivery: { cut: { how: 'hang' } } } });
      await assert.rejects(registry.fetchImage(reference('plugins/a:1')), refused('REGISTRY_TIMEOUT'));
    },
  },
  {
    name: 'leaves at once when told to',
    play: async ({ server, registry, reference }) => {
      server.script({ kind: 'manifest', fault: { name: 'hang', delivery: { cut: { how: 'hang' } } } });
      const controller = new AbortController();
      const asked = registry.fetchImage(reference('plugins/a:1'), controller.signal);
      while (server.count('manifest') === 0) await new Promise(resolve => setTimeout(resolve, 5));
      controller.abort(new Error('enough'));
      await assert.rejects(asked, /enough/);
    },
  },
];

// A registry with TLS, whose authority is only in `caFile`.
const authority = new CertificateAuthority();
const folder = mkdtempSync(join(tmpdir(), 'plugin-mirror-test-'));
const caFile = join(folder, 'ca.pem');
writeFileSync(caFile, authority.cert);
after(() => rmSync(folder, { recursive: true, force: true }));
const TLS_CASES: readonly Case[] = [
  {
    name: 'trusts the authority of a file',
    server: { tls: authority.issue() },
    options: { caFile },
    play: async stage => assert.ok((await layersOf(stage))[1]?.equals(large)),
  },
  {
    name: 'trusts any certificate if told to',
    server: { tls: authority.issue({ hosts: ['elsewhere.example'] }) },
    options: { insecure: true },
    play: async stage => assert.ok((await layersOf(stage))[1]?.equals(large)),
  },
  {
    name: 'refuses an authority that it does not know, and a certificate for another name',
    server: { tls: authority.issue({ hosts: ['elsewhere.example'] }) },
    play: async ({ registry, reference }) => {
      await assert.rejects(registry.fetchImage(reference('plugins/a:1')), refused('REGISTRY_TLS'));
    },
  },
];

function stagedOn(engine: 'builtin' | 'oras', { server: serverOptions, options, play }: Case) {
  return async () => {
    const server = await startRegistry(serverOptions);
    try {
      server.push('plugins/a', '1', image);
      const registry = await openRegistry({ engine, env: { PATH: process.env.PATH }, ...options });
      try {
        await play({ server, registry, reference: name => parseReference(`${server.host}/${name}`) });
      } finally {
        await registry.close();
      }
    } finally {
      await server.close();
    }
  };
}

function withoutOras(): string | false {
  try {
    execFileSync('oras', ['version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'the ORAS CLI is not on PATH';
  }
}

describe('the built-in engine', { concurrency: 4 }, () => {
  for (const it_ of [...CASES, ...TLS_CASES]) it(it_.name, stagedOn('builtin', it_));
});

// With PLUGIN_MIRROR_TEST_PEERS=1 a missing ORAS is a failure, not a skip.
const skip = process.env.PLUGIN_MIRROR_TEST_PEERS === '1' ? false : withoutOras();
describe('the ORAS engine', { concurrency: 4, skip }, () => {
  for (const it_ of [...CASES, ...TLS_CASES]) it(it_.name, stagedOn('oras', it_));
});
