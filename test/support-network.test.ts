import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { execa } from 'execa';
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';
import { CertificateAuthority } from './support/certificates.ts';
import { hang, reset } from './support/faults.ts';
import { digestOf, imageFormC } from './support/images.ts';
import { buildModule } from './support/module.ts';
import { type ProxyOptions, startProxy } from './support/proxy.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from './support/registry.ts';

const authority = new CertificateAuthority();
const wasm = buildModule({ sizeBytes: 100_000 });

async function started(t: TestContext, options: RegistryOptions): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  t.after(() => registry.close());
  registry.push('plugins/one', '1', imageFormC({ wasm }));
  return registry;
}

async function status(url: string, dispatcher: Dispatcher): Promise<number> {
  const { statusCode, body } = await request(url, { dispatcher });
  await body.arrayBuffer();
  return statusCode;
}

function trusting(t: TestContext, options: Agent.Options['connect'] = { ca: authority.cert }): Agent {
  const agent = new Agent({ connect: options ?? {} });
  t.after(() => agent.close());
  return agent;
}

describe('certificates', () => {
  test('chain to their authority and name their hosts', () => {
    const issued = new X509Certificate(authority.issue({ hosts: ['a.example', '127.0.0.1', '2001:db8::7'] }).cert);
    const root = new X509Certificate(authority.cert);
    assert.ok(root.ca && !issued.ca);
    assert.ok(issued.checkIssued(root) && issued.verify(root.publicKey));
    assert.equal(issued.subjectAltName, 'DNS:a.example, IP Address:127.0.0.1, IP Address:2001:DB8:0:0:0:0:0:7');
    assert.ok(!issued.verify(new X509Certificate(new CertificateAuthority().cert).publicKey));
  });

  test('dates beyond 2050 are written too', () => {
    const { validTo } = new X509Certificate(authority.issue({ notAfter: new Date('2061-02-03T04:05:06Z') }).cert);
    assert.match(validTo, /2061/);
  });

  test('openssl finds nothing wrong', { skip: spawnSync('openssl', ['version']).error && 'no openssl' }, async t => {
    const folder = mkdtempSync(join(tmpdir(), 'certificates-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(folder, 'ca.pem'), authority.cert);
    writeFileSync(join(folder, 'server.pem'), authority.issue().cert);
    await execa('openssl', ['verify', '-x509_strict', '-CAfile', 'ca.pem', 'server.pem'], { cwd: folder });
  });
});

describe('TLS', () => {
  test("a trusted certificate serves; a stranger's, a stale one and another host's do not", async t => {
    const agent = trusting(t);
    const good = await started(t, { tls: authority.issue() });
    assert.equal(await status(`${good.url}/v2/`, agent), 200);
    for (const [tls, code] of [
      [new CertificateAuthority().issue(), /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
      [authority.issue({ notAfter: new Date(Date.now() - 1000) }), /CERT_HAS_EXPIRED/],
      [authority.issue({ notBefore: new Date(Date.now() + 3_600_000) }), /CERT_NOT_YET_VALID/],
      [authority.issue({ hosts: ['elsewhere.example'] }), /ERR_TLS_CERT_ALTNAME_INVALID/],
    ] as const) {
      const bad = await started(t, { tls });
      await assert.rejects(status(`${bad.url}/v2/`, agent), error => code.test((error as { code: string }).code));
      assert.equal(bad.requests.length, 0);
    }
  });

  test('client certificates are asked for and checked', async t => {
    const registry = await started(t, { tls: { ...authority.issue(), clientCa: authority.cert } });
    await assert.rejects(status(`${registry.url}/v2/`, trusting(t)));
    const own = authority.issue({ hosts: [], commonName: 'ann', usage: 'client' });
    assert.equal(await status(`${registry.url}/v2/`, trusting(t, { ca: authority.cert, ...own })), 200);
  });

  test('too old a version, and plain http on the port, get nowhere', async t => {
    const old = await started(t, { tls: { ...authority.issue(), maxVersion: 'TLSv1.1' } });
    await assert.rejects(status(`${old.url}/v2/`, trusting(t)));
    const good = await started(t, { tls: authority.issue() });
    await assert.rejects(status(`http://${good.host}/v2/`, trusting(t)));
    const plain = await started(t, {});
    await assert.rejects(status(`https://${plain.host}/v2/`, trusting(t)));
  });

  test('connections break beneath it', async t => {
    const registry = await started(t, { tls: authority.issue() });
    const agent = trusting(t);
    const blob = `${registry.url}/v2/plugins/one/blobs/${digestOf(wasm)}`;
    registry.script({ fault: reset({ afterBytes: 500 }) });
    await assert.rejects(status(blob, agent), { code: 'ECONNRESET' });
    registry.script([]);
    registry.resetConnections(1);
    await assert.rejects(status(blob, agent), { code: 'ECONNRESET' });
    assert.equal(await status(blob, agent), 200);
    registry.script({ fault: hang() });
    await Promise.all([assert.rejects(status(blob, agent)), registry.close()]);
  });
});

describe('the proxy', () => {
  async function proxied(t: TestContext, options: ProxyOptions, token?: string) {
    const proxy = await startProxy(options);
    t.after(() => proxy.close());
    const agent = new ProxyAgent({ uri: proxy.url, ...(token ? { token } : {}), requestTls: { ca: authority.cert } });
    t.after(() => agent.close());
    return { proxy, agent };
  }

  test('tunnels to hosts that no DNS knows', async t => {
    const registry = await started(t, { tls: authority.issue({ hosts: ['registry.example'] }) });
    const { proxy, agent } = await proxied(t, { closed: true, routes: { 'registry.example:443': registry.host } });
    assert.equal(await status('https://registry.example/v2/plugins/one/manifests/1', agent), 200);
    assert.equal(proxy.count('CONNECT'), 1);
    assert.ok((proxy.requests[0]?.bytesDown ?? 0) > 500);
    await assert.rejects(status('https://other.example/v2/', agent));
    assert.equal(proxy.requests.at(-1)?.status, 403);
  });

  test('forwards the absolute form', async t => {
    const registry = await started(t, {});
    const proxy = await startProxy({ user: 'ann', password: 'p w', routes: { 'registry.example': registry.host } });
    t.after(() => proxy.close());
    const get = (options: readonly string[]) =>
      execa('curl', ['-s', '-o', '-', '-w', '\n%{http_code}', '-x', ...options, 'http://registry.example/v2/']);
    if (spawnSync('curl', ['--version']).error) return t.skip('no curl');
    assert.match((await get([proxy.url])).stdout, /\n407$/);
    assert.equal((await get([proxy.urlWithCredentials])).stdout, '{}\n200');
    assert.equal(registry.requests[0]?.headers['proxy-authorization'], undefined);
    assert.equal(proxy.count('GET'), 2);
  });

  test('wants its credentials', async t => {
    const registry = await started(t, { tls: authority.issue() });
    const options = { user: 'ann', password: 'secret' };
    const without = await proxied(t, options);
    await assert.rejects(status(`${registry.url}/v2/`, without.agent));
    assert.equal(without.proxy.requests[0]?.status, 407);
    const token = `Basic ${Buffer.from('ann:secret').toString('base64')}`;
    const { agent } = await proxied(t, options, token);
    assert.equal(await status(`${registry.url}/v2/`, agent), 200);
  });

  test('fails on command, and reports when it reaches nothing', async t => {
    const failing = await proxied(t, { failWith: 503 });
    await assert.rejects(status('https://registry.example/v2/', failing.agent));
    assert.equal(failing.proxy.requests[0]?.status, 503);
    const registry = await started(t, { tls: authority.issue() });
    await registry.down();
    const { proxy, agent } = await proxied(t, {});
    await assert.rejects(status(`${registry.url}/v2/`, agent));
    assert.equal(proxy.requests[0]?.status, 502);
  });
});
