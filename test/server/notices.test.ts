import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { planDescriptors } from '../../server/content/openFile.ts';
import type { ServerEvent } from '../../server/events.ts';
import { foreignProtocol } from '../../server/http/clientErrors.ts';
import { ask, sendRaw, serve } from './client.ts';
import { makeTree, sharedTree, wasm } from './tree.ts';

const TREE = await sharedTree([{ name: 'a', version: '1.0.0', bytes: wasm(2000) }]);
const MODULE = '/plugins/a/1.0.0/plugin.wasm';

describe('bytes of another protocol are reported once for each protocol', () => {
  const kinds = {
    'PROXY protocol': [
      'PROXY TCP4 10.0.0.1 10.0.0.2 40000 8080\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
      'PROXY UNKNOWN\r\n',
      '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x9c\x40\x1f\x90GET / HTTP/1.1\r\n\r\n',
    ],
    'HTTP/2': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'],
    TLS: ['\x16\x03\x01\x00\x05\x01\0\0\x01\0', '\x16\x03\x03\x00\x05\x01\0\0\x01\0'],
  };
  test('from a connection', async t => {
    const events: ServerEvent[] = [];
    const { port } = await serve(t, TREE, { onEvent: event => events.push(event) });
    for (const [protocol, texts] of Object.entries(kinds)) {
      events.length = 0;
      for (const text of texts) assert.match((await sendRaw(port, text)).toString('latin1'), /^HTTP\/1\.1 400 /);
      assert.deepEqual(events, [{ kind: 'foreign-protocol', protocol, client: '127.0.0.1' }]);
    }
  });

  test('an unknown one with its first word, but not a request that HTTP does not allow', async t => {
    const events: ServerEvent[] = [];
    const { port } = await serve(t, TREE, { onEvent: event => event.kind !== 'tree-loaded' && events.push(event) });
    const kinds = {
      'SSH-2.0-OpenSSH_': 'SSH-2.0-OpenSSH_9.6\r\n',
      EHLO: 'EHLO host\r\n',
      '*1': '*1\r\n$4\r\nPING\r\n',
      AUTH: 'AUTH secret\r\n',
      '\0\0\0\b\x04\xd2\x16/': '\0\0\0\x08\x04\xd2\x16/',
    };
    for (const text of Object.values(kinds)) for (let at = 0; at < 2; at++) await sendRaw(port, text);
    const expected = Object.keys(kinds).map(firstWord => ({ kind: 'no-http', firstWord, client: '127.0.0.1' }));
    assert.deepEqual(events, expected);
    const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
    for (const text of ['X / HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\nHost\r\n\r\n', `${get}nonsense\r\n`])
      await sendRaw(port, text);
    assert.deepEqual(events, expected);
    for (let at = 0; at < 100; at++) await sendRaw(port, `word${at}\r\n`);
    assert.equal(events.length, 16);
  });

  test('and nothing else is taken for one', () => {
    for (const text of ['', 'P', 'PROXYX', 'GET / HTTP/1.1', '\x16', '\x16\x02\0', '\r\n\r\n', 'PRI * HTTP/1.1\r\n'])
      assert.equal(foreignProtocol(Buffer.from(text, 'latin1')), undefined, text);
  });
});

describe('a tree whose files are not there', () => {
  test('the server is not ready from its start on, and says why, also in its metrics', async t => {
    const tree = await makeTree(t, [
      { name: 'a', version: '1.0.0', bytes: wasm(2000) },
      { name: 'b', version: '1.0.0', bytes: wasm(3000) },
    ]);
    await writeFile(join(tree, 'b/1.0.0/plugin.wasm'), wasm(2999));
    const server = await serve(t, tree, { scrubPauseMs: 60_000 });
    assert.equal(server.isReady(), false);
    const { status, body } = await ask(server.port, '/readyz');
    assert.equal(status, 503);
    assert.match(body.toString(), /^The catalog lists b\/1\.0\.0\/plugin\.wasm, but/);
    const metrics = (await ask(server.port, '/metrics')).body.toString();
    assert.match(metrics, /^plugin_mirror_ready 0$/m);
    assert.match(metrics, /^plugin_mirror_unavailable_files 1$/m);
    assert.equal((await ask(server.port, MODULE)).status, 200);
    await writeFile(join(tree, 'b/1.0.0/plugin.wasm'), wasm(3000));
    await server.reload();
    assert.equal(server.isReady(), false, 'other bytes of the same size');
  });

  test('the right bytes make it ready, at the latest when it is reloaded', async t => {
    const bytes = wasm(3000);
    const tree = await makeTree(t, [{ name: 'b', version: '1.0.0', bytes }]);
    await writeFile(join(tree, 'b/1.0.0/plugin.wasm'), '');
    const server = await serve(t, tree, { scrubPauseMs: 60_000 });
    assert.equal(server.isReady(), false);
    await writeFile(join(tree, 'b/1.0.0/plugin.wasm'), bytes);
    await server.reload();
    assert.equal(server.isReady(), true);
    assert.match((await ask(server.port, '/metrics')).body.toString(), /^plugin_mirror_ready 1$/m);
  });
});

describe('an index.json that is no catalog', () => {
  for (const [what, text] of [
    ['33 MB of spaces', `{${' '.repeat(33_000_000)}}`],
    ['deeply nested', '['.repeat(200_000)],
  ] as const)
    test(`${what} leaves the former tree in place`, async t => {
      const tree = await makeTree(t, [{ name: 'a', version: '1.0.0', bytes: wasm(2000) }]);
      const events: ServerEvent[] = [];
      const server = await serve(t, tree, { onEvent: event => events.push(event) });
      await writeFile(join(tree, 'index.json'), text);
      await server.reload();
      assert.equal(events.at(-1)?.kind, 'tree-unreadable');
      assert.equal((await ask(server.port, MODULE)).status, 200);
    });
});

describe('few descriptors', () => {
  test('files take at most a third, connections what is left', () => {
    for (const limit of [32, 64, 128, 256, 512, 1024, 4096, 1_048_576, Number.MAX_SAFE_INTEGER]) {
      const { openFiles, connections } = planDescriptors(limit, 8192);
      assert.ok(openFiles >= 1 && openFiles <= Math.max(1, limit / 3), `${limit}: ${openFiles} files`);
      assert.ok(connections >= 1 && connections <= 8192, `${limit}: ${connections} connections`);
      assert.ok(openFiles + connections < limit, `${limit}`);
    }
    assert.deepEqual(planDescriptors(1_048_576, 8192), { limit: 1_048_576, openFiles: 512, connections: 8192 });
  });

  test('a small limit is reported at the start, and all files are served all the same', async t => {
    const events: ServerEvent[] = [];
    const plan = Array.from({ length: 30 }, (_, at) => ({ name: `p${at}`, version: '1.0.0', bytes: wasm(1000 + at) }));
    const { port } = await serve(t, await makeTree(t, plan), {
      maxDescriptors: 64,
      onEvent: event => events.push(event),
    });
    const [first] = events;
    assert.ok(first?.kind === 'few-descriptors' && first.limit === 64 && first.connections < 64);
    for (const { name } of plan) assert.equal((await ask(port, `/plugins/${name}/1.0.0/plugin.wasm`)).status, 200);
  });
});

test('the default address takes IPv6 and IPv4, or IPv4 alone', async t => {
  const { port } = await serve(t, TREE, { host: '::' });
  assert.equal((await ask(port, MODULE)).status, 200);
  const probe = createServer();
  const hasIPv6 = await new Promise<boolean>(resolve => {
    probe.once('error', () => resolve(false));
    probe.listen(0, '::1', () => probe.close(() => resolve(true)));
  });
  if (!hasIPv6) return;
  assert.equal((await fetch(`http://[::1]:${port}${MODULE}`)).status, 200);
});

test('the access log has no raw control or format character, and IPv4 addresses in their usual form', async t => {
  let log = '';
  const server = await serve(t, TREE, {
    host: '::',
    writeAccessLog: async text => {
      log += text;
    },
  });
  const agent = 'a\x80\x9b31m\xa0\t\xad';
  await ask(server.port, `${MODULE}?x`, { headers: [`User-Agent: ${agent}`, 'X-Forwarded-For: \u0085'] });
  await server.close({ graceMs: 100 });
  const line = log.split('\n')[0] ?? '';
  assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  const { userAgent, client } = JSON.parse(line);
  assert.deepEqual([userAgent, client], [agent, '127.0.0.1']);
});

test('a reader of the access log that has stopped does not keep the server from stopping', async t => {
  const server = await serve(t, TREE, { writeAccessLog: () => new Promise(() => {}) });
  assert.equal((await ask(server.port, MODULE)).status, 200);
  const beganAtMs = Date.now();
  await server.close({ graceMs: 10_000 });
  assert.ok(Date.now() - beganAtMs < 8000);
});
