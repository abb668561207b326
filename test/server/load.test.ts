import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { ServerAddressUnusable } from '../../server/errors.ts';
import { ask, metric, parseAnswer, readAll, serve, until } from './client.ts';
import { sha256, sharedTree, wasm } from './tree.ts';

const SIZE = 30_000_000;
const bytes = wasm(SIZE);
const small = wasm(2000);
const PLAN = [
  { name: 'big', version: '1.0.0', bytes },
  { name: 'small', version: '1.0.0', bytes: small },
];
const TREE = await sharedTree(PLAN);
const BIG = '/plugins/big/1.0.0/plugin.wasm';
const SMALL = '/plugins/small/1.0.0/plugin.wasm';

/** A machine may have no IPv6. */
function noIPv6(error: unknown): undefined {
  assert.ok(error instanceof ServerAddressUnusable, String(error));
}

/** Starts a download and takes nothing of it until resumed. */
async function begin(port: number, path = BIG, connection = 'close'): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\n\r\n`);
  return socket;
}

describe('many clients', () => {
  test('sixty concurrent downloads are complete, from two slots of memory', async t => {
    const { port } = await serve(t, TREE, { cacheBytes: 1024 * 1024 });
    const before = process.memoryUsage.rss();
    const digests = await Promise.all(
      Array.from({ length: 60 }, async (_, at) => {
        const first = at * 1000;
        const answer = await ask(port, BIG, { headers: [`Range: bytes=${first}-${first + 3_000_000}`] });
        return answer.body.equals(bytes.subarray(first, first + 3_000_001));
      }),
    );
    assert.ok(digests.every(Boolean));
    assert.equal(await metric(port, 'cache_bytes'), 1024 * 1024);
    assert.ok(before > 0);
  });

  test('clients that take nothing delay no other client and occupy no more memory than the cache', async t => {
    const { port } = await serve(t, TREE, { cacheBytes: 1024 * 1024, stallTimeoutMs: 60_000 });
    const stuck = await Promise.all(Array.from({ length: 20 }, () => begin(port)));
    t.after(() => stuck.map(socket => socket.destroy()));
    await until('all are under way', async () => (await metric(port, 'bodies_running')) === 20);
    assert.equal(sha256((await ask(port, BIG)).body), sha256(bytes));
    assert.equal(sha256((await ask(port, SMALL)).body), sha256(small));
    assert.equal(await metric(port, 'cache_bytes'), 1024 * 1024);
  });

  test('a client that closes its sending side after the request gets the whole answer', async t => {
    const { port } = await serve(t, TREE);
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.end(`GET ${BIG} HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.equal(sha256(parseAnswer(await readAll(socket)).body), sha256(bytes));
  });

  test('aborted downloads release everything', async t => {
    const { port } = await serve(t, TREE, { maxDownloads: 10, maxWaitingDownloads: 5 });
    for (let round = 0; round < 5; round++) {
      const sockets = await Promise.all(Array.from({ length: 15 }, () => begin(port)));
      await until(
        'running',
        async () => (await metric(port, 'bodies_running')) === 10 && (await metric(port, 'bodies_waiting')) === 5,
      );
      for (const socket of sockets) socket.resetAndDestroy();
      await until(
        'freed',
        async () => (await metric(port, 'bodies_running')) === 0 && (await metric(port, 'bodies_waiting')) === 0,
      );
    }
    assert.equal(await metric(port, 'connections'), 1);
    assert.equal(sha256((await ask(port, BIG)).body), sha256(bytes));
  });

  test('too many downloads: a queue, then 503 with Retry-After; small answers do not wait', async t => {
    const { port } = await serve(t, TREE, {
      maxDownloads: 2,
      maxWaitingDownloads: 1,
      maxDownloadWaitMs: 30_000,
    });
    const running = [await begin(port), await begin(port)];
    t.after(() => running.map(socket => socket.destroy()));
    await until('running', async () => (await metric(port, 'bodies_running')) === 2);
    const waiting = readAll((await begin(port)).resume());
    await until('waiting', async () => (await metric(port, 'bodies_waiting')) === 1);
    const refused = await ask(port, BIG);
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '2');
    assert.equal((await ask(port, SMALL)).status, 200);
    assert.equal((await ask(port, BIG, { method: 'HEAD' })).status, 200);
    running[0]?.destroy();
    assert.equal(sha256(parseAnswer(await waiting).body), sha256(bytes));
  });

  test('a download that waits too long in the queue gets 503', async t => {
    const { port } = await serve(t, TREE, { maxDownloads: 1, maxDownloadWaitMs: 50 });
    const running = await begin(port);
    t.after(() => running.destroy());
    await until('running', async () => (await metric(port, 'bodies_running')) === 1);
    assert.equal((await ask(port, BIG)).status, 503);
  });

  test('a client that takes nothing for the stall timeout is cut, one that takes some megabytes a second is not', async t => {
    const { port } = await serve(t, TREE, { stallTimeoutMs: 1000 });
    const stuck = await begin(port);
    const slow = await begin(port);
    await until('both run', async () => (await metric(port, 'bodies_running')) === 2);
    // 8 MB/s: the kernel reports progress to the server only about every megabyte.
    let taken = 0;
    const timer = setInterval(() => {
      taken += (slow.read(Math.min(160_000, slow.readableLength)) as Buffer | null)?.length ?? 0;
    }, 20);
    t.after(() => clearInterval(timer));
    await until('the stuck one is cut', async () => (await metric(port, 'bodies_running')) === 1);
    await new Promise(resolve => setTimeout(resolve, 600));
    clearInterval(timer);
    stuck.on('error', () => {});
    assert.ok((await readAll(stuck.resume())).length < SIZE, 'the stuck client got everything');
    taken += (await readAll(slow.resume())).length;
    assert.ok(taken > SIZE, `the slow client got ${taken}`);
  });

  for (const host of ['::1', '::'])
    test(`downloads at ${host}`, async t => {
      const server = await serve(t, TREE, { host }).catch(noIPv6);
      if (server === undefined) {
        t.skip('this machine has no IPv6');
        return;
      }
      const socket = connect({ port: server.port, host: host === '::1' ? '::1' : '127.0.0.1' });
      socket.write(`GET ${SMALL} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      assert.equal(sha256(parseAnswer(await readAll(socket)).body), sha256(small));
    });
});

describe('a stop', () => {
  test('running downloads are completed, idle connections closed, new connections refused', async t => {
    const server = await serve(t, TREE);
    const { port } = server;
    const running = await begin(port, BIG, 'keep-alive');
    const idle = connect(port, '127.0.0.1');
    const silent = connect(port, '127.0.0.1');
    await Promise.all([once(idle, 'connect'), once(silent, 'connect')]);
    idle.write(`HEAD ${SMALL} HTTP/1.1\r\nHost: a\r\n\r\n`);
    await once(idle, 'data');
    await until('running', async () => (await metric(port, 'bodies_running')) === 1);
    const closing = server.close({ graceMs: 20_000 });
    await Promise.all([once(idle, 'close'), once(silent, 'close')]);
    assert.equal(server.isReady(), false);
    await assert.rejects(once(connect(port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' });
    const answer = parseAnswer(await readAll(running.resume()));
    assert.equal(sha256(answer.body), sha256(bytes));
    assert.deepEqual(await closing, { cut: 0 });
  });

  test('the second of two pipelined downloads is not cut by a stop', async t => {
    const server = await serve(t, TREE);
    const socket = connect(server.port, '127.0.0.1');
    const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
    socket.write(request(SMALL) + request(BIG));
    await until('the second runs', async () => (await metric(server.port, 'bodies_running')) === 1);
    const closed = server.close();
    const got = await readAll(socket);
    assert.ok(got.length > SIZE + small.length, `got ${got.length}`);
    assert.deepEqual(await closed, { cut: 0 });
  });

  test('during the pause: not ready, still serving, and every answer closes its connection', async t => {
    const server = await serve(t, TREE);
    const closing = server.close({ pauseMs: 600, graceMs: 5000 });
    const socket = connect(server.port, '127.0.0.1');
    socket.write('GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n');
    const ready = parseAnswer(await readAll(socket));
    assert.equal(ready.status, 503);
    assert.equal(ready.headers.get('connection'), 'close');
    const kept = connect(server.port, '127.0.0.1');
    kept.write(`GET ${SMALL} HTTP/1.1\r\nHost: a\r\n\r\n`);
    const file = parseAnswer(await readAll(kept));
    assert.equal(file.headers.get('connection'), 'close');
    assert.equal(sha256(file.body), sha256(small));
    await closing;
  });

  test('a download that takes longer than the grace is cut and counted', async t => {
    const server = await serve(t, TREE);
    const stuck = await begin(server.port);
    await until('running', async () => (await metric(server.port, 'bodies_running')) === 1);
    assert.deepEqual(await server.close({ graceMs: 100 }), { cut: 1 });
    stuck.destroy();
  });

  test('a server can be closed twice, and before any request', async t => {
    const server = await serve(t, TREE);
    const both = await Promise.all([server.close(), server.close()]);
    assert.deepEqual(both, [{ cut: 0 }, { cut: 0 }]);
  });
});
