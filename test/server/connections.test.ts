import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { isNetwork, plainAddress, shareKeys } from '../../server/clientAddress.ts';
import { Connections } from '../../server/connections/connections.ts';
import { ask, metric, readAll, sendRaw, serve, until } from './client.ts';
import { sharedTree, wasm } from './tree.ts';

const SIZE = 12_000_000;
const TREE = await sharedTree([
  { name: 'big', version: '1.0.0', bytes: wasm(SIZE) },
  { name: 'small', version: '1.0.0', bytes: wasm(2000) },
]);
const BIG = '/plugins/big/1.0.0/plugin.wasm';
const SMALL = '/plugins/small/1.0.0/plugin.wasm';

const get = (path: string, connection = 'keep-alive'): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\n\r\n`;
const answersIn = (bytes: Buffer): number => bytes.toString('latin1').split('HTTP/1.1 200 OK').length - 1;

describe('one request at a time is under way on a connection', () => {
  test('pipelined downloads occupy one place, and all of them are answered', async t => {
    const { port } = await serve(t, TREE);
    const socket = connect(port, '127.0.0.1').pause();
    socket.write(get(BIG).repeat(4) + get(SMALL, 'close'));
    await until('the first runs', async () => (await metric(port, 'bodies_running')) === 1);
    assert.equal((await ask(port, SMALL)).status, 200);
    assert.equal(await metric(port, 'bodies_running'), 1);
    const got = await readAll(socket.resume());
    assert.equal(answersIn(got), 5);
    assert.ok(got.length > 4 * SIZE, `got ${got.length}`);
  });

  test('requests that come one by one behind a download are answered in their order', async t => {
    const { port } = await serve(t, TREE);
    const socket = connect(port, '127.0.0.1').pause();
    for (const path of [BIG, '/healthz', SMALL, '/index.json', '/']) {
      socket.write(get(path));
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    socket.write(get(SMALL, 'close'));
    assert.equal(answersIn(await readAll(socket.resume())), 6);
  });

  test('sixteen requests may wait; a seventeenth closes the connection', async t => {
    const { port } = await serve(t, TREE);
    assert.equal(answersIn(await sendRaw(port, get(SMALL).repeat(16) + get(SMALL, 'close'))), 17);
    const socket = connect(port, '127.0.0.1').pause();
    socket.write(get(BIG).repeat(18));
    const got = await readAll(socket.resume());
    assert.ok(got.length < SIZE, `got ${got.length}`);
    await until('closed', async () => (await metric(port, 'connections')) === 1);
  });

  test('the rest of a flood is not even parsed', async t => {
    const { port } = await serve(t, TREE);
    let taken = 0;
    const original = Connections.prototype.take;
    t.mock.method(Connections.prototype, 'take', function (this: Connections, ...args: Parameters<typeof original>) {
      taken++;
      original.apply(this, args);
    });
    const socket = connect(port, '127.0.0.1').pause();
    socket.on('error', () => {});
    socket.write(get('/healthz').repeat(1000));
    await readAll(socket.resume());
    assert.ok(taken <= 18, `${taken} requests were taken`);
    // Node keeps parsers for later connections.
    assert.equal(answersIn(await sendRaw(port, get(SMALL).repeat(3) + get(SMALL, 'close'))), 4);
  });

  for (const [what, path, counter] of [
    ['pages', '/status', 'requests_total{plugin="",version="",coding="identity",status="200"}'],
    ['files', SMALL, 'requests_total{plugin="small",version="1.0.0",coding="identity",status="200"}'],
  ] as const)
    test(`health checks do not wait for the ${what} that others request`, async t => {
      const { port } = await serve(t, TREE);
      // The first page loads the code of all.
      for (const each of ['/status', SMALL]) assert.equal((await ask(port, each)).status, 200);
      const first = await metric(port, counter);
      const flood = Array.from({ length: 60 }, () => {
        const socket = connect(port, '127.0.0.1').pause();
        socket.on('error', () => {});
        socket.write(get(path).repeat(15));
        return socket;
      });
      t.after(() => flood.map(socket => socket.destroy()));
      await Promise.all(flood.map(socket => once(socket, 'readable')));
      assert.equal((await ask(port, '/healthz')).status, 200);
      const answers = (await metric(port, counter)) - first;
      assert.ok(answers < 60 * 15, `all ${answers} answers came first`);
    });

  test('an answer that is cut before its header counts as 499', async t => {
    const { port } = await serve(t, TREE);
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    t.after(() => socket.destroy());
    socket.write(get('/metrics').repeat(100));
    await once(socket, 'close');
    const cut = 'requests_total{plugin="",version="",coding="identity",status="499"}';
    await until('it is counted', async () => (await metric(port, cut)) === 1);
    assert.equal(await metric(port, 'incomplete_answers_total'), 1);
  });

  test('a flood of requests whose answers are not taken leaves the server free for others', async t => {
    const { port } = await serve(t, TREE);
    const flood = Array.from({ length: 20 }, (_, at) => {
      const socket = connect(port, '127.0.0.1').pause();
      socket.on('error', () => {});
      socket.write(get(['/', '/nope', '/metrics', '/plugins/', BIG][at % 5] ?? '/').repeat(100));
      return socket;
    });
    t.after(() => flood.map(socket => socket.destroy()));
    assert.equal((await ask(port, BIG)).body.length, SIZE);
    await until('all are closed', async () => (await metric(port, 'connections')) === 1);
    assert.equal(await metric(port, 'bodies_running'), 0);
  });

  test('bytes after the last answer of a connection do not cost the client its end', async t => {
    const { port } = await serve(t, TREE);
    const socket = connect(port, '127.0.0.1').pause();
    await once(socket, 'connect');
    socket.write(get(BIG, 'close'));
    await until('it runs', async () => (await metric(port, 'bodies_running')) === 1);
    const sending = setInterval(() => socket.write('\r\n'), 5);
    t.after(() => clearInterval(sending));
    assert.ok((await readAll(socket.resume())).length > SIZE);
  });

  test('a CONNECT behind a download is no part of its body', async t => {
    const { port } = await serve(t, TREE);
    assert.match((await sendRaw(port, 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')).toString(), /^HTTP\/1\.1 405 /);
    const socket = connect(port, '127.0.0.1').pause();
    socket.write(`${get(BIG)}CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n`);
    const got = await readAll(socket.resume());
    assert.equal(got.indexOf('HTTP/1.1 405'), -1);
    await until('closed', async () => (await metric(port, 'connections')) === 1);
  });
});

test('a crowd of idle connections shuts nobody out, and takes no connection whose answer is on its way', async t => {
  const { port } = await serve(t, TREE, { maxConnections: 6 });
  const crowd = () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    return socket;
  };
  const reader = crowd().pause();
  reader.write(get(BIG, 'close'));
  await once(reader, 'readable');
  for (let wave = 0; wave < 2; wave++) {
    for (let one = 0; one < 30; one++) crowd();
    // Their first second is theirs: a request may be on its way.
    await until('there is room', async () => (await ask(port, '/healthz').catch(() => undefined))?.status === 200);
    assert.equal((await ask(port, SMALL)).status, 200, 'and for the next one');
  }
  assert.ok((await readAll(reader.resume())).length > SIZE);
});

test('a second after a crowd of idle connections, the first request of another client is answered', async t => {
  const { port } = await serve(t, TREE, { maxConnections: 6 });
  const crowd = Array.from({ length: 30 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  t.after(() => crowd.map(socket => socket.destroy()));
  let open = crowd.length;
  for (const socket of crowd) socket.resume().once('close', () => open--);
  await until('the first six were accepted, and one of them makes room', () => open === 5);
  assert.equal((await ask(port, '/healthz')).status, 200);
  assert.equal((await ask(port, SMALL)).status, 200);
});

test('clients share by address, by the /64 of IPv6, or not at all', () => {
  const key = shareKeys(['10.0.0.0/8', '192.0.2.7', '2001:db8:1::/48']);
  assert.equal(key('192.0.2.1'), '192.0.2.1');
  assert.equal(key('192.0.2.7'), undefined);
  assert.equal(key('10.255.0.1'), undefined);
  assert.equal(key('2001:db8:1:2::3'), undefined);
  assert.equal(key('2001:db8:2:3::4'), key('2001:db8:2:3:4:5:6:7'));
  assert.notEqual(key('2001:db8:2:3::4'), key('2001:db8:2:4::4'));
  assert.equal(key('::1'), '0:0:0:0');
  assert.equal(plainAddress('::ffff:192.0.2.1'), '192.0.2.1');
  assert.equal(plainAddress('::ffff'), '::ffff');
  for (const good of ['10.0.0.0/8', '::1', '::/0', '192.0.2.1/32']) assert.ok(isNetwork(good), good);
  for (const bad of ['', '10.0.0.0/33', '10/8', '::/129', 'a', '10.0.0.0/8/1', '10.0.0.0/'])
    assert.ok(!isNetwork(bad), bad);
});
