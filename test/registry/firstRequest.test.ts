import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { RegistryOptions as OpenOptions, Registry } from '../../registry/registry.ts';
import { delay, hang, reset, status } from '../support/faults.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';
import { times } from '../support/slow.ts';
import { openEngine, SIGNAL, sampleImage } from './engineBench.ts';

type After = { after(fn: () => unknown): void };

const PLUGINS = times(40, 86);

async function manyPlugins(context: After, options: RegistryOptions): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  context.after(() => registry.close());
  const { image } = sampleImage(10);
  for (let index = 0; index < PLUGINS; index += 1) registry.push(`plugins/p${index}`, '1.0.0', image);
  return registry;
}

const referenceOf = (registry: string, index: number) => ({ registry, repository: `plugins/p${index}`, tag: '1.0.0' });

async function open(context: After, options: OpenOptions = {}): Promise<Registry> {
  const registry = await openRegistry({ certsDir: '/nowhere', ...options });
  context.after(() => registry.close());
  return registry;
}

const everyIndex = Array.from({ length: PLUGINS }, (_, index) => index);

test('many simultaneous repositories cost one 401, one token each, and one request each', async context => {
  for (const realm of ['same-origin', 'cross-origin'] as const) {
    const registry = await manyPlugins(context, { auth: { kind: 'bearer', realm } });
    const client = await open(context);
    await Promise.all(everyIndex.map(index => client.fetchImage(referenceOf(registry.host, index), SIGNAL)));
    assert.equal(registry.count({ status: 401 }), 1, realm);
    assert.equal(registry.count('token'), PLUGINS, realm);
    assert.equal(registry.count(), 2 * PLUGINS + 1, realm);
  }
});

test('many repositories behind Basic cost one 401', async context => {
  const registry = await manyPlugins(context, { auth: { kind: 'basic', user: 'u', password: 'p' } });
  const client = await open(context, { username: 'u', password: 'p' });
  await Promise.all(everyIndex.map(index => client.fetchImage(referenceOf(registry.host, index), SIGNAL)));
  assert.equal(registry.count(), PLUGINS + 1);
});

test('without a login no request is added', async context => {
  const registry = await manyPlugins(context, {});
  const client = await open(context);
  await Promise.all(everyIndex.map(index => client.fetchImage(referenceOf(registry.host, index), SIGNAL)));
  assert.equal(registry.count(), PLUGINS);
});

test('a first request that hangs, breaks or fails does not affect the others', async context => {
  for (const fault of [hang(), reset(), status(404), delay(200)]) {
    const registry = await manyPlugins(context, { auth: { kind: 'bearer' } });
    registry.script({ kind: 'manifest', path: /plugins\/p0\//, fault });
    const client = await open(context, { retries: 1 });
    const own = new AbortController();
    const first = client.fetchImage(referenceOf(registry.host, 0), own.signal).catch((error: unknown) => error);
    const others = everyIndex.slice(1, 20);
    await Promise.all(others.map(index => client.fetchImage(referenceOf(registry.host, index), SIGNAL)));
    own.abort(new Error('enough'));
    await first;
  }
});

test('a caller can abort while it waits for the first request', async context => {
  const registry = await manyPlugins(context, {});
  registry.script({ kind: 'manifest', nth: 1, fault: hang() });
  const client = await open(context);
  const [first, second] = [new AbortController(), new AbortController()];
  const leading = client.fetchImage(referenceOf(registry.host, 0), first.signal);
  const waiting = client.fetchImage(referenceOf(registry.host, 1), second.signal);
  second.abort(new Error('second left'));
  await assert.rejects(waiting, /second left/);
  first.abort(new Error('first left'));
  await assert.rejects(leading, /first left/);
  assert.ok(registry.count() <= 1);
});

/** A registry with the scopes of `scopeOf`; each of its tokens names its scopes. */
async function startScoped(
  context: After,
  scopeOf: (repository: string) => string,
  isGranted: (scope: string) => boolean,
): Promise<{ readonly host: string; readonly seen: string[] }> {
  const seen: string[] = [];
  const manifest = JSON.stringify({ schemaVersion: 2, layers: [] });
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://registry');
    const given = request.headers.authorization;
    if (url.pathname === '/token') {
      const scope = url.searchParams.getAll('scope').join(' ');
      seen.push(`token ${scope}`);
      if (!isGranted(scope)) response.writeHead(403).end();
      else response.end(JSON.stringify({ token: Buffer.from(scope).toString('hex'), expires_in: 300 }));
      return;
    }
    const repository = /^\/v2\/(.*)\/manifests\//.exec(url.pathname)?.[1] ?? '';
    const scope = scopeOf(repository);
    const isProven = given === `Bearer ${Buffer.from(scope).toString('hex')}`;
    seen.push(`${isProven ? 200 : 401} ${repository}`);
    if (isProven) response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json').end(manifest);
    else {
      const challenge = `Bearer realm="http://${request.headers.host}/token",service="s",scope="${scope}"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

test('scopes of another form are guessed from the first', async context => {
  for (const scopeOf of [
    (repository: string) => `repository:${repository}:pull,push`,
    (repository: string) => `repository:${repository}:*`,
    (repository: string) => `registry:catalog:* repository:${repository}:pull`,
    () => 'pull-anything',
  ]) {
    const { host, seen } = await startScoped(context, scopeOf, () => true);
    const { engine } = openEngine(context);
    for (const repository of ['a/b', 'pull', 'c'])
      await engine.fetchManifest({ registry: host, repository, tag: '1' }, SIGNAL);
    assert.equal(seen.filter(line => line.startsWith('401')).length, 1, seen.join('\n'));
    const scopes = new Set(['a/b', 'pull', 'c'].map(scopeOf));
    assert.equal(seen.filter(line => line.startsWith('token')).length, scopes.size, seen.join('\n'));
  }
});

test('a wrong or refused guess gives way to the registry’s challenge', async context => {
  const odd = (repository: string): string => (repository === 'odd' ? 'realm-wide' : `repository:${repository}:pull`);
  for (const isGranted of [() => true, (scope: string) => scope !== 'repository:odd:pull']) {
    const { host, seen } = await startScoped(context, odd, isGranted);
    const { engine } = openEngine(context);
    for (const repository of ['a', 'odd', 'b', 'odd'])
      await engine.fetchManifest({ registry: host, repository, tag: '1' }, SIGNAL);
    assert.deepEqual(seen, [
      ...['401 a', 'token repository:a:pull', '200 a'],
      ...['token repository:odd:pull', '401 odd', 'token realm-wide', '200 odd'],
      // After two forms of scopes there are no further guesses.
      ...['401 b', 'token repository:b:pull', '200 b'],
      '200 odd',
    ]);
  }
});
