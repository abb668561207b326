import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { request } from 'undici';
import { tarLayer } from './support/image.ts';
import { digestOf, imageFormA, imageFormC, imageFormD, imageOf, indexOf, MEDIA, tarOf } from './support/images.ts';
import { buildModule } from './support/module.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from './support/registry.ts';
import { slow } from './support/slow.ts';

const wasm = buildModule({ sizeBytes: 20_000 });

async function started(t: TestContext, options: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  t.after(() => registry.close());
  registry.push('plugins/one', '1', imageFormC({ wasm }));
  return registry;
}

async function ask(url: string, options: Parameters<typeof request>[1] = {}) {
  const { statusCode, headers, body } = await request(url, options);
  const text = await body.text();
  return { status: statusCode, headers, text, code: /"code":"(\w+)"/.exec(text)?.[1] };
}

const basic = (pair: string) => ({ authorization: `Basic ${Buffer.from(pair).toString('base64')}` });

describe('pulling', () => {
  test('Accept is respected', async t => {
    const registry = await started(t);
    const url = `${registry.url}/v2/plugins/one/manifests/1`;
    assert.equal((await ask(url, { headers: { accept: MEDIA.dockerManifest } })).code, 'MANIFEST_UNKNOWN');
    const accept = `${MEDIA.dockerManifest}, ${MEDIA.manifest};q=0.5`;
    assert.equal((await ask(url, { headers: { accept } })).status, 200);
  });

  test('referrers are found, and filtered by artifact type', async t => {
    const registry = await started(t);
    const image = imageFormC({ wasm });
    const subject = { mediaType: image.mediaType, digest: image.digest, size: image.manifest.length };
    for (const artifactType of ['application/a', 'application/b'])
      registry.push('plugins/one', null, imageOf({ layers: [], artifactType, subject }));
    const url = `${registry.url}/v2/plugins/one/referrers/${image.digest}`;
    assert.equal(JSON.parse((await ask(url)).text).manifests.length, 2);
    const filtered = await ask(`${url}?artifactType=application/b`);
    assert.equal(JSON.parse(filtered.text).manifests[0].artifactType, 'application/b');
    assert.equal(filtered.headers['oci-filters-applied'], 'artifactType');
  });

  test('an unknown repository looks forbidden in the Aliyun manner', async t => {
    const registry = await started(t, { aliyunStyle: true });
    const unknown = await ask(`${registry.url}/v2/plugins/none/manifests/1`);
    assert.deepEqual([unknown.status, unknown.code], [401, 'DENIED']);
    assert.equal((await ask(`${registry.url}/v2/plugins/one/manifests/none`)).status, 404);
  });

  test('a removed image is unknown, and a moved tag leads to another image', async t => {
    const registry = await started(t);
    const url = `${registry.url}/v2/plugins/one/manifests/1`;
    const other = registry.push('plugins/one', null, imageFormA({ wasm }));
    registry.tag('plugins/one', '1', other);
    assert.equal((await ask(url, { method: 'HEAD' })).headers['docker-content-digest'], other);
    registry.remove('plugins/one', '1');
    assert.equal((await ask(url)).code, 'MANIFEST_UNKNOWN');
  });

  test('object storage on the same host is another origin all the same', async t => {
    const registry = await started(t, { blobRedirect: 'cross-origin', storageHost: '127.0.0.1' });
    const sent = await ask(`${registry.url}/v2/plugins/one/blobs/${digestOf(wasm)}`);
    const { hostname, origin } = new URL(String(sent.headers.location));
    assert.equal(hostname, '127.0.0.1');
    assert.notEqual(origin, registry.url);
  });
});

describe('pushing', () => {
  test('in chunks, in order, against the digest', async t => {
    const registry = await started(t);
    const opened = await ask(`${registry.url}/v2/new/repo/blobs/uploads/`, { method: 'POST' });
    assert.equal(opened.status, 202);
    const upload = `${registry.url}${opened.headers.location}`;
    const patch = (from: number, body: Buffer) =>
      ask(upload, { method: 'PATCH', body, headers: { 'content-range': `${from}-${from + body.length - 1}` } });
    assert.equal((await patch(0, wasm.subarray(0, 5000))).headers.range, '0-4999');
    assert.equal((await patch(9000, wasm.subarray(9000))).status, 416);
    assert.equal((await patch(5000, wasm.subarray(5000))).status, 202);
    assert.equal((await ask(`${upload}?digest=${digestOf(wasm)}`, { method: 'PUT' })).status, 201);
    assert.ok(registry.stored('new/repo', digestOf(wasm))?.equals(wasm));
    const wrong = `${registry.url}/v2/new/repo/blobs/uploads/?digest=${digestOf(wasm)}`;
    assert.equal((await ask(wrong, { method: 'POST', body: 'other' })).code, 'DIGEST_INVALID');
  });

  test('a mount of what is known is done at once, of what is not begins an upload', async t => {
    const registry = await started(t);
    const mount = (digest: string) =>
      ask(`${registry.url}/v2/new/repo/blobs/uploads/?mount=${digest}&from=plugins/one`, { method: 'POST' });
    assert.equal((await mount(digestOf(wasm))).status, 201);
    assert.equal((await mount(`sha256:${'0'.repeat(64)}`)).status, 202);
  });

  test('a manifest needs its blobs', async t => {
    const registry = await started(t);
    const { manifest, mediaType } = imageFormA({ wasm });
    const put = await ask(`${registry.url}/v2/new/repo/manifests/1`, {
      method: 'PUT',
      body: manifest,
      headers: { 'content-type': mediaType },
    });
    assert.equal(put.code, 'MANIFEST_BLOB_UNKNOWN');
  });
});

describe('credentials', () => {
  test('Basic wants exactly the right pair', async t => {
    const registry = await started(t, { auth: { kind: 'basic', user: 'ann', password: 'p:w' } });
    const status = async (headers = {}) => (await ask(`${registry.url}/v2/`, { headers })).status;
    assert.deepEqual([await status(), await status(basic('ann:pw')), await status(basic('ann:p:w'))], [401, 401, 200]);
  });

  test('tokens come for a password, an identity token or, if allowed, for nothing', async t => {
    const registry = await started(t, {
      auth: {
        kind: 'bearer',
        user: 'ann',
        password: 'pw',
        identityToken: 'refresh-me',
        expiresInSeconds: null,
        tokenField: 'access_token',
        tokenPath: '/auth',
        otherChallenges: ['Negotiate', 'Basic realm="a, b"'],
      },
    });
    const challenges = (await ask(`${registry.url}/v2/plugins/one/manifests/1`)).headers['www-authenticate'];
    assert.ok(Array.isArray(challenges) && challenges.length === 3);
    const [, realm, service, scope] = /realm="(.+?)",service="(.+?)",scope="(.+?)"/.exec(String(challenges[2])) ?? [];
    assert.equal(realm, `${registry.url}/auth`);
    const query = { service: String(service), scope: String(scope) };
    const get = (headers = {}) => ask(`${realm}?${new URLSearchParams(query)}`, { headers });
    assert.deepEqual([(await get()).status, (await get(basic('ann:no'))).status], [401, 401]);
    const given = JSON.parse((await get(basic('ann:pw'))).text);
    assert.deepEqual(Object.keys(given), ['access_token', 'issued_at']);
    const refresh = (token: string) => {
      const form = new URLSearchParams({ ...query, grant_type: 'refresh_token', refresh_token: token });
      return ask(String(realm), { method: 'POST', body: form.toString() });
    };
    assert.equal((await refresh('wrong')).status, 401);
    const { access_token: token } = JSON.parse((await refresh('refresh-me')).text);
    const authorization = `Bearer ${token}`;
    const pulled = await ask(`${registry.url}/v2/plugins/one/manifests/1`, { headers: { authorization } });
    assert.equal(pulled.status, 200);
    const pushed = await ask(`${registry.url}/v2/plugins/one/blobs/uploads/`, {
      method: 'POST',
      headers: { authorization },
    });
    assert.match(
      String(pushed.headers['www-authenticate']),
      /scope="repository:plugins\/one:pull,push",error="insufficient_scope"/,
    );
    assert.equal(registry.tokensIssued.length, 2);
  });
});

describe('image forms', () => {
  test('an index lists its images, their platforms and attestations', () => {
    const amd = imageFormD({ wasm });
    const arm = imageFormD({ layers: [[{ name: 'plugin.wasm', body: 'x' }]], docker: false });
    const members = [
      { platform: 'linux/amd64', image: amd },
      { platform: 'linux/arm64/v8', image: arm },
    ];
    const index = indexOf(members, { attestations: true });
    const { manifests } = JSON.parse(index.manifest.toString());
    assert.deepEqual(
      manifests.map(({ platform }: { platform: object }) => platform),
      [
        { architecture: 'amd64', os: 'linux' },
        { architecture: 'arm64', os: 'linux', variant: 'v8' },
        { architecture: 'unknown', os: 'unknown' },
        { architecture: 'unknown', os: 'unknown' },
      ],
    );
    assert.equal(index.children?.length, 4);
    assert.equal(indexOf(members, { docker: true }).mediaType, MEDIA.dockerList);
    assert.equal(amd.mediaType, MEDIA.dockerManifest);
    assert.equal(arm.mediaType, MEDIA.manifest);
  });

  test('descriptors can lie, titles can be left off', () => {
    const digest = digestOf(Buffer.from('other'), 'sha512');
    const lying = imageOf({ layers: [{ ...tarLayer([]), digest, size: 7 }] });
    assert.deepEqual(JSON.parse(lying.manifest.toString()).layers[0], { mediaType: MEDIA.tarGzip, digest, size: 7 });
    const untitled = imageFormA({ wasm, readme: 'r', untitled: true });
    assert.ok(!untitled.manifest.includes('title'));
  });

  test('the same input gives the same bytes', () => {
    assert.equal(imageFormA({ wasm, spec: 's' }).digest, imageFormA({ wasm, spec: 's' }).digest);
  });

  test('a hundred thousand entries are no trouble', slow, () => {
    const entries = Array.from({ length: 100_000 }, (_, index) => ({ name: `file-${index}` }));
    assert.equal(tarOf(entries).length, 100_002 * 512);
  });

  test('headers can be wrong on command', () => {
    const tar = tarOf([{ name: '../evil', body: 'abc', sizeBytes: 8 ** 11, type: 'symlink', linkTo: '/etc' }], {
      end: false,
    });
    assert.equal(tar.length, 1024);
    assert.equal(tar.toString('latin1', 0, 7), '../evil');
    assert.equal(tar.toString('latin1', 156, 161), '2/etc');
    assert.equal(tar[124], 0x80);
    assert.equal(tar.readBigUInt64BE(128), 8n ** 11n);
  });
});
