import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { RegistryTls } from '../../registry/errors.ts';
import { includesHost } from '../../registry/hosts/hosts.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const image = imageFormC({ wasm: buildModule() });
const authority = new CertificateAuthority();

it('a choice names hosts with ports; a missing port is the scheme’s default', () => {
  for (const [choice, host, scheme, expected] of [
    [true, 'a', 'https', true],
    [false, 'a', 'https', false],
    [undefined, 'a', 'https', false],
    [[], 'a', 'https', false],
    [['a.example'], 'a.example', 'https', true],
    [['A.Example'], 'a.example', 'https', true],
    [['a.example:443'], 'a.example', 'https', true],
    [['a.example'], 'a.example:443', 'https', true],
    [['a.example'], 'a.example:5000', 'https', false],
    [['a.example:5000'], 'a.example', 'https', false],
    [['a.example:80'], 'a.example', 'http', true],
    [['a.example:80'], 'a.example', 'https', false],
    [['example'], 'a.example', 'https', false],
    [['[::1]:5000'], '[::1]:5000', 'https', true],
    [['[0:0::1]:5000'], '[::1]:5000', 'https', true],
    [['b', 'c:1'], 'c:1', 'https', true],
    [['c:1'], '', 'https', false],
  ] as const)
    assert.equal(includesHost(choice, host, scheme), expected, `${choice} ${host} ${scheme}`);
});

async function startTls(context: TestContext, clientCa?: string): Promise<TestRegistry> {
  const registry = await startRegistry({ tls: { ...authority.issue(), ...(clientCa && { clientCa }) } });
  registry.push('plugins/a', '1', image);
  context.after(() => registry.close());
  return registry;
}

async function open(context: TestContext, options: RegistryOptions) {
  const registry = await openRegistry({ retries: 0, env: { PATH: process.env.PATH }, ...options });
  context.after(() => registry.close());
  return registry;
}

const referenceAt = ({ host }: TestRegistry) => ({ registry: host, repository: 'plugins/a', tag: '1' });

function hasOras(): boolean {
  try {
    return execFileSync('oras', ['version'], { encoding: 'utf8', stdio: 'pipe' }).includes('Version:');
  } catch {
    return false;
  }
}

const isOrasNeeded = process.env.PLUGIN_MIRROR_TEST_PEERS === '1';

for (const engine of ['builtin', 'oras'] as const)
  describe(engine, { skip: engine === 'oras' && !isOrasNeeded && !hasOras() && 'no ORAS CLI on PATH' }, () => {
    it('accepts any certificate of the named hosts, and of no others', async context => {
      const [named, other] = [await startTls(context), await startTls(context)];
      const registry = await open(context, { engine, insecure: [named.host] });
      assert.equal(await registry.resolve(referenceAt(named)), image.digest);
      await assert.rejects(registry.resolve(referenceAt(other)), RegistryTls);
      assert.equal(other.count(), 0);
    });

    it('uses docker’s folder of a host for that host only', async context => {
      const certsDir = await mkdtemp(join(tmpdir(), 'plugin-mirror-certs-'));
      context.after(() => rm(certsDir, { recursive: true }));
      const [named, other] = [await startTls(context, authority.cert), await startTls(context)];
      const mine = authority.issue({ hosts: [], commonName: 'me', usage: 'client' });
      for (const [name, text] of [
        ['ca.crt', authority.cert],
        ['me.cert', mine.cert],
        ['me.key', mine.key],
      ] as const) {
        const file = join(certsDir, named.host, name);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, text);
      }
      const registry = await open(context, { engine, certsDir });
      assert.equal(await registry.resolve(referenceAt(named)), image.digest);
      await assert.rejects(registry.resolve(referenceAt(other)), RegistryTls);
    });

    it('uses plain http for the named hosts, and https for others', async context => {
      const [tls, plain] = [await startTls(context), await startRegistry()];
      context.after(() => plain.close());
      plain.push('plugins/a', '1', image);
      // Loopback is tried over http anyway; an explicit --plain-http for a TLS port is an error.
      const registry = await open(context, { engine, plainHttp: [tls.host] });
      assert.equal(await registry.resolve(referenceAt(plain)), image.digest);
      await assert.rejects(registry.resolve(referenceAt(tls)));
      assert.equal(tls.count(), 0);
    });
  });

describe('a port with TLS that answers plain http by a 400', () => {
  for (const [type, body] of [
    ['text/plain', 'Client sent an HTTP request to an HTTPS server.\n'],
    ['text/html', '<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>'],
  ] as const)
    it(`as ${type} is recognised`, async context => {
      const secure = createTlsServer(authority.issue());
      const server = createServer(socket => {
        socket.on('error', () => {});
        socket.once('data', first => {
          const isHandshake = first[0] === 0x16;
          socket.pause();
          socket.unshift(first);
          if (isHandshake) secure.emit('connection', socket);
          else socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Type: ${type}\r\nConnection: close\r\n\r\n${body}`);
        });
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      context.after(() => server.close());
      const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      const registry = await open(context, { plainHttp: [host] });
      await assert.rejects(
        registry.resolve({ registry: host, repository: 'plugins/a', tag: '1' }),
        (error: RegistryTls) => error.code === 'REGISTRY_TLS' && error.hint === 'Leave out --plain-http.',
      );
    });
});
