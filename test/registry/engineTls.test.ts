import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  RegistryOptionsInvalid,
  RegistryProxy,
  RegistryRedirect,
  RegistryTls,
  RegistryUnavailable,
} from '../../registry/errors.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { redirect, reset } from '../support/faults.ts';
import { startProxy } from '../support/proxy.ts';
import { type Bench, everythingOf, fetchWhole, openEngine, SIGNAL, setUp } from './engineBench.ts';

const DAY_MS = 86_400_000;
const authority = new CertificateAuthority();
let folder = '';
let caFile = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plugin-mirror-tls-'));
  caFile = await write('ca.pem', authority.cert);
});
after(() => rm(folder, { recursive: true }));

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, text);
  return path;
}

/** The error of resolving. */
async function outcome({ engine, reference }: Pick<Bench, 'engine' | 'reference'>): Promise<unknown> {
  return engine.resolve(reference, SIGNAL).catch((error: unknown) => error);
}

test('TLS on loopback is detected, and trusted with a CA file', async context => {
  const bench = await setUp(
    context,
    { tls: authority.issue(), auth: { kind: 'bearer' }, blobRedirect: 'cross-origin' },
    { caFile },
  );
  assert.equal(await outcome(bench), bench.image.digest);
  assert.deepEqual((await fetchWhole(bench)).bytes, bench.blob);
  assert.deepEqual(bench.events, []);
});

test('a CA from NODE_EXTRA_CA_CERTS counts in addition to a CA file', async context => {
  const other = await write('other.pem', new CertificateAuthority('other').cert);
  const bench = await setUp(
    context,
    { tls: authority.issue() },
    { caFile: other, env: { NODE_EXTRA_CA_CERTS: caFile } },
  );
  // From Node 22.15 on, Node's own list of authorities is used, which has the variable of Node's own environment.
  if ('getCACertificates' in (await import('node:tls'))) return;
  assert.equal(await outcome(bench), bench.image.digest);
});

test('insecure accepts any certificate, and only if it is set', async context => {
  const stranger = new CertificateAuthority('stranger').issue({
    hosts: ['elsewhere.example'],
    notAfter: new Date(Date.now() - DAY_MS),
  });
  const bench = await setUp(context, { tls: stranger }, { insecure: true });
  assert.equal(await outcome(bench), bench.image.digest);
  assert.ok((await outcome({ ...bench, engine: openEngine(context).engine })) instanceof RegistryTls);
});

for (const [name, certificate, words, hint] of [
  ['an unknown authority', () => new CertificateAuthority('x').issue(), /no known authority/, /--ca-file/],
  [
    'an expired certificate',
    () => authority.issue({ notBefore: new Date(0), notAfter: new Date(Date.now() - DAY_MS) }),
    /expired/,
    /clock/,
  ],
  [
    'a certificate of tomorrow',
    () => authority.issue({ notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 2 * DAY_MS) }),
    /not valid yet/,
    /clock/,
  ],
  [
    'another name',
    () => authority.issue({ hosts: ['elsewhere.example'] }),
    /IP address 127\.0\.0\.1.*DNS:elsewhere\.example/,
    /IP:127/,
  ],
] as const)
  test(`${name} is reported as such, immediately`, async context => {
    const bench = await setUp(context, { tls: certificate() }, { caFile });
    const error = await outcome(bench);
    assert.ok(error instanceof RegistryTls, String(error));
    assert.match(error.message, words);
    assert.match(error.hint, hint);
    assert.equal(error.temporary, false);
    assert.deepEqual(bench.events, []);
  });

test('requested plain http to a TLS port is reported as such', async context => {
  const bench = await setUp(context, { tls: authority.issue() }, { caFile, plainHttp: true });
  const error = await outcome(bench);
  assert.ok(error instanceof RegistryTls, String(error));
  assert.match(error.hint, /--plain-http/);
});

test('a plain registry that resets the first connections stays plain', async context => {
  const bench = await setUp(context);
  bench.registry.script({ first: 2, fault: reset() });
  assert.equal(await outcome(bench), bench.image.digest);
  assert.ok(bench.registry.requests.every(({ url }) => url.startsWith('http:')));
});

test('a client certificate is sent, from the options or from the host’s folder', async context => {
  const mine = authority.issue({ hosts: [], commonName: 'me', usage: 'client' });
  const tls = { ...authority.issue(), clientCa: authority.cert };
  const certFile = await write('client.pem', mine.cert);
  const keyFile = await write('client.key.pem', mine.key);
  const bench = await setUp(context, { tls }, { caFile, certFile, keyFile });
  assert.equal(await outcome(bench), bench.image.digest);
  const { host } = bench.registry;
  await write(`certs.d/${host}/ca.crt`, authority.cert);
  await write(`certs.d/${host}/client.cert`, mine.cert);
  await write(`certs.d/${host}/client.key`, mine.key);
  const { engine } = openEngine(context, { certsDir: join(folder, 'certs.d') });
  assert.equal(await outcome({ ...bench, engine }), bench.image.digest);
  const without = await outcome({ ...bench, engine: openEngine(context, { caFile, retries: 1 }).engine });
  // The alert may arrive before or after the connection closes.
  assert.ok(without instanceof RegistryTls || without instanceof RegistryUnavailable, String(without));
  assert.match(without.hint, /client certificate/);
});

test('unusable certificate options are refused before any request', async context => {
  const key = authority.issue();
  const other = authority.issue();
  const certFile = await write('a.pem', key.cert);
  const options = [
    { caFile: join(folder, 'nowhere') },
    { caFile: await write('text.pem', 'hello') },
    { caFile: await write('torn.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n') },
    { certFile, keyFile: await write('b.key', other.key) },
  ];
  for (const option of options) {
    const { engine } = openEngine(context, option);
    const error = await outcome({ engine, reference: { registry: 'registry.invalid', repository: 'a/b', tag: '1' } });
    assert.ok(error instanceof RegistryOptionsInvalid, `${JSON.stringify(option)} ${error}`);
    assert.equal(engine.traffic.requests, 0);
  }
  assert.throws(() => openEngine(context, { certFile }), RegistryOptionsInvalid);
});

test('https never redirects to http', async context => {
  const bench = await setUp(context, { tls: authority.issue() }, { caFile });
  const plain = await setUp(context);
  bench.registry.script({ kind: 'manifest', fault: redirect(`${plain.registry.url}/v2/team/plugin/manifests/1.0.0`) });
  const error = await outcome(bench);
  assert.ok(error instanceof RegistryRedirect, String(error));
  assert.match(error.message, /plain http/);
  assert.equal(plain.registry.requests.length, 0);
});

test('a registry behind a proxy is reached through a tunnel for https and by its whole URL for http', async context => {
  for (const secure of [true, false]) {
    const names = ['registry.test', 'storage.test'];
    const bench = await setUp(context, secure ? { tls: authority.issue({ hosts: names }) } : {});
    const proxy = await startProxy({
      user: 'us er',
      password: 'p@ss',
      closed: true,
      routes: { 'registry.test:443': bench.registry.host, 'registry.test': bench.registry.host },
    });
    context.after(() => proxy.close());
    const env = { [secure ? 'HTTPS_PROXY' : 'HTTP_PROXY']: proxy.urlWithCredentials };
    const { engine } = openEngine(context, { caFile, env, plainHttp: !secure });
    const reference = { ...bench.reference, registry: 'registry.test' };
    assert.equal(await outcome({ engine, reference }), bench.image.digest);
    assert.deepEqual((await fetchWhole({ ...bench, engine, reference })).bytes, bench.blob);
    assert.ok(proxy.count(secure ? 'CONNECT' : 'GET') > 0);
    assert.ok(bench.registry.requests.every(({ headers }) => headers['proxy-authorization'] === undefined));
  }
});

test('errors name the proxy or the registry behind it, and never the proxy’s password', async context => {
  const gone = await startProxy();
  const refusedUrl = gone.url;
  await gone.close();
  const self = new CertificateAuthority('proxy');
  for (const secure of [true, false])
    for (const [options, words] of [
      [{ user: 'u', password: 'right' }, /credentials/],
      [{ failWith: 502 }, /502/],
      [{ closed: true }, /403/],
      [{ tls: self.issue() }, /--ca-file/],
      [undefined, /refused/],
    ] as const) {
      const proxy = options === undefined ? undefined : await startProxy(options);
      if (proxy !== undefined) context.after(() => proxy.close());
      const url = new URL(proxy?.url ?? refusedUrl);
      url.username = 'u';
      url.password = 'planted';
      const env = { http_proxy: url.href, https_proxy: url.href };
      const { engine } = openEngine(context, { env, plainHttp: !secure, retries: 1 });
      const error = await outcome({ engine, reference: { registry: 'registry.test', repository: 'a/b', tag: '1' } });
      const about = `${secure} ${JSON.stringify(options)} ${error}`;
      if (!secure && options !== undefined && !('user' in options || 'tls' in options)) {
        // Over http, a 403 or 502 of the proxy looks like the registry's.
        assert.ok(error instanceof Error, about);
      } else {
        assert.ok(error instanceof RegistryProxy, about);
        assert.match(`${error.message} ${error.hint}`, words, about);
      }
      assert.ok(!everythingOf(error).includes('planted'), about);
    }
});

test('a proxy that inspects TLS is named as the likely reason for an unknown authority', async context => {
  const bench = await setUp(context, {
    tls: new CertificateAuthority('inspection').issue({ hosts: ['registry.test'] }),
  });
  const proxy = await startProxy({ routes: { 'registry.test:443': bench.registry.host } });
  context.after(() => proxy.close());
  const { engine } = openEngine(context, { env: { HTTPS_PROXY: proxy.url } });
  const error = await outcome({ engine, reference: { ...bench.reference, registry: 'registry.test' } });
  assert.ok(error instanceof RegistryTls, String(error));
  assert.match(error.hint, /proxy .* inspect TLS/);
});

test('a proxy that does not answer is a timeout, and NO_PROXY bypasses it', async context => {
  const bench = await setUp(context);
  const proxy = await startProxy({ failWith: 0 });
  context.after(() => proxy.close());
  const env = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
  const { engine } = openEngine(context, { env: { ...env, NO_PROXY: '127.0.0.0/8' } });
  assert.equal(await outcome({ ...bench, engine }), bench.image.digest);
  const stuck = openEngine(context, { env, timeoutMs: 100, retries: 0 }).engine;
  const error = await outcome({ engine: stuck, reference: { ...bench.reference, registry: 'registry.test' } });
  assert.ok(error instanceof RegistryProxy, String(error));
});

test('https to a port that speaks plain http is reported as such', async context => {
  const bench = await setUp(context);
  const proxy = await startProxy({ routes: { 'registry.test:443': bench.registry.host } });
  context.after(() => proxy.close());
  const { engine } = openEngine(context, { env: { HTTPS_PROXY: proxy.url } });
  const error = await outcome({ engine, reference: { ...bench.reference, registry: 'registry.test' } });
  assert.ok(error instanceof RegistryTls, String(error));
  assert.match(error.hint, /--plain-http/);
});

test('an abort takes effect while a proxy does not answer', { timeout: 8000 }, async context => {
  const proxy = await startProxy({ failWith: 0 });
  context.after(() => proxy.close());
  const { engine } = openEngine(context, { env: { HTTPS_PROXY: proxy.url } });
  const controller = new AbortController();
  const reason = new Error('enough');
  const poll = setInterval(() => proxy.count() > 0 && controller.abort(reason), 1);
  const reference = { registry: 'registry.test', repository: 'a/b', tag: '1' };
  await assert.rejects(engine.resolve(reference, controller.signal), (error: unknown) => error === reason);
  clearInterval(poll);
});
