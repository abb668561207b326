import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { openScene, type Scene } from '../support/cli.ts';
import { redirect } from '../support/faults.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry } from '../support/registry.ts';
import { slow, slowUnless } from '../support/slow.ts';

type Cleanup = Parameters<typeof openScene>[0];

const COUNT = 30;
const ATTEMPTS = 2;
const AT_ONCE = 4;

/** A host that takes connections and does with them what it likes; counts them. */
async function startHost(t: Cleanup, treat: (socket: Socket) => void) {
  const sockets: Socket[] = [];
  const server = createServer(socket => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    treat(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { url: `http://127.0.0.1:${address.port}`, connections: () => sockets.length };
}

/** Large blobs are kept at `url`, and three small ones, which come last, at the registry itself. */
async function spread(scene: Scene, url: string): Promise<readonly string[]> {
  const names = Array.from({ length: COUNT }, (_, index) => `p${index}`);
  const own = names.slice(0, 3);
  const digests: string[] = [];
  for (const name of names) {
    const sizeBytes = own.includes(name) ? 1000 : 9000;
    const image = imageFormC({ wasm: buildModule({ seed: name, sizeBytes }) });
    if (own.includes(name)) digests.push(...image.blobs.keys());
    scene.push(name, '1', image);
  }
  await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
  const elsewhere = new RegExp(`^(?!.*(?:${digests.join('|')}))`);
  scene.registry.script({ kind: 'blob', path: elsewhere, fault: redirect(`${url}/blob?signature=x`) });
  return own;
}

describe('a blob storage host to which a registry redirects', { concurrency: 3 }, () => {
  const cases = [
    {
      name: 'closes every connection',
      treat: (socket: Socket) => socket.destroy(),
      limit: 3,
      code: 'REGISTRY_UNAVAILABLE',
    },
    { name: 'says nothing', treat: () => undefined, limit: 2, code: 'REGISTRY_TIMEOUT', timeout: '4' },
    {
      name: 'says 500',
      treat: (socket: Socket) => socket.end('HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
      limit: 3,
      code: 'REGISTRY_UNAVAILABLE',
    },
  ];
  // On a busy machine the registry itself may need seconds to answer.
  for (const { name, treat, limit, code, timeout = '30' } of cases)
    it(
      `and that ${name} is not tried for every plugin, and its registry goes on`,
      slowUnless(name === 'says 500'),
      async t => {
        const scene = await openScene(t);
        const host = await startHost(t, treat);
        const own = await spread(scene, host.url);
        const options = ['--concurrency', String(AT_ONCE), '--timeout', timeout, '--retries', String(ATTEMPTS - 1)];
        const { ran, report } = await scene.report(...options);
        assert.equal(ran.code, 1);
        const of = (status: string) => report.plugins.filter(plugin => plugin.status === status);
        assert.deepEqual(
          of('fetched')
            .map(plugin => plugin.name)
            .sort(),
          [...own].sort(),
        );
        const failed = of('failed');
        assert.equal(failed.length, COUNT - own.length);
        assert.deepEqual([...new Set(failed.map(({ error }) => error?.code))], [code]);
        const passedOver = failed.filter(({ error }) => error?.message.includes('failed before'));
        // Those under way at once when it is given up have all been tried.
        assert.ok(
          failed.length - passedOver.length <= limit + AT_ONCE,
          `${failed.length - passedOver.length} were tried`,
        );
        assert.ok(host.connections() <= (limit + AT_ONCE) * ATTEMPTS, `${host.connections()} connections`);
      },
    );

  it('may be one of several: the registry is asked again before a blob is given up', async t => {
    const scene = await openScene(t);
    const host = await startHost(t, socket => socket.destroy());
    const names = Array.from({ length: 8 }, (_, index) => `p${index}`);
    for (const name of names) scene.push(name, '1', imageFormC({ wasm: buildModule({ seed: name, sizeBytes: 5000 }) }));
    const lost = [...imageFormC({ wasm: buildModule({ seed: 'p0', sizeBytes: 5000 }) }).blobs.keys()].join('|');
    await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
    const dead = redirect(`${host.url}/blob`);
    scene.registry.script([
      { kind: 'blob', path: new RegExp(lost), fault: dead },
      { kind: 'blob', per: 'path', first: 1, fault: dead },
    ]);
    const { ran, report } = await scene.report('--concurrency', '1', '--retries', '3');
    const failed = report.plugins.filter(({ status }) => status === 'failed');
    assert.deepEqual([ran.code, failed.map(({ name }) => name)], [1, ['p0']]);
  });

  it('may have an unknown name: the registry is asked again as well', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1');
    await scene.list({ a: '1' });
    scene.registry.script({ kind: 'blob', per: 'path', first: 1, fault: redirect('http://no-such.invalid/blob') });
    assert.equal((await scene.sync('--retries', '2')).code, 0);
  });

  it('is judged separately for the registry and for a mirror that redirects to it', async t => {
    const scene = await openScene(t);
    const mirror = await startRegistry();
    t.after(() => mirror.close());
    const image = imageFormC({ wasm: buildModule({ seed: 'shared', sizeBytes: 5000 }) });
    for (const [registry, path] of [
      [scene.registry, 'plugins/a'],
      [mirror, 'copy/plugins/a'],
    ] as const)
      registry.push(path, '1', image);
    await scene.list({ a: '1' }, { mirrors: { [scene.registry.host]: [`${mirror.host}/copy`] } });
    let asked = 0;
    const storage = createHttpServer((request, response) => {
      asked += 1;
      // All attempts of the mirror fail there, and the first two of the registry.
      if (asked <= 4) request.socket.destroy();
      else response.end([...image.blobs].find(([digest]) => request.url === `/${digest}`)?.[1]);
    });
    storage.listen(0, '127.0.0.1');
    await once(storage, 'listening');
    t.after(() => storage.close());
    const address = storage.address();
    assert.ok(address !== null && typeof address === 'object');
    for (const digest of image.blobs.keys())
      for (const registry of [scene.registry, mirror])
        registry.script({ kind: 'blob', fault: redirect(`http://127.0.0.1:${address.port}/${digest}`) });
    const ran = await scene.sync('--retries', '4');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(asked, 5);
  });
});
