import assert from 'node:assert/strict';
import { link, mkdir, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ask, parseAnswer, sendRaw, serve } from './client.ts';
import { emptyFolder, entryOf, makeTree, publishCatalog, sha256, wasm } from './tree.ts';

const bytes = wasm(70_000);
const plan = { name: 'ai-proxy', version: '2.0.1', bytes };

describe('the paths of files', () => {
  test('other spellings of the same path serve the same bytes', async t => {
    const { port } = await serve(t, await makeTree(t, [plan]));
    for (const path of [
      '/plugins/ai-proxy/2.0.1/plugin.wasm?v=1',
      '/plugins/ai-proxy/2.0.1/plugin.wasm?',
      '//plugins//ai-proxy/2.0.1/plugin.wasm',
      '/./plugins/ai-proxy/./2.0.1/plugin.wasm',
      '/plugins/%61i-proxy/2%2e0.1/plugin.wasm',
      'http://elsewhere.test/plugins/ai-proxy/2.0.1/plugin.wasm',
      'HTTP://elsewhere.test:99/plugins/ai-proxy/2.0.1/plugin.wasm?x',
    ]) {
      const answer = await ask(port, path);
      assert.equal(answer.status, 200, path);
      assert.equal(sha256(answer.body), sha256(bytes), path);
    }
  });

  test('files outside the tree, and files that the catalog does not list, are not served', async t => {
    const tree = await makeTree(t, [plan]);
    const secret = 'SECRET-TEXT';
    await writeFile(join(tree, '..', 'plugin-mirror-secret.txt'), secret);
    t.after(() => unlink(join(tree, '..', 'plugin-mirror-secret.txt')));
    await writeFile(join(tree, '.lock'), secret);
    await mkdir(join(tree, '.staging'), { recursive: true });
    await writeFile(join(tree, '.staging', 'plugin.wasm'), secret);
    await writeFile(join(tree, 'ai-proxy', '2.0.1', 'extra.txt'), secret);
    await symlink(join(tree, '..', 'plugin-mirror-secret.txt'), join(tree, 'ai-proxy', '2.0.1', 'link.txt'));
    const { port } = await serve(t, tree);
    const up = [
      '..',
      '%2e%2e',
      '%2E.',
      '.%2e',
      '..%2f',
      '..%5c',
      '..\\',
      '%252e%252e',
      '..;',
      '%c0%ae%c0%ae',
      '..%00',
      '%u002e%u002e',
    ];
    const targets = [
      ...up.flatMap(dots => [
        `/${dots}/plugin-mirror-secret.txt`,
        `/plugins/${dots}/plugin-mirror-secret.txt`,
        `/plugins/ai-proxy/2.0.1/${dots}/${dots}/${dots}/plugin-mirror-secret.txt`,
      ]),
      '/plugins/.lock',
      '/.lock',
      '/plugins/.staging/plugin.wasm',
      '/plugins/ai-proxy/2.0.1/extra.txt',
      '/plugins/ai-proxy/2.0.1/link.txt',
      '/plugins/ai-proxy/2.0.1/plugin.wasm/',
      '/plugins/ai-proxy/2.0.1/plugin.wasm/.',
      '/plugins/ai-proxy/2.0.1/plugin.wasm%00.txt',
      '/plugins/ai-proxy/2.0.1/plugin.wasm%20',
      '/plugins/ai-proxy/2.0.1/PLUGIN.WASM',
      '/plugins/ai-proxy%2f2.0.1%2fplugin.wasm',
      '/plugins/ai-proxy\\2.0.1\\plugin.wasm',
      '/plugins/__proto__/constructor/plugin.wasm',
      '/__proto__',
      '/constructor',
      '/plugins/%',
      '/plugins/%zz',
      '/plugins/%ff',
      'file:///etc/passwd',
      'http://',
      'ftp://a/plugins/',
      'plugins/',
      '*',
    ];
    for (const target of targets) {
      const answer = await ask(port, target);
      const fine = [301, 400, 404].includes(answer.status) || (answer.status === 200 && target === 'http://');
      assert.ok(fine, `${target}: ${answer.status}`);
      assert.ok(!answer.body.includes(secret), target);
      assert.ok(!(answer.headers.get('location') ?? '').startsWith('//'), target);
    }
    assert.equal((await ask(port, '/plugins/ai-proxy/2.0.1/plugin.wasm')).status, 200, 'the server lives');
  });

  test('invalid names in a catalog are not served', async t => {
    const tree = await emptyFolder(t);
    const outside = await emptyFolder(t);
    await mkdir(join(outside, 'out', '1.0.0'), { recursive: true });
    await writeFile(join(outside, 'out', '1.0.0', 'plugin.wasm'), bytes);
    await symlink(join(outside, 'out'), join(tree, 'out'));
    await mkdir(join(tree, 'linked', '1.0.0'), { recursive: true });
    await symlink(join(outside, 'out', '1.0.0', 'plugin.wasm'), join(tree, 'linked', '1.0.0', 'plugin.wasm'));
    await mkdir(join(tree, 'fifo', '1.0.0', 'plugin.wasm'), { recursive: true });
    await mkdir(join(tree, 'hard', '1.0.0'), { recursive: true });
    await link(join(outside, 'out', '1.0.0', 'plugin.wasm'), join(tree, 'hard', '1.0.0', 'plugin.wasm'));
    const names = ['out', 'linked', 'fifo', 'hard', 'gone'];
    const entries = names.map(name =>
      entryOf({ name, version: '1.0.0', bytes: name === 'hard' ? bytes : Buffer.concat([bytes, Buffer.from(name)]) }),
    );
    await publishCatalog(tree, entries);
    const { port } = await serve(t, tree);
    for (const name of names) {
      const answer = await ask(port, `/plugins/${name}/1.0.0/plugin.wasm`);
      assert.equal(answer.status, name === 'hard' ? 200 : 503, name);
      if (name !== 'hard') assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/);
    }
  });

  test('links out of the tree are not followed even to the right bytes', async t => {
    const tree = await emptyFolder(t);
    const outside = await emptyFolder(t);
    await writeFile(join(outside, 'plugin.wasm'), bytes);
    await mkdir(join(tree, 'a', '1.0.0'), { recursive: true });
    await symlink(join(outside, 'plugin.wasm'), join(tree, 'a', '1.0.0', 'plugin.wasm'));
    await publishCatalog(tree, [entryOf({ name: 'a', version: '1.0.0', bytes })]);
    const { port } = await serve(t, tree);
    assert.equal((await ask(port, '/plugins/a/1.0.0/plugin.wasm')).status, 503);
  });
});

describe('ambiguous and invalid requests (RFC 9112)', () => {
  const target = 'GET /plugins/ai-proxy/2.0.1/plugin.wasm HTTP/1.1\r\n';
  const cases: readonly (readonly [string, string, readonly number[]])[] = [
    ['two Host lines', `${target}Host: a\r\nHost: b\r\n\r\n`, [400]],
    ['two equal Host lines', `${target}Host: a\r\nhost: a\r\n\r\n`, [400]],
    ['no Host', `${target}\r\n`, [400]],
    ['a Host with a blank and a path', `${target}Host: a b/c\r\n\r\n`, [400]],
    ['a Host with a user', `${target}Host: u@a\r\n\r\n`, [400]],
    ['a Host with a port', `${target}Host: [::1]:8080\r\nConnection: close\r\n\r\n`, [200]],
    ['a transfer coding of its own', `${target}Host: a\r\nTransfer-Encoding: xchunked\r\n\r\n`, [400]],
    ['a transfer coding that is none', `${target}Host: a\r\nTransfer-Encoding: identity\r\n\r\n`, [400]],
    ['an expectation of its own', `${target}Host: a\r\nExpect: tea\r\n\r\n`, [417]],
    ['two lengths', `${target}Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx`, [400]],
    ['two equal lengths', `${target}Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx`, [400]],
    [
      'length and chunks',
      `${target}Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      [400],
    ],
    ['a coding that is not the last', `${target}Host: a\r\nTransfer-Encoding: chunked, x\r\n\r\n`, [400]],
    ['a space before the colon', `${target}Host : a\r\n\r\n`, [400]],
    ['a folded line', `${target}Host: a\r\nX: a\r\n b\r\n\r\n`, [200, 400]],
    ['a line without a colon', `${target}Host: a\r\nX\r\n\r\n`, [400]],
    ['a NUL', `${target}Host: a\r\nX: a\0b\r\n\r\n`, [400]],
    ['bare line feeds in a header', `${target}Host: a\nX: y\r\n\r\n`, [200, 400]],
    ['no version', 'GET /plugins/ai-proxy/2.0.1/plugin.wasm\r\n\r\n', [400, 505]],
    ['a version of its own', 'GET / HTTP/3.7\r\nHost: a\r\n\r\n', [400, 505]],
    ['no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [400]],
    ['a header of 20 KB', `${target}Host: a\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, [431]],
    ['a target of 20 KB', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, [414, 431]],
    ['a second Host far down', `${target}Host: a\r\n${'X:\r\n'.repeat(2500)}Host: b\r\n\r\n`, [400, 431]],
    ['3,000 header lines', `${target}Host: a\r\n${'X: y\r\n'.repeat(3000)}\r\n`, [431]],
  ];
  for (const [what, request, statuses] of cases)
    test(what, async t => {
      const { port } = await serve(t, await makeTree(t, [plan]), { keepAliveTimeoutMs: 500 });
      const answer = parseAnswer(await sendRaw(port, request));
      assert.ok(statuses.includes(answer.status), String(answer.status));
      if (answer.status !== 200) assert.equal(answer.headers.get('connection'), 'close');
    });

  test('a body of a GET is never parsed as the next request', async t => {
    const { port } = await serve(t, await makeTree(t, [plan]));
    const inner = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n';
    for (const head of [
      `Content-Length: ${inner.length}\r\n\r\n${inner}`,
      `Transfer-Encoding: chunked\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`,
    ]) {
      const all = await sendRaw(port, `HEAD /plugins/ai-proxy/2.0.1/plugin.wasm HTTP/1.1\r\nHost: a\r\n${head}`);
      assert.equal(all.toString('latin1').match(/HTTP\/1\.1 /g)?.length, 1);
      assert.equal(parseAnswer(all).headers.get('connection'), 'close');
    }
  });

  test('bytes after the last answer of a connection are neither answered nor logged', async t => {
    let log = '';
    const writeAccessLog = async (text: string): Promise<void> => {
      log += text;
    };
    const server = await serve(t, await makeTree(t, [plan]), { writeAccessLog });
    const next = 'GET /next HTTP/1.1\r\nHost: a\r\n\r\n';
    await sendRaw(server.port, `GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc${next}`);
    await server.close();
    assert.deepEqual(
      log
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line).url),
      ['/version'],
    );
  });

  test('a client that expects 100 Continue gets the final answer', async t => {
    const { port } = await serve(t, await makeTree(t, [plan]));
    const head = 'POST /plugins/ai-proxy/2.0.1/plugin.wasm HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n';
    const all = await sendRaw(port, `${head}Expect: 100-continue\r\n\r\n`);
    assert.equal(parseAnswer(all).status, 405);
  });

  test('requests that cannot be parsed are counted and logged', async t => {
    let log = '';
    const writeAccessLog = async (text: string): Promise<void> => {
      log += text;
    };
    const server = await serve(t, await makeTree(t, [plan]), { writeAccessLog });
    await sendRaw(server.port, 'no request\r\n\r\n');
    await sendRaw(server.port, `${target}Host: a\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`);
    await sendRaw(server.port, `${target}\r\n`);
    const metrics = (await ask(server.port, '/metrics')).body.toString();
    for (const [status, times] of [
      [400, 2],
      [431, 1],
    ])
      assert.match(metrics, new RegExp(`plugin="",version="",coding="identity",status="${status}"\\} ${times}\\n`));
    await server.close();
    assert.deepEqual(
      log
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line).status),
      [400, 431, 400, 200],
    );
  });

  test('HTTP/1.0 is answered, and the connection closed', async t => {
    const { port } = await serve(t, await makeTree(t, [plan]));
    const answer = parseAnswer(await sendRaw(port, 'GET /plugins/ai-proxy/2.0.1/plugin.wasm HTTP/1.0\r\n\r\n'));
    assert.equal(answer.status, 200);
    assert.equal(sha256(answer.body), sha256(bytes));
  });

  test('a header that never ends gets 408', async t => {
    const { port } = await serve(t, await makeTree(t, [plan]), { headersTimeoutMs: 200, requestTimeoutMs: 200 });
    assert.equal(parseAnswer(await sendRaw(port, 'GET / HTTP/1.1\r\nHost: a\r\n')).status, 408);
  });
});
