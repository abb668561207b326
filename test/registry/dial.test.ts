import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { diagnose } from '../../registry/doctor/diagnose.ts';
import { RegistryRefused, RegistryTimeout } from '../../registry/errors.ts';
import { AddressForbidden, DialFailed, dial } from '../../registry/hosts/dial.ts';
import { openEngine, SIGNAL, setUp } from './engineBench.ts';
import { slowNetwork } from './slowNetwork.ts';

async function listen(test: TestContext): Promise<number> {
  const server = createServer(socket => socket.destroy());
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  test.after(() => server.close());
  return (server.address() as { port: number }).port;
}

const LONG_MS = 700;
const within = (timeoutMs: number) => ({ timeoutMs, signal: SIGNAL });

test('a host on a long line is reached although its other address leads nowhere', async context => {
  const port = await listen(context);
  const begun = slowNetwork(context, { 'far.test': { '2001:db8::1': 'ENETUNREACH', '192.0.2.1': LONG_MS } });
  (await dial({ hostname: 'far.test', port }, within(10_000))).socket.destroy();
  assert.deepEqual(
    begun.map(({ address }) => address),
    ['2001:db8::1', '192.0.2.1'],
  );
});

test('attempts overlap, families in turn, and none is given up for the next one', async context => {
  const port = await listen(context);
  const begun = slowNetwork(context, {
    'far.test': { '192.0.2.1': LONG_MS, '192.0.2.2': 'never', '192.0.2.3': 'never', '2001:db8::1': 'never' },
  });
  const { socket } = await dial({ hostname: 'far.test', port }, within(10_000));
  assert.equal(socket, begun[0]?.socket);
  socket.destroy();
  const addresses = begun.map(({ address }) => address);
  assert.deepEqual(addresses, ['192.0.2.1', '2001:db8::1', '192.0.2.2', '192.0.2.3'].slice(0, addresses.length));
  assert.ok(addresses.length >= 2, addresses.join());
  for (const [at, { atMs }] of begun.entries()) if (at > 0) assert.ok(atMs - (begun[at - 1]?.atMs ?? 0) >= 200);
  assert.ok(begun.slice(1).every(it => it.socket.destroyed));
});

test('an address that drops packets delays the next one only a little', async context => {
  const port = await listen(context);
  const begun = slowNetwork(context, { 'far.test': { '192.0.2.1': 'never', '192.0.2.2': 0 } });
  const { socket } = await dial({ hostname: 'far.test', port }, within(20_000));
  assert.equal(socket, begun[1]?.socket);
  socket.destroy();
});

test('if all addresses fail, each is named with its reason', async context => {
  slowNetwork(context, {
    'far.test': { '192.0.2.1': 'never', '192.0.2.2': 'ECONNREFUSED', '2001:db8::1': 'ENETUNREACH' },
    'off.test': { '192.0.2.4': 'ECONNREFUSED', '2001:db8::4': 'EHOSTUNREACH' },
  });
  await assert.rejects(dial({ hostname: 'far.test', port: 1 }, within(2000)), (error: unknown) => {
    assert.ok(error instanceof DialFailed);
    assert.equal(error.code, 'ETIMEDOUT');
    assert.equal(error.attempts.length, 3);
    return true;
  });
  const { engine } = openEngine(context, { plainHttp: true, retries: 0, timeoutMs: 2000 });
  const resolve = (host: string) => engine.resolve({ registry: `${host}:1`, repository: 'a/b', tag: '1' }, SIGNAL);
  await assert.rejects(resolve('far.test'), (error: unknown) => {
    assert.ok(error instanceof RegistryTimeout, String(error));
    for (const words of [
      '192.0.2.1: it did not answer in time',
      '192.0.2.2: the connection was refused',
      '2001:db8::1:',
    ])
      assert.ok(error.found?.includes(words), error.found);
    return true;
  });
  await assert.rejects(resolve('off.test'), RegistryRefused);
  // doctor lists the same.
  for (const [host, code] of [
    ['far.test', 'REGISTRY_TIMEOUT'],
    ['off.test', 'REGISTRY_REFUSED'],
  ] as const) {
    const { targets } = await diagnose(
      [{ role: 'registry', registry: `${host}:1` }],
      { plainHttp: true, timeoutMs: 1000 },
      SIGNAL,
    );
    const tcp = targets[0]?.steps.find(({ step }) => step === 'tcp');
    assert.equal(tcp?.code, code);
    assert.match(tcp?.found ?? '', /\(.*192\.0\.2\.\d: the connection was refused/);
    assert.match(tcp?.found ?? '', /2001:db8::\d: there is no route to it/);
  }
});

test('only addresses that are allowed are connected to, also if the name has others', async context => {
  const port = await listen(context);
  const begun = slowNetwork(context, {
    'both.test': { '169.254.169.254': 0, '10.0.0.1': 0 },
    'bad.test': { '::ffff:169.254.169.254': 0 },
  });
  const allows = (kind: string): boolean => kind !== 'metadata';
  (await dial({ hostname: 'both.test', port }, { ...within(10_000), allows })).socket.destroy();
  await assert.rejects(dial({ hostname: 'bad.test', port }, { ...within(10_000), allows }), AddressForbidden);
  await assert.rejects(dial({ hostname: '[::ffff:a9fe:a9fe]', port }, { ...within(10_000), allows }), AddressForbidden);
  assert.deepEqual(
    begun.map(({ address }) => address),
    ['10.0.0.1'],
  );
});

test('an abort ends all attempts', async context => {
  const begun = slowNetwork(context, { 'far.test': { '192.0.2.1': 'never', '192.0.2.2': 'never' } });
  const controller = new AbortController();
  const dialing = dial({ hostname: 'far.test', port: 1 }, { timeoutMs: 20_000, signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 300);
  await assert.rejects(dialing, /enough/);
  assert.ok(begun.every(({ socket }) => socket.destroyed));
});

test('the engine and its proxies connect in this way', async context => {
  const { registry, image, reference } = await setUp(context);
  const port = registry.host.split(':')[1];
  slowNetwork(context, { 'far.test': { '2001:db8::1': 'ENETUNREACH', '192.0.2.1': LONG_MS } });
  const direct = openEngine(context, { plainHttp: true, retries: 0 }).engine;
  assert.equal(await direct.resolve({ ...reference, registry: `far.test:${port}` }, SIGNAL), image.digest);
  const { startProxy } = await import('../support/proxy.ts');
  const proxy = await startProxy({ routes: { 'registry.test': registry.host } });
  context.after(() => proxy.close());
  const env = { HTTP_PROXY: `http://far.test:${new URL(proxy.url).port}` };
  const proxied = openEngine(context, { plainHttp: true, retries: 0, env }).engine;
  assert.equal(await proxied.resolve({ ...reference, registry: 'registry.test' }, SIGNAL), image.digest);
});
