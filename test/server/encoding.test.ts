import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from 'node:zlib';
import { type Answer, ask, serve } from './client.ts';
import { makeTree, publish, sha256, wasm } from './tree.ts';

const MODULE = '/plugins/a/1.0.0/plugin.wasm';

/** Half of it compresses, so that its coded forms are smaller and still more than a chunk. */
function halfRandom(sizeBytes: number): Buffer {
  return Buffer.concat([wasm(sizeBytes / 2), Buffer.alloc(sizeBytes / 2, 'compressible')]);
}

const bytes = halfRandom(2_000_000);
const gz = gzipSync(bytes);
const br = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
const FORMS = { identity: bytes, gzip: gz, br } as const;
type Form = keyof typeof FORMS;
const plan = (files: Readonly<Record<string, Buffer>>) => [{ name: 'a', version: '1.0.0', bytes, pinned: true, files }];
const BOTH = plan({ 'plugin.wasm.gz': gz, 'plugin.wasm.br': br });
/** Smallest first: what the server prefers among equals. */
const SMALLEST: Form = br.length < gz.length ? 'br' : 'gzip';

const formOf = ({ headers }: Answer): string => headers.get('content-encoding') ?? 'identity';
const accept = (field: string) => [`Accept-Encoding: ${field}`];

function checkForm(answer: Answer, form: Form, method = 'GET'): void {
  const sent = FORMS[form];
  assert.equal(answer.status, 200);
  assert.equal(formOf(answer), form);
  assert.equal(answer.headers.get('content-length'), String(sent.length));
  assert.equal(answer.headers.get('etag'), `"${sha256(sent)}"`);
  assert.equal(answer.headers.get('repr-digest'), `sha-256=:${Buffer.from(sha256(sent), 'hex').toString('base64')}:`);
  assert.equal(answer.headers.get('vary'), 'Accept-Encoding');
  assert.equal(answer.headers.get('accept-ranges'), form === 'identity' ? 'bytes' : 'none');
  assert.equal(answer.headers.get('content-type'), 'application/wasm');
  if (method === 'GET') assert.ok(answer.body.equals(sent), 'other bytes');
}

/** RFC 9110, 12.5.3, with --encoding on: what is sent of identity, gzip and br. 406: nothing is acceptable. */
const RULES: readonly (readonly [field: string | undefined, sent: Form | 406])[] = [
  [undefined, 'identity'],
  ['', 'identity'],
  ['gzip', 'gzip'],
  ['GZip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['br', 'br'],
  ['zstd', 'identity'],
  ['deflate, compress', 'identity'],
  ['gzip;q=0', 'identity'],
  ['gzip;q=0.000', 'identity'],
  ['gzip;q=0.001', 'gzip'],
  ['gzip ; q=0.5 , br;q=0.4', 'gzip'],
  ['gzip;Q=0.5, br;q=0.6', 'br'],
  ['gzip, br', SMALLEST],
  ['*', SMALLEST],
  ['*;q=0.5, br;q=0', 'gzip'],
  ['*;q=0', 406],
  ['*;q=0, gzip', 'gzip'],
  ['*;q=0, identity', 'identity'],
  ['identity;q=0', 406],
  ['identity;q=0, gzip', 'gzip'],
  ['identity;q=0, zstd', 406],
  ['identity;q=0, *', SMALLEST],
  ['identity, gzip;q=0.5', 'identity'],
  ['identity;q=0.5, gzip', 'gzip'],
  ['identity, gzip', 'gzip'],
  ['gzip;q=2', 'identity'],
  ['gzip;q=0.1234', 'identity'],
  ['gzip;q=', 'identity'],
  ['gzip;level=9', 'identity'],
  [',, gzip ,', 'gzip'],
];

describe('content codings', () => {
  test('every rule of the table, for GET and HEAD alike', async t => {
    const { port } = await serve(t, await makeTree(t, BOTH), { encoding: 'on' });
    for (const [field, sent] of RULES)
      await t.test(`Accept-Encoding: ${field}`, async () => {
        const headers = field === undefined ? [] : accept(field);
        const get = await ask(port, MODULE, { headers });
        const head = await ask(port, MODULE, { method: 'HEAD', headers });
        const dateless = ({ status, headers: lines }: Answer) => [
          status,
          [...lines].filter(([name]) => name !== 'date'),
        ];
        assert.deepEqual(dateless(head), dateless(get));
        assert.equal(head.body.length, 0);
        if (sent === 406) assert.deepEqual([get.status, get.headers.get('vary')], [406, 'Accept-Encoding']);
        else checkForm(get, sent);
      });
    const lines = await ask(port, MODULE, { headers: [...accept('br;q=0.5'), ...accept('gzip')] });
    checkForm(lines, 'gzip');
  });

  test('validators belong to the form, and those of every form are recognized', async t => {
    const { port } = await serve(t, await makeTree(t, BOTH), { encoding: 'on' });
    const etag = (form: Form) => `"${sha256(FORMS[form])}"`;
    const status = async (...headers: string[]) => {
      const answer = await ask(port, MODULE, { headers });
      return [answer.status, answer.headers.get('etag'), answer.headers.get('vary')];
    };
    for (const form of ['gzip', 'identity', 'br'] as const) {
      const held = await status('Accept-Encoding: gzip, br', `If-None-Match: ${etag(form)}`);
      assert.deepEqual(held, [304, etag(form), 'Accept-Encoding'], form);
    }
    const refused = await status('Accept-Encoding: gzip', `If-None-Match: ${etag('br')}`);
    assert.deepEqual(refused, [200, etag('gzip'), 'Accept-Encoding'], 'a form that the client no longer accepts');
    assert.equal((await status('Accept-Encoding: gzip', `If-Match: ${etag('identity')}`))[0], 200);
    assert.deepEqual(await status('Accept-Encoding: gzip', 'If-Match: "x"'), [412, etag('gzip'), 'Accept-Encoding']);
  });

  test('ranges apply only to the uncompressed bytes', async t => {
    const { port } = await serve(t, await makeTree(t, BOTH), { encoding: 'on' });
    const part = await ask(port, MODULE, { headers: [...accept('gzip'), 'Range: bytes=10-19'] });
    assert.deepEqual([part.status, formOf(part), part.headers.get('vary')], [206, 'identity', 'Accept-Encoding']);
    assert.ok(part.body.equals(bytes.subarray(10, 20)));
    const coded = await ask(port, MODULE, { headers: [...accept('gzip, identity;q=0'), 'Range: bytes=10-19'] });
    checkForm(coded, 'gzip');
    const beyond = await ask(port, MODULE, { headers: [...accept('gzip'), 'Range: bytes=99999999-'] });
    assert.deepEqual([beyond.status, beyond.headers.get('vary')], [416, 'Accept-Encoding']);
    const tag = `If-Range: "${sha256(gz)}"`;
    const other = await ask(port, MODULE, { headers: [...accept('gzip'), 'Range: bytes=10-19', tag] });
    assert.equal(other.status, 200, 'a part of another form was sent');
  });

  test('with off, and for other files, answers neither use nor mention codings', async t => {
    const tree = await makeTree(t, BOTH);
    const off = await ask((await serve(t, tree, { encoding: 'off' })).port, MODULE, {
      headers: accept('gzip, identity;q=0'),
    });
    assert.deepEqual([off.status, formOf(off), off.headers.get('vary')], [200, 'identity', undefined]);
    const { port } = await serve(t, tree, { encoding: 'on' });
    const own = await ask(port, `${MODULE}.gz`, { headers: accept('gzip') });
    assert.deepEqual([own.headers.get('content-type'), formOf(own)], ['application/gzip', 'identity']);
    assert.ok(own.body.equals(gz));
    assert.equal(
      (await ask(port, '/plugins/a/1.0.0/metadata.json', { headers: accept('gzip') })).headers.get('vary'),
      undefined,
    );
  });

  test('url patterns and latest have the same forms', async t => {
    const { port } = await serve(t, await makeTree(t, BOTH), {
      encoding: 'on',
      latest: true,
      urlPatterns: ['/w/${name}.wasm'],
    });
    for (const path of ['/w/a.wasm', '/plugins/a/latest/plugin.wasm'])
      checkForm(await ask(port, path, { headers: accept('br') }), 'br');
  });

  test('instead of a form that is damaged or larger than the module, the uncompressed bytes are sent', async t => {
    const tree = await makeTree(t, plan({ 'plugin.wasm.gz': gz, 'plugin.wasm.br': Buffer.concat([br, bytes]) }));
    await writeFile(join(tree, 'a/1.0.0/plugin.wasm.gz'), Buffer.alloc(gz.length));
    const { port } = await serve(t, tree, { encoding: 'on' });
    checkForm(await ask(port, MODULE, { headers: accept('gzip, br') }), 'identity');
    const only = await ask(port, MODULE, { headers: accept('gzip, identity;q=0') });
    assert.equal(only.status, 503);
  });

  test('forms appear and disappear with the tree', async t => {
    const tree = await makeTree(t, plan({}));
    const server = await serve(t, tree, { encoding: 'on' });
    const plain = await ask(server.port, MODULE, { headers: accept('gzip') });
    assert.deepEqual([formOf(plain), plain.headers.get('vary')], ['identity', undefined]);
    await publish(tree, BOTH);
    await server.reload();
    checkForm(await ask(server.port, MODULE, { headers: accept('gzip') }), 'gzip');
    await publish(tree, plan({}));
    await server.reload();
    assert.equal(formOf(await ask(server.port, MODULE, { headers: accept('gzip') })), 'identity');
    const text = (await ask(server.port, '/metrics')).body.toString();
    assert.match(text, /requests_total\{plugin="a",version="1\.0\.0",coding="identity",status="200"\} 2/);
  });
});

/** Downloads of a large module that take nothing until they are let go. */
async function manyDownloads(t: TestContext, port: number, size: number): Promise<Socket[]> {
  const sockets = await Promise.all(
    Array.from({ length: size }, async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.pause();
      socket.write('GET /plugins/big/1.0.0/plugin.wasm HTTP/1.1\r\nHost: a\r\n\r\n');
      return socket;
    }),
  );
  t.after(() => sockets.map(socket => socket.destroy()));
  await untilRunning(port, size);
  return sockets;
}

async function untilRunning(port: number, bodies: number): Promise<void> {
  for (;;) {
    const running = /bodies_running (\d+)/.exec((await ask(port, '/metrics')).body.toString())?.[1];
    if (Number(running) === bodies) return;
  }
}

test('auto: uncompressed for a single client, compressed for many and over a slow link', async t => {
  const big = halfRandom(20_000_000);
  const tree = await makeTree(t, [...BOTH, { name: 'big', version: '1.0.0', bytes: big }]);
  const { port } = await serve(t, tree);
  const sent = async () => {
    const answer = await ask(port, MODULE, { headers: accept('gzip') });
    const plain = formOf(answer) === 'gzip' ? gunzipSync(answer.body) : answer.body;
    assert.ok(plain.equals(bytes));
    return formOf(answer);
  };
  assert.equal(await sent(), 'identity');
  const sockets = await manyDownloads(t, port, 8);
  assert.equal(await sent(), 'gzip');
  assert.ok(brotliDecompressSync((await ask(port, MODULE, { headers: accept('br') })).body).equals(bytes));
  assert.equal(formOf(await ask(port, MODULE)), 'identity', 'a client that accepts no coding gets none');
  const [first, ...others] = sockets;
  for (const socket of others) socket.destroy();
  await untilRunning(port, 1);
  assert.equal(await sent(), 'identity');
  // Paused for longer than 20 MB take at 100 MB/s.
  await new Promise(resolve => setTimeout(resolve, 250));
  first?.resume();
  await untilRunning(port, 0);
  assert.equal(await sent(), 'gzip', 'a reader got less than 100 MB/s');
});

test('auto: clients that wait for the same file to be hashed count as many', async t => {
  const { port } = await serve(t, await makeTree(t, BOTH), { scrubPauseMs: 60_000 });
  // More than are counted as many, at a server that has hashed nothing or little yet.
  const answers = await Promise.all(Array.from({ length: 32 }, () => ask(port, MODULE, { headers: accept('gzip') })));
  for (const answer of answers) {
    const plain = formOf(answer) === 'gzip' ? gunzipSync(answer.body) : answer.body;
    assert.ok(plain.equals(bytes));
  }
  const compressed = answers.filter(answer => formOf(answer) === 'gzip').length;
  assert.ok(compressed >= 24, `${compressed} of 32`);
});
