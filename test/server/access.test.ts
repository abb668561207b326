import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { connect as connectPlainly } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { ServerEvent } from '../../server/events.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { type Answer, ask, parseAnswer, readAll, serve, until } from './client.ts';
import { emptyFolder, sha256, sharedTree, wasm } from './tree.ts';

const MODULE = '/plugins/a/1.0.0/plugin.wasm';
const bytes = wasm(2_000_000);
const PLAN = [{ name: 'a', version: '1.0.0', bytes, pinned: true }];
const TREE = await sharedTree(PLAN);
const basic = (text: string) => `Authorization: Basic ${Buffer.from(text).toString('base64')}`;

describe('a token or a password', () => {
  const credentials = { token: 'se.cret-1~x', login: { user: 'gate', password: 'pass:wörd' } };

  test('is required for everything but the health checks', async t => {
    const { port } = await serve(t, TREE, { credentials });
    for (const path of [MODULE, '/', '/plugins/', '/index.json', '/metrics', '/version', '/nothing', '//healthz/x']) {
      for (const method of ['GET', 'HEAD', 'POST']) {
        const answer = await ask(port, path, { method, headers: ['Content-Length: 0'] });
        assert.equal(answer.status, 401, `${method} ${path}`);
        assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer realm=.*, Basic realm=/);
        assert.equal(answer.headers.get('cache-control'), 'no-store');
      }
    }
    for (const path of ['/healthz', '/readyz']) assert.equal((await ask(port, path)).status, 200);
  });

  test('admits a client that sends it, and no other', async t => {
    const { port } = await serve(t, TREE, { credentials });
    const status = async (...headers: string[]) => (await ask(port, MODULE, { headers })).status;
    const good = [
      'Authorization: Bearer se.cret-1~x',
      'authorization:  bearer   se.cret-1~x ',
      basic('gate:pass:wörd'),
    ];
    for (const line of good) assert.equal(await status(line), 200, line);
    const wrong = [
      'Authorization: Bearer se.cret-1~',
      'Authorization: Bearer se.cret-1~xx',
      'Authorization: Bearer',
      'Authorization: Bearer  ',
      'Authorization: se.cret-1~x',
      'Authorization: Basic se.cret-1~x',
      'Authorization: Digest se.cret-1~x',
      'Authorization: Bearer a se.cret-1~x',
      basic('gate:pass:word'),
      basic('gate'),
      basic(':pass:wörd'),
      basic('se.cret-1~x'),
      'Proxy-Authorization: Bearer se.cret-1~x',
      'Cookie: token=se.cret-1~x',
    ];
    for (const line of wrong) assert.equal(await status(line), 401, line);
    assert.equal((await ask(port, `${MODULE}?access_token=se.cret-1~x`)).status, 401);
    assert.equal(
      await status('Authorization: Bearer no', 'Authorization: Bearer se.cret-1~x'),
      401,
      'the second of two',
    );
  });

  test('keeps shared caches from storing protected files', async t => {
    const tree = TREE;
    const headers = ['Authorization: Bearer se.cret-1~x'];
    const guarded = await ask((await serve(t, tree, { credentials })).port, MODULE, { headers });
    assert.equal(guarded.headers.get('cache-control'), 'private, max-age=31536000, immutable');
  });

  test('if only one of the two is set, the other is not accepted', async t => {
    const tree = TREE;
    const { port } = await serve(t, tree, { credentials: { token: 'abc' } });
    const { status, headers } = await ask(port, MODULE, { headers: [basic('gate:')] });
    assert.deepEqual([status, headers.get('www-authenticate')], [401, 'Bearer realm="plugin-mirror"']);
    for (const unfit of [
      { token: '' },
      { token: 'a b' },
      { login: { user: 'a:b', password: 'x' } },
      { login: { user: 'a', password: '' } },
    ])
      await assert.rejects(serve(t, tree, { credentials: unfit }), { code: 'OPTION_INVALID' });
  });
});

const authority = new CertificateAuthority();

async function certificateFiles(t: TestContext) {
  const folder = await emptyFolder(t);
  const [certFile, keyFile, caFile] = ['tls.crt', 'tls.key', 'ca.crt'].map(name => join(folder, name));
  assert.ok(certFile !== undefined && keyFile !== undefined && caFile !== undefined);
  const write = async (pair: { readonly cert: string; readonly key: string }): Promise<void> => {
    await writeFile(certFile, pair.cert);
    await writeFile(keyFile, pair.key);
  };
  await write(authority.issue());
  await writeFile(caFile, authority.cert);
  return { certFile, keyFile, caFile, write, folder };
}

async function secure(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ca: authority.cert, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

async function askSecurely(port: number, path: string, options: ConnectionOptions = {}): Promise<Answer> {
  const socket = await secure(port, options);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  return parseAnswer(await readAll(socket));
}

describe('TLS', () => {
  test('the tree over HTTPS, whole; plain HTTP gets nothing', async t => {
    const { certFile, keyFile } = await certificateFiles(t);
    const server = await serve(t, TREE, { tls: { certFile, keyFile } });
    assert.match(server.url, /^https:/);
    assert.equal(sha256((await askSecurely(server.port, MODULE)).body), sha256(bytes));
    await assert.rejects(ask(server.port, MODULE));
    assert.equal((await askSecurely(server.port, '/readyz')).status, 200);
  });

  test('a renewed certificate is used without a restart; files that do not match change nothing', async t => {
    const { certFile, keyFile, write, folder } = await certificateFiles(t);
    const heard: ServerEvent['kind'][] = [];
    const wake: (() => void)[] = [];
    const next = (kind: ServerEvent['kind']): Promise<void> =>
      new Promise(resolve => {
        if (heard.includes(kind)) resolve();
        else wake.push(() => heard.includes(kind) && resolve());
      });
    const onEvent = ({ kind }: ServerEvent): void => {
      heard.push(kind);
      for (const look of wake) look();
    };
    const { port } = await serve(t, TREE, { tls: { certFile, keyFile }, onEvent });
    const shown = async () => {
      const socket = await secure(port);
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    };
    const running = await secure(port);
    const before = await shown();
    await writeFile(keyFile, authority.issue().key);
    await next('tls-unusable');
    assert.equal(await shown(), before);
    if (process.platform !== 'win32') {
      // Opening a pipe waits for its writer, and the next renewal would wait too.
      const pipe = join(folder, 'pipe');
      execFileSync('mkfifo', [pipe]);
      heard.length = 0;
      await rename(pipe, keyFile);
      await next('tls-unusable');
      await rm(keyFile);
    }
    await write(authority.issue());
    await next('tls-loaded');
    assert.notEqual(await shown(), before);
    running.write(`GET ${MODULE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    assert.equal(sha256(parseAnswer(await readAll(running)).body), sha256(bytes), 'an old connection goes on');
    // As Kubernetes swaps a mounted secret: by a link.
    heard.length = 0;
    const now = await shown();
    const pair = authority.issue();
    await writeFile(join(folder, 'new.crt'), pair.cert);
    await writeFile(join(folder, 'new.key'), pair.key);
    for (const [name, file] of [
      ['new.crt', certFile],
      ['new.key', keyFile],
    ] as const) {
      await symlink(name, join(folder, 'link'));
      await rename(join(folder, 'link'), file);
    }
    await next('tls-loaded');
    assert.notEqual(await shown(), now);
  });

  test('clients need a certificate if an authority is set; health checks need none', async t => {
    const { certFile, keyFile, caFile } = await certificateFiles(t);
    const tls = { certFile, keyFile, clientCaFile: caFile };
    const { port } = await serve(t, TREE, { tls });
    const status = async (path: string, options?: ConnectionOptions) => (await askSecurely(port, path, options)).status;
    assert.equal(await status(MODULE), 403);
    assert.equal(await status('/'), 403);
    assert.equal(await status('/healthz'), 200);
    assert.equal(await status(MODULE, authority.issue({ usage: 'client' })), 200);
    const stranger = new CertificateAuthority('Somebody else').issue({ usage: 'client' });
    assert.equal(await status(MODULE, stranger), 403);
    const past = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) };
    assert.equal(await status(MODULE, authority.issue({ usage: 'client', ...past })), 403);
  });

  test('downloads over TLS end before a stop, and a key that is not a key is refused at the start', async t => {
    const { certFile, keyFile } = await certificateFiles(t);
    const tree = TREE;
    const server = await serve(t, tree, { tls: { certFile, keyFile } });
    const [running, idle] = [await secure(server.port), await secure(server.port)];
    idle.write('HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(idle, 'data');
    running.pause();
    running.write(`GET ${MODULE} HTTP/1.1\r\nHost: a\r\n\r\n`);
    await once(running, 'readable');
    const closing = server.close({ graceMs: 20_000 });
    await once(idle.resume(), 'close');
    assert.equal(sha256(parseAnswer(await readAll(running.resume())).body), sha256(bytes));
    assert.deepEqual(await closing, { cut: 0 });
    await writeFile(keyFile, 'no key');
    await assert.rejects(serve(t, tree, { tls: { certFile, keyFile } }), { code: 'SERVER_TLS_UNUSABLE' });
    await assert.rejects(serve(t, tree, { tls: { certFile, keyFile: '/nowhere' } }), { code: 'SERVER_TLS_UNUSABLE' });
  });

  test('an empty key, another key, and authorities without a certificate are refused', async t => {
    const { certFile, keyFile, caFile } = await certificateFiles(t);
    const tree = TREE;
    const key = await readFile(keyFile, 'utf8');
    for (const unusable of ['', authority.issue().key]) {
      await writeFile(keyFile, unusable);
      await assert.rejects(serve(t, tree, { tls: { certFile, keyFile } }), { code: 'SERVER_TLS_UNUSABLE' });
    }
    await writeFile(keyFile, Buffer.from(`\ufeff${key}`, 'utf16le'));
    await assert.rejects(serve(t, tree, { tls: { certFile, keyFile } }), /UTF-8/);
    await writeFile(keyFile, key);
    for (const unusable of ['', 'no certificate']) {
      await writeFile(caFile, unusable);
      const tls = { certFile, keyFile, clientCaFile: caFile };
      await assert.rejects(serve(t, tree, { tls }), { code: 'SERVER_TLS_UNUSABLE', subject: caFile });
    }
  });

  test('authorities in a file that was joined without line breaks all count; other blocks are ignored', async t => {
    const { certFile, keyFile, caFile } = await certificateFiles(t);
    const others = new CertificateAuthority('Others');
    const list = '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----';
    await writeFile(caFile, `${authority.cert.trim()}${list}${others.cert.trim()}`);
    const { port } = await serve(t, TREE, { tls: { certFile, keyFile, clientCaFile: caFile } });
    for (const client of [authority, others])
      assert.equal((await askSecurely(port, MODULE, client.issue({ usage: 'client' }))).status, 200);
  });

  test('other authorities for clients apply to connections that are open, and unusable ones change nothing', async t => {
    const { certFile, keyFile, caFile } = await certificateFiles(t);
    const events: ServerEvent[] = [];
    const has = (kind: ServerEvent['kind']) => async () => events.some(event => event.kind === kind);
    const tls = { certFile, keyFile, clientCaFile: caFile };
    const server = await serve(t, TREE, { tls, onEvent: event => events.push(event) });
    const { port } = server;
    const friend = authority.issue({ usage: 'client' });
    const kept = await secure(port, friend);
    let session: Buffer | undefined;
    kept.on('session', (ticket: Buffer) => {
      session = ticket;
    });
    kept.write('HEAD /index.json HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(String(await once(kept, 'data')), /^HTTP\/1\.1 200/);
    await until('a ticket', () => session !== undefined);
    const whole = await readFile(caFile, 'utf8');
    for (const unusable of [
      '',
      'no certificate',
      `${whole}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
      `${whole}${whole.slice(0, 200)}`,
    ]) {
      events.length = 0;
      await writeFile(caFile, unusable);
      await until('reported', has('tls-unusable'));
      assert.equal((await askSecurely(port, MODULE, friend)).status, 200);
      await writeFile(caFile, whole);
      // What is the same error again is reported only after the files were whole.
      await server.reload();
    }
    const others = new CertificateAuthority('Others');
    events.length = 0;
    const closed = once(kept, 'close');
    await writeFile(caFile, others.cert);
    await until('loaded', has('tls-loaded'));
    await closed;
    assert.equal(
      (await askSecurely(port, MODULE, { ...friend, ...(session === undefined ? {} : { session }) })).status,
      403,
    );
    assert.equal((await askSecurely(port, MODULE, others.issue({ usage: 'client' }))).status, 200);
  });

  test('authorities that could admit no client are refused: intermediate ones alone, clients, expired ones', async t => {
    const { certFile, keyFile, caFile } = await certificateFiles(t);
    const tls = { certFile, keyFile, clientCaFile: caFile };
    const root = new CertificateAuthority('Root');
    const between = new CertificateAuthority('Between', root);
    const past = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) };
    const expired = new CertificateAuthority('Expired', undefined, past);
    const client = between.issue({ usage: 'client' });
    for (const unusable of [between.cert, client.cert, expired.cert, `${expired.cert}${between.cert}`]) {
      await writeFile(caFile, unusable);
      await assert.rejects(serve(t, TREE, { tls }), { code: 'SERVER_TLS_UNUSABLE', subject: caFile });
    }
    await writeFile(caFile, `${expired.cert}${between.cert}${root.cert}`);
    const { port } = await serve(t, TREE, { tls });
    assert.equal((await askSecurely(port, MODULE, client)).status, 200);
  });

  test('a certificate that clients refuse replaces no other one; at the start it is a warning', async t => {
    const { certFile, keyFile, write } = await certificateFiles(t);
    const past = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) };
    const doubtful = [authority.issue(past), authority.issue({ usage: 'client' })];
    for (const pair of doubtful) {
      await write(pair);
      const events: ServerEvent[] = [];
      const { port } = await serve(t, TREE, { tls: { certFile, keyFile }, onEvent: event => events.push(event) });
      assert.ok(events.some(({ kind }) => kind === 'tls-doubtful'));
      assert.equal((await askSecurely(port, MODULE, { rejectUnauthorized: false })).status, 200);
    }
    await write(authority.issue());
    const events: ServerEvent[] = [];
    const onEvent = (event: ServerEvent): void => void events.push(event);
    const { port, reload } = await serve(t, TREE, { tls: { certFile, keyFile }, onEvent });
    for (const pair of doubtful) {
      await write(pair);
      await reload();
      assert.equal((await askSecurely(port, MODULE)).status, 200);
    }
    assert.ok(events.every(({ kind }) => kind !== 'tls-loaded' && kind !== 'tls-doubtful'));
    assert.ok(events.some(({ kind }) => kind === 'tls-unusable'));
  });

  test('a crowd of connections without a handshake shuts nobody out', async t => {
    const { certFile, keyFile } = await certificateFiles(t);
    const { port } = await serve(t, TREE, {
      tls: { certFile, keyFile },
      maxTlsConnections: 6,
      headersTimeoutMs: 60_000,
    });
    const running = (await secure(port)).pause();
    running.write(`GET ${MODULE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    await once(running, 'readable');
    const crowd = Array.from({ length: 30 }, () => connectPlainly(port, '127.0.0.1').on('error', () => {}));
    t.after(() => crowd.map(socket => socket.destroy()));
    const status = () =>
      askSecurely(port, MODULE).then(
        answer => answer.status,
        () => undefined,
      );
    const beganAtMs = Date.now();
    await until('there is room', async () => (await status()) === 200);
    // A handshake may take ten seconds.
    assert.ok(Date.now() - beganAtMs < 5000);
    assert.equal(await status(), 200, 'and for the next one');
    assert.equal(sha256(parseAnswer(await readAll(running.resume())).body), sha256(bytes));
  });

  test('connections without a handshake end after a while, and do not outlive the grace of a stop', async t => {
    const { certFile, keyFile } = await certificateFiles(t);
    const server = await serve(t, TREE, { tls: { certFile, keyFile }, headersTimeoutMs: 300 });
    const late = connectPlainly(server.port, '127.0.0.1').resume();
    late.on('error', () => {});
    await once(late, 'close');
    const other = await serve(t, TREE, { tls: { certFile, keyFile } });
    const silent = connectPlainly(other.port, '127.0.0.1').resume();
    silent.on('error', () => {});
    await once(silent, 'connect');
    await secure(other.port).then(socket => socket.destroy());
    const closed = once(silent, 'close');
    const beganAtMs = Date.now();
    await other.close({ graceMs: 100 });
    await closed;
    assert.ok(Date.now() - beganAtMs < 5000);
  });

  test('a client that speaks plain HTTP to the port is reported once', async t => {
    const { certFile, keyFile } = await certificateFiles(t);
    const events: ServerEvent[] = [];
    const { port } = await serve(t, TREE, { tls: { certFile, keyFile }, onEvent: event => events.push(event) });
    for (let at = 0; at < 2; at++) await assert.rejects(ask(port, MODULE));
    const found = events.filter(({ kind }) => kind === 'foreign-protocol');
    assert.deepEqual(found, [{ kind: 'foreign-protocol', protocol: 'plain HTTP', client: '127.0.0.1' }]);
  });
});

test('secrets are read again; those that cannot be used change nothing', async t => {
  const secret = { token: 'old' };
  const events: ServerEvent[] = [];
  const has = (kind: ServerEvent['kind']) => async () => events.some(event => event.kind === kind);
  const { port } = await serve(t, TREE, {
    credentials: { ...secret },
    rereadCredentials: async () => ({ ...secret }),
    onEvent: event => events.push(event),
  });
  const status = async (token: string) =>
    (await ask(port, '/index.json', { headers: [`Authorization: Bearer ${token}`] })).status;
  assert.deepEqual([await status('old'), await status('new')], [200, 401]);
  secret.token = '';
  await until('reported', has('credentials-unusable'));
  assert.deepEqual([await status('old'), await status('')], [200, 401]);
  secret.token = 'new';
  await until('loaded', has('credentials-loaded'));
  assert.deepEqual([await status('old'), await status('new')], [401, 200]);
});
