import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { decompress } from 'fzstd';
import { type Dispatcher, request } from 'undici';
import {
  digestOf,
  imageFormA,
  imageFormB,
  imageFormC,
  imageFormD,
  imageFormE,
  indexOf,
  MEDIA,
  tarOf,
  zstd,
} from './support/images.ts';
import { buildComponent, buildModule } from './support/module.ts';
import { startRegistry } from './support/registry.ts';

// Of the language, but in none of the type libraries this project compiles with.
declare const WebAssembly: {
  validate(bytes: Buffer): boolean;
  compile(bytes: Buffer): Promise<object>;
  readonly Module: { exports(module: object): { readonly name: string; readonly kind: string }[] };
};

const folder = mkdtempSync(join(tmpdir(), 'support-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const wasm = buildModule({ sizeBytes: 200_000, seed: 'support' });
const absent = (tool: string): string | false =>
  spawnSync(tool, ['version']).error === undefined ? false : `${tool} is not on PATH`;

describe('modules', () => {
  for (const abi of ['0.1.0', '0.2.0', '0.2.1', null] as const)
    test(`are valid and export the ABI ${abi}`, async () => {
      const module = buildModule({ abi, sizeBytes: 100_000 });
      assert.equal(module.length, 100_000);
      assert.ok(WebAssembly.validate(module));
      const exported = WebAssembly.Module.exports(await WebAssembly.compile(module));
      const markers = exported.filter(({ name }) => name.startsWith('proxy_abi_version_'));
      const expected =
        abi === null ? [] : [{ name: `proxy_abi_version_${abi.replaceAll('.', '_')}`, kind: 'function' }];
      assert.deepEqual(markers, expected);
    });

  test('depend on the seed alone and compress like real ones', () => {
    assert.deepEqual(buildModule({ seed: 'a', sizeBytes: 5000 }), buildModule({ seed: 'a', sizeBytes: 5000 }));
    assert.notDeepEqual(buildModule({ seed: 'a' }), buildModule({ seed: 'b' }));
    const ratio = gzipSync(wasm).length / wasm.length;
    assert.ok(ratio > 0.24 && ratio < 0.4, `ratio ${ratio}`);
  });

  test('a component is no module', () => assert.ok(!WebAssembly.validate(buildComponent())));
});

describe('archives', () => {
  test('tar reads plain, pax and GNU names', async () => {
    const long = `${'d'.repeat(60)}/${'e'.repeat(60)}/plugin.wasm`;
    for (const longNames of ['pax', 'gnu'] as const) {
      const file = join(folder, `${longNames}.tar`);
      writeFileSync(
        file,
        tarOf([
          { name: 'short', body: 'x' },
          { name: long, body: wasm, longNames },
        ]),
      );
      const { stdout } = await execa('tar', ['-tf', file]);
      assert.deepEqual(stdout.split('\n'), ['short', long]);
      const read = await execa('tar', ['-xOf', file, long], { encoding: 'buffer' });
      assert.ok(wasm.equals(read.stdout));
    }
  });

  test('a zstd frame comes back, an empty one too', () => {
    for (const body of [wasm, Buffer.alloc(0), Buffer.alloc(131_072, 1)])
      assert.ok(body.equals(decompress(zstd(body))));
  });
});

describe('the registry', () => {
  test('answers pulls by tag and digest, with HEAD and GET', async t => {
    const registry = await startRegistry();
    t.after(() => registry.close());
    const image = imageFormA({ wasm, readme: '# hi', spec: 'info: {}' });
    const digest = registry.push('plugins/one', '1.0.0', image);
    for (const target of ['1.0.0', digest])
      for (const method of ['HEAD', 'GET'] as const) {
        const found = await request(`${registry.url}/v2/plugins/one/manifests/${target}`, { method });
        assert.equal(found.statusCode, 200);
        assert.equal(found.headers['docker-content-digest'], digest);
        assert.equal(found.headers['content-type'], MEDIA.manifest);
        assert.equal(found.headers['content-length'], String(image.manifest.length));
        const body = Buffer.from(await found.body.arrayBuffer());
        assert.ok(body.equals(method === 'GET' ? image.manifest : Buffer.alloc(0)));
      }
    assert.equal(registry.count({ kind: 'manifest', method: 'HEAD' }), 2);
    assert.equal(registry.bytesServed('manifest'), 2 * image.manifest.length);
    registry.reset();
    assert.equal(registry.requests.length, 0);
  });

  test('answers ranges, refuses those beyond the end, and says what is unknown', async t => {
    const registry = await startRegistry();
    t.after(() => registry.close());
    const image = imageFormC({ wasm });
    registry.push('plugins/one', '1.0.0', image);
    const url = `${registry.url}/v2/plugins/one/blobs/${digestOf(wasm)}`;
    const get = async (range: string) => {
      const { statusCode, headers, body } = await request(url, { headers: { range } });
      return { statusCode, range: headers['content-range'], body: Buffer.from(await body.arrayBuffer()) };
    };
    const part = await get('bytes=199990-');
    assert.equal(part.statusCode, 206);
    assert.equal(part.range, 'bytes 199990-199999/200000');
    assert.ok(part.body.equals(wasm.subarray(199_990)));
    assert.ok((await get('bytes=-3')).body.equals(wasm.subarray(-3)));
    const beyond = await get('bytes=200000-');
    assert.equal(beyond.statusCode, 416);
    assert.equal(beyond.range, 'bytes */200000');
    for (const [path, code] of [
      ['plugins/two/manifests/1', 'NAME_UNKNOWN'],
      ['plugins/one/manifests/2', 'MANIFEST_UNKNOWN'],
      [`plugins/one/blobs/sha256:${'0'.repeat(64)}`, 'BLOB_UNKNOWN'],
    ]) {
      const { statusCode, body } = await request(`${registry.url}/v2/${path}`);
      assert.equal(statusCode, 404);
      const said = (await body.json()) as { errors: { code: string }[] };
      assert.equal(said.errors[0]?.code, code);
    }
  });

  test('pages through tags', async t => {
    const registry = await startRegistry();
    t.after(() => registry.close());
    for (const tag of ['1.0.2', '1.0.0', '1.0.1']) registry.push('plugins/one', tag, imageFormC({ wasm }));
    let next: string | undefined = '/v2/plugins/one/tags/list?n=2';
    const pages: string[][] = [];
    while (next !== undefined) {
      const { headers, body }: Dispatcher.ResponseData = await request(`${registry.url}${next}`);
      pages.push(((await body.json()) as { tags: string[] }).tags);
      next = /^<(.+)>; rel="next"$/.exec(String(headers.link))?.[1];
    }
    assert.deepEqual(pages, [['1.0.0', '1.0.1'], ['1.0.2']]);
  });

  test('gives tokens of one scope, and refuses them elsewhere and when they expired', async t => {
    const registry = await startRegistry({ auth: { kind: 'bearer', realm: 'cross-origin' } });
    t.after(() => registry.close());
    registry.push('plugins/one', '1', imageFormC({ wasm }));
    registry.push('plugins/two', '1', imageFormC({ wasm }));
    const url = (name: string) => `${registry.url}/v2/plugins/${name}/manifests/1`;
    const first = await request(url('one'));
    assert.equal(first.statusCode, 401);
    await first.body.dump();
    const challenge = String(first.headers['www-authenticate']);
    const [, realm, service, scope] = /^Bearer realm="(.+)",service="(.+)",scope="(.+)"$/.exec(challenge) ?? [];
    assert.equal(scope, 'repository:plugins/one:pull');
    const query = new URLSearchParams({ service: String(service), scope: String(scope) });
    const given = await request(`${realm}?${query}`);
    const { token } = (await given.body.json()) as { token: string };
    assert.deepEqual(registry.tokensIssued, [token]);
    const status = async (name: string) => {
      const { statusCode, body } = await request(url(name), { headers: { authorization: `Bearer ${token}` } });
      await body.dump();
      return statusCode;
    };
    assert.equal(await status('one'), 200);
    assert.equal(await status('two'), 401);
    registry.expireTokens();
    assert.equal(await status('one'), 401);
    assert.equal(registry.count({ kind: 'token', server: 'token' }), 1);
  });

  test('sends blobs to object storage, which refuses credentials', async t => {
    const registry = await startRegistry({ blobRedirect: 'cross-origin' });
    t.after(() => registry.close());
    registry.push('plugins/one', '1', imageFormC({ wasm }));
    const sent = await request(`${registry.url}/v2/plugins/one/blobs/${digestOf(wasm)}`);
    assert.equal(sent.statusCode, 307);
    await sent.body.dump();
    const location = String(sent.headers.location);
    assert.notEqual(new URL(location).origin, registry.url);
    const plain = await request(location);
    assert.ok(wasm.equals(Buffer.from(await plain.body.arrayBuffer())));
    const leaking = await request(location, { headers: { authorization: 'Bearer secret' } });
    assert.equal(leaking.statusCode, 400);
    await leaking.body.dump();
    assert.equal(
      registry.count(record => record.server === 'storage' && 'authorization' in record.headers),
      1,
    );
  });

  test('refuses connections while it is down and keeps its port', async t => {
    const registry = await startRegistry();
    t.after(() => registry.close());
    const { host } = registry;
    await registry.down();
    await assert.rejects(request(`${registry.url}/v2/`), { code: 'ECONNREFUSED' });
    await registry.up();
    assert.equal(registry.host, host);
    const { statusCode, body } = await request(`${registry.url}/v2/`);
    await body.dump();
    assert.equal(statusCode, 200);
  });

  test('is down for a while, and closing does not wait for its return', async t => {
    const registry = await startRegistry();
    t.after(() => registry.close());
    await registry.downFor(30);
    const attempts: unknown[] = [];
    while (attempts.at(-1) !== 200)
      attempts.push(
        await request(`${registry.url}/v2/`).then(
          async ({ statusCode, body }) => body.dump().then(() => statusCode),
          error => error.code,
        ),
      );
    assert.equal(attempts[0], 'ECONNREFUSED');
    await registry.downFor(3_600_000);
    await registry.close();
  });
});

describe('real clients', () => {
  const forms = {
    a: imageFormA({ wasm, readme: 'r', readmeEn: 'e', spec: 's', created: '2026-01-02T03:04:05Z' }),
    b: imageFormB({ wasm }),
    c: imageFormC({ wasm }),
    d: imageFormD({ wasm }),
    e: imageFormE({ wasm, readme: 'r', icon: Buffer.from('png') }),
    zstd: imageFormA({ wasm, compression: 'zstd' }),
  };

  test('crane copies every form to the byte', { skip: absent('crane') }, async t => {
    const registry = await startRegistry({ blobRedirect: 'cross-origin', auth: { kind: 'bearer' } });
    t.after(() => registry.close());
    const whole = indexOf(
      [
        { platform: 'linux/amd64', image: forms.a },
        { platform: 'linux/arm64/v8', image: forms.d },
      ],
      { attestations: true },
    );
    const other = await startRegistry();
    t.after(() => other.close());
    for (const [name, image] of [...Object.entries(forms), ['f', whole] as const]) {
      registry.push(`plugins/${name}`, '1', image);
      await execa('crane', ['copy', `${registry.host}/plugins/${name}:1`, `${other.host}/copy/${name}:2`]);
      assert.ok(other.stored(`copy/${name}`, '2')?.equals(image.manifest), name);
      for (const [digest, body] of image.blobs) assert.ok(other.stored(`copy/${name}`, digest)?.equals(body), digest);
    }
  });

  test('crane reads the layers of a Docker image', { skip: absent('crane') }, async t => {
    const registry = await startRegistry();
    t.after(() => registry.close());
    registry.push('plugins/d', '1', forms.d);
    const tar = await execa('crane', ['export', `${registry.host}/plugins/d:1`, '-'], {
      encoding: 'buffer',
      stripFinalNewline: false,
    });
    assert.ok(Buffer.from(tar.stdout).includes(wasm));
  });

  test('oras logs in, pushes and pulls', { skip: absent('oras') }, async t => {
    const auth = { kind: 'bearer', user: 'ann', password: 'p:w', identityToken: 'refresh-me' } as const;
    const registry = await startRegistry({ auth, blobRedirect: 'same-origin' });
    t.after(() => registry.close());
    writeFileSync(join(folder, 'plugin.wasm'), wasm);
    const config = join(folder, 'oras.json');
    const oras = (...args: string[]) =>
      execa('oras', [...args, '--plain-http', '--registry-config', config], { cwd: folder, input: 'p:w' });
    await oras('login', registry.host, '--username', 'ann', '--password-stdin');
    await oras('push', '--no-tty', `${registry.host}/x/y:1`, `plugin.wasm:${MEDIA.wasm}`);
    await oras('pull', '--no-tty', `${registry.host}/x/y:1`, '-o', 'pulled');
    assert.ok(wasm.equals(readFileSync(join(folder, 'pulled/plugin.wasm'))));
    const tags = await oras('repo', 'tags', `${registry.host}/x/y`);
    assert.equal(tags.stdout, '1');
  });

  test('oras pulls form A', { skip: absent('oras') }, async t => {
    const registry = await startRegistry({ auth: { kind: 'basic', user: 'ann', password: 'pw' } });
    t.after(() => registry.close());
    registry.push('plugins/a', '1', forms.a);
    const config = join(folder, 'basic.json');
    const auth = Buffer.from('ann:pw').toString('base64');
    writeFileSync(config, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    await execa(
      'oras',
      ['pull', '--no-tty', '--plain-http', '--registry-config', config, `${registry.host}/plugins/a:1`, '-o', 'a'],
      {
        cwd: folder,
      },
    );
    assert.ok(gunzipSync(readFileSync(join(folder, 'a/plugin.tar.gz'))).includes(wasm));
    assert.equal(readFileSync(join(folder, 'a/README_EN.md'), 'utf8'), 'e');
  });
});
