import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate as loopTurn } from 'node:timers/promises';
import { connect as connectSecurely } from 'node:tls';
import type { ServerEvent } from '../../server/events.ts';
import { FairScheduler } from '../../server/sending/fairScheduler.ts';
import { SocketMemory, socketMemoryOfContainer } from '../../server/sending/socketMemory.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { slow } from '../support/slow.ts';
import { ask, metric, parseAnswer, readAll, serve, until } from './client.ts';
import { startServe } from './serveProcess.ts';
import { emptyFolder, sharedTree, wasm } from './tree.ts';

const MIB = 1024 * 1024;
const SIZE = 12_000_000;
const TREE = await sharedTree([{ name: 'big', version: '1.0.0', bytes: wasm(SIZE) }]);
const BIG = '/plugins/big/1.0.0/plugin.wasm';

describe('the memory that the kernel has for connections', () => {
  test('is asked for only when there was room for what has been written', () => {
    let asked = 0;
    let held = 0;
    const memory = new SocketMemory(() => {
      asked++;
      return held;
    }, 10);
    assert.ok(memory.hasRoom());
    memory.write(9);
    assert.ok(memory.hasRoom());
    memory.taken(9);
    assert.ok(memory.hasRoom());
    assert.equal(asked, 0);
    memory.write(9);
    memory.taken(9);
    held = 12;
    assert.ok(!memory.hasRoom());
    held = 8;
    assert.ok(memory.hasRoom());
    assert.equal(asked, 2);
    // The kernel has taken nothing of it yet, and may take all of it.
    memory.write(2);
    assert.ok(!memory.hasRoom());
    held = 7;
    assert.ok(memory.hasRoom());
    memory.taken(2);
    assert.ok(memory.hasRoom());
  });

  test('is a quarter of the limit of the cgroup, as memory.stat counts it', async t => {
    const folder = await emptyFolder(t);
    const self = join(folder, 'self');
    const group = join(folder, 'kubepods', 'pod1');
    await mkdir(group, { recursive: true });
    await writeFile(self, '12:memory:/other\n0::/kubepods/pod1\n');
    await writeFile(join(group, 'memory.max'), `${256 * MIB}\n`);
    const holds = (bytes: number) =>
      writeFile(join(group, 'memory.stat'), `anon 1\nsock_other 5\nsock ${bytes}\nfile 7\n`);
    await holds(60 * MIB);
    const memory = socketMemoryOfContainer(folder, self);
    memory.spend(64 * MIB);
    assert.ok(memory.hasRoom());
    memory.spend(4 * MIB);
    await holds(64 * MIB);
    assert.ok(!memory.hasRoom());
    await holds(3 * MIB);
    assert.ok(memory.hasRoom());
  });

  test('has no limit without cgroup v2, and where the cgroup has none', async t => {
    const folder = await emptyFolder(t);
    const self = join(folder, 'self');
    const unlimited = (): boolean => {
      const memory = socketMemoryOfContainer(folder, self);
      memory.spend(Number.MAX_SAFE_INTEGER);
      return memory.hasRoom();
    };
    assert.ok(unlimited(), 'no file at all');
    await writeFile(self, '0::/\n');
    assert.ok(unlimited(), 'no memory.max');
    await writeFile(join(folder, 'memory.max'), 'max\n');
    await writeFile(join(folder, 'memory.stat'), 'sock 1\n');
    assert.ok(unlimited(), 'max');
  });

  test('stops pages and downloads while it is full, and lets them go on afterwards', async () => {
    let held = 100;
    let full = 0;
    const memory = new SocketMemory(() => held, 10);
    const scheduler = new FairScheduler(memory, () => full++);
    const done: string[] = [];
    memory.spend(11);
    scheduler.addAction(() => done.push('page'));
    scheduler.add({ chunkKey: 1, send: () => done.push('chunk') });
    while (full < 3) await loopTurn();
    assert.deepEqual(done, []);
    held = 0;
    while (done.length < 2) await loopTurn();
    assert.deepEqual(done.sort(), ['chunk', 'page']);
  });

  test('makes downloads wait while it is full, and resets the quietest connections', slow, async t => {
    let held = 0;
    const events: ServerEvent[] = [];
    const { port } = await serve(t, TREE, {
      socketMemory: new SocketMemory(() => held, 64 * MIB),
      stallTimeoutMs: 60_000,
      onEvent: event => events.push(event),
    });
    const begin = async () => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      socket.pause();
      socket.write(`GET ${BIG} HTTP/1.1\r\nHost: a\r\n\r\n`);
      return socket;
    };
    const stuck = await Promise.all(Array.from({ length: 12 }, begin));
    t.after(() => stuck.map(socket => socket.destroy()));
    await until('all are under way', async () => (await metric(port, 'bodies_running')) === 12);
    held = 65 * MIB;
    // Uses up what the server believes to be free.
    const honest = Promise.all(Array.from({ length: 8 }, () => ask(port, BIG)));
    assert.equal((await ask(port, '/healthz')).status, 200);
    await until('one is cut', () => events.some(({ kind }) => kind === 'slow-clients'));
    held = 0;
    for (const answer of await honest) assert.equal(answer.body.length, SIZE);
    assert.equal(events.filter(({ kind }) => kind === 'slow-clients').length, 1);
    assert.ok((await metric(port, 'bodies_running')) < 12);
  });

  for (const isTls of [false, true])
    test(`is freed when a client${isTls ? ' of TLS' : ''} takes nothing for the stall timeout`, async t => {
      const tls = isTls ? { tls: await makeTlsFiles(t) } : {};
      const answers: { readonly bytes: number }[] = [];
      const writeAccessLog = async (text: string) => void answers.push(JSON.parse(text));
      const { port } = await serve(t, TREE, {
        ...tls,
        stallTimeoutMs: 300,
        accessLog: 'all',
        writeAccessLog,
      });
      const socket = isTls
        ? connectSecurely({ port, host: '127.0.0.1', rejectUnauthorized: false })
        : connect(port, '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, isTls ? 'secureConnect' : 'connect');
      socket.pause();
      socket.write(`GET ${BIG} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await until('it is cut', () => answers.length > 0);
      // After a normal close, the client would still get all that had left the process.
      let received = 0;
      socket.on('data', (bytes: Buffer) => {
        received += bytes.length;
      });
      const closed = new Promise(resolve => socket.once('close', resolve));
      socket.resume();
      await closed;
      const sent = answers[0]?.bytes ?? 0;
      assert.ok(received < sent / 2, `${received} of ${sent} bytes arrived`);
    });
});

describe('the memory of this process for clients of TLS', () => {
  const isLinux = process.platform === 'linux';

  test('is a tenth of a MiB for each that reads nothing', { skip: !isLinux && 'reads /proc' }, async t => {
    const { certFile, keyFile } = await makeTlsFiles(t);
    const options = [
      '--tree',
      TREE,
      '--host',
      '127.0.0.1',
      '--port',
      '0',
      '--tls-cert',
      certFile,
      '--tls-key',
      keyFile,
    ];
    const { child, out } = startServe(t, [...options, '--access-log', 'off']);
    await until('it serves', () => /at https:\/\/\S+:\d+\//.test(out.stderr));
    const port = Number(/at https:\/\/\S+:(\d+)\//.exec(out.stderr)?.[1]);
    const begin = async () => {
      const socket = connectSecurely({ port, host: '127.0.0.1', rejectUnauthorized: false });
      t.after(() => socket.destroy());
      await once(socket, 'secureConnect');
      socket.write(`GET ${BIG} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      return socket;
    };
    // Fills the cache.
    assert.equal(parseAnswer(await readAll(await begin())).body.length, SIZE);
    const anonymousKiB = async () =>
      Number(/^RssAnon:\s+(\d+)/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1]);
    const before = await anonymousKiB();
    const stuck = await Promise.all(Array.from({ length: 150 }, async () => (await begin()).pause()));
    // When another client has its whole answer, these have been written to.
    const [one, ...others] = stuck;
    assert.ok(one);
    assert.equal(parseAnswer(await readAll(await begin())).body.length, SIZE);
    const each = ((await anonymousKiB()) - before) / stuck.length;
    assert.ok(each < 250, `${each} KiB for each`);
    assert.equal(parseAnswer(await readAll(one.resume())).body.length, SIZE);
    assert.equal(others.length, 149);
  });

  test('does not keep a client that closes its sending side from its whole answer', async t => {
    const { port } = await serve(t, TREE, { tls: await makeTlsFiles(t) });
    const socket = connectSecurely({
      socket: connect({ port, host: '127.0.0.1', allowHalfOpen: true }),
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    socket.end(`GET ${BIG} HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.equal(parseAnswer(await readAll(socket)).body.length, SIZE);
  });
});

async function makeTlsFiles(t: TestContext): Promise<{ readonly certFile: string; readonly keyFile: string }> {
  const folder = await emptyFolder(t);
  const files = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  const pair = new CertificateAuthority('Test').issue();
  await Promise.all([writeFile(files.certFile, pair.cert), writeFile(files.keyFile, pair.key)]);
  return files;
}
