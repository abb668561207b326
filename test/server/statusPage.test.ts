import assert from 'node:assert/strict';
import { rm, symlink, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readHigress } from '../../cli/serve/higress.ts';
import { Troubles } from '../../server/observe/troubles.ts';
import { ask, serve, until } from './client.ts';
import { emptyFolder, makeTree, put, sha256, wasm } from './tree.ts';

const bytes = wasm(3000);
const PLAN = [
  { name: 'ai-proxy', version: '2.0.1', bytes },
  { name: 'cors', version: '2.0.4', bytes: wasm(700) },
];

interface Reported {
  readonly path: string;
  readonly count: number;
  readonly reason: {
    readonly kind: string;
    readonly nearest: string[];
    readonly manifestLines: string[];
    readonly requestedBy: string[];
  };
}

describe('/status', () => {
  test('explains every 404, the most frequent first', async t => {
    const { port } = await serve(t, await makeTree(t, PLAN), { readHigress, basePath: '/m' });
    const requests = {
      '/m/plugins/ai-proxy/2.0.3/plugin.wasm': 3,
      '/m/plugins/opa/2.0.3/plugin.wasm': 2,
      '/m/plugins/ai-proxi/2.0.1/plugin.wasm': 1,
      '/m/plugins/$%7Bname%7D/$%7Bversion%7D/plugin.wasm': 1,
      '/favicon.ico': 1,
    };
    for (const [path, times] of Object.entries(requests))
      for (let time = 0; time < times; time++) await ask(port, path, { headers: ['User-Agent: Go-http-client/1.1'] });
    await ask(port, '/m/plugins/ai-proxy/2.0.1/plugin.wasm');
    const report = JSON.parse((await ask(port, '/m/status.json')).body.toString());
    const missing = report.missing as Reported[];
    assert.deepEqual(Object.fromEntries(missing.map(({ path, count }) => [path, count])), requests);
    assert.equal(missing[0]?.count, 3);
    const reasonFor = (path: string) => missing.find(entry => entry.path === path)?.reason;
    const proxy = reasonFor('/m/plugins/ai-proxy/2.0.3/plugin.wasm');
    assert.deepEqual(proxy?.manifestLines, ['"ai-proxy": ["2.0.1", "2.0.3"]']);
    assert.deepEqual(proxy?.requestedBy, ['Higress Console 2.2.5']);
    assert.deepEqual(reasonFor('/m/plugins/opa/2.0.3/plugin.wasm')?.manifestLines, ['"opa": "2.0.3"']);
    assert.deepEqual(reasonFor('/m/plugins/ai-proxi/2.0.1/plugin.wasm')?.nearest, ['ai-proxy']);
    assert.equal(reasonFor('/m/plugins/$%7Bname%7D/$%7Bversion%7D/plugin.wasm')?.kind, 'placeholder');
    assert.deepEqual(report.downloads, [
      { plugin: 'ai-proxy', version: '2.0.1', answers: { 200: 1 }, sentBytes: 3000 },
    ]);
    assert.equal(report.notReady, null);
    const page = (await ask(port, '/m/status')).body.toString().replaceAll('&quot;', '"');
    for (const shown of ['"opa": "2.0.3"', 'Higress Console 2.2.5', 'Go-http-client/1.1', '>ai-proxy</a>'])
      assert.ok(page.includes(shown), shown);
  });

  test('names damaged files, and shows no secret', async t => {
    const tree = await makeTree(t, PLAN);
    const token = 'very-secret-token';
    const { port } = await serve(t, tree, {
      credentials: { token, login: { user: 'reader', password: 'hidden-word' } },
    });
    const headers = [`Authorization: Bearer ${token}`];
    assert.equal((await ask(port, '/status')).status, 401, 'as the tree itself');
    assert.equal((await ask(port, '/')).status, 401);
    await writeFile(join(tree, 'cors/2.0.4/plugin.wasm'), Buffer.alloc(700));
    assert.equal((await ask(port, '/plugins/cors/2.0.4/plugin.wasm', { headers })).status, 503);
    const json = (await ask(port, '/status', { headers: [...headers, 'Accept: application/json'] })).body.toString();
    const { damaged, options } = JSON.parse(json);
    assert.equal(damaged.length, 1);
    assert.equal(damaged[0].path, 'cors/2.0.4/plugin.wasm');
    assert.equal(damaged[0].served, 'nothing');
    assert.equal(options.authUser, 'reader');
    const page = (await ask(port, '/status', { headers })).body.toString();
    assert.match(page, /cors\/2\.0\.4\/plugin\.wasm/);
    for (const text of [json, page]) assert.doesNotMatch(text, /very-secret-token|hidden-word/);
  });

  test('names the reason of a damaged file in Chinese, as the pages of its plugin do', async t => {
    const tree = await makeTree(t, [...PLAN, { name: 'cors', version: '2.0.5', bytes: wasm(500) }]);
    const { port } = await serve(t, tree);
    const page = async (path: string, language = 'zh') =>
      (await ask(port, path, { headers: ['Accept: text/html', `Accept-Language: ${language}`] })).body.toString();
    for (const path of ['/', '/catalog/cors/', '/catalog/cors/?version=2.0.4'])
      assert.doesNotMatch(await page(path), /损坏|缺失/, path);
    await writeFile(join(tree, 'cors/2.0.4/plugin.wasm'), Buffer.alloc(700));
    await rm(join(tree, 'cors/2.0.5/plugin.wasm'));
    const shown = await page('/catalog/cors/?version=2.0.4', 'en');
    const note = /<div class="note bad"[\s\S]*?<\/div>/;
    assert.match(note.exec(shown)?.[0] ?? '', /cors\/2\.0\.4\/plugin\.wasm<\/code>: the file has other bytes than/);
    assert.match(note.exec(shown)?.[0] ?? '', /Clients get: 503[\s\S]*plugin-mirror sync repairs the tree/);
    // The module of 2.0.5 was read and is still open, or it was not: clients get its bytes or 503.
    const gone = await page('/catalog/cors/');
    assert.match(
      gone,
      /<div class="note (?:bad|warn)"[\s\S]*?文件已从磁盘消失[\s\S]*?执行 plugin-mirror sync 可修复插件目录/,
    );
    assert.equal([...gone.matchAll(/>文件损坏或缺失</g)].length, 2, 'each has a tag in the list of versions');
    assert.match(await page('/'), /<span class="tag bad" title="[^"]*">文件损坏或缺失：2\.0\.4, 2\.0\.5</);
    const status = await page('/status');
    assert.match(status, /文件内容与索引不一致[\s\S]*文件已从磁盘消失/);
    assert.match(status, /索引列出了 cors\/2\.0\.\d\/plugin\.wasm/);
    await put(join(tree, 'cors/2.0.4/plugin.wasm'), PLAN[1]?.bytes ?? '');
    assert.doesNotMatch(await page('/catalog/cors/?version=2.0.4'), /class="note (?:bad|warn)" role/, 'it is repaired');
  });

  test('shows the digests of the tree and of its lockfile', async t => {
    const tree = await makeTree(t, PLAN);
    const lockFile = join(await emptyFolder(t), 'manifest.lock.json');
    const { port } = await serve(t, tree, { lockFile });
    const report = async () => JSON.parse((await ask(port, '/status.json')).body.toString());
    assert.deepEqual((await report()).lockfile, { path: lockFile, digest: null });
    assert.match((await ask(port, '/status')).body.toString(), /Lockfile<\/th><td class="key"><code>cannot be read/);
    await writeFile(`${lockFile}.1`, '{}\n');
    await symlink(`${lockFile}.1`, lockFile);
    const digest = `sha256:${sha256('{}\n')}`;
    assert.deepEqual((await report()).lockfile, { path: lockFile, digest });
    const page = (await ask(port, '/status')).body.toString();
    for (const shown of [digest, (await report()).tree.digest])
      assert.ok(page.includes(`<code>${shown}</code>`), shown);
    const without = await serve(t, tree);
    assert.equal(JSON.parse((await ask(without.port, '/status.json')).body.toString()).lockfile, null);
  });

  test('can be switched off, and works without a tree', async t => {
    const off = await serve(t, await makeTree(t, PLAN), { status: false });
    for (const path of ['/status', '/status.json']) assert.equal((await ask(off.port, path)).status, 404);
    assert.doesNotMatch((await ask(off.port, '/')).body.toString(), /href="status"/);
    const { port } = await serve(t, await emptyFolder(t));
    const report = JSON.parse((await ask(port, '/status.json')).body.toString());
    assert.equal(report.tree, null);
    assert.match(report.notReady, /No plugin tree/);
    assert.equal((await ask(port, '/status')).status, 200);
    const browser = await ask(port, '/', { headers: ['Accept: text/html'] });
    assert.equal(browser.status, 503);
    assert.match(browser.headers.get('retry-after') ?? '', /^\d+$/);
    assert.match(browser.body.toString(), /<h1>Not ready<\/h1>/);
    assert.equal((await ask(port, '/')).body.toString(), 'No plugin tree has been loaded yet.\n');
    const chinese = { headers: ['Accept: text/html', 'Accept-Language: zh'] };
    for (const path of ['/', '/status'])
      assert.match(
        (await ask(port, path, chinese)).body.toString(),
        /尚未加载插件目录：\S+ 中没有 index\.json。/,
        path,
      );
  });

  test('lists downloads that were cut', async t => {
    const { port } = await serve(t, await makeTree(t, [{ name: 'big', version: '1.0.0', bytes: wasm(30_000_000) }]));
    const { connect } = await import('node:net');
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /plugins/big/1.0.0/plugin.wasm HTTP/1.1\r\nHost: a\r\n\r\n');
    await new Promise(resolve => socket.once('data', resolve));
    socket.destroy();
    let slow: { isCut: boolean; plugin: string }[] = [];
    await until('the cut download is listed', async () => {
      slow = JSON.parse((await ask(port, '/status.json')).body.toString()).slow;
      return slow.length === 1;
    });
    assert.equal(slow[0]?.isCut, true);
    assert.equal(slow[0]?.plugin, 'big');
  });
});

test('a million different paths need bounded memory, and frequent ones stay', () => {
  const troubles = new Troubles();
  const missing = (path: string) =>
    troubles.add({
      request: { headers: { 'user-agent': 'a' } } as unknown as IncomingMessage,
      path,
      client: '10.0.0.1',
      file: undefined,
      isProbe: false,
      status: 404,
      sentBytes: 0,
      durationMs: 1,
      complete: true,
    });
  const rounds = 100_000;
  for (let round = 0; round < rounds; round++) {
    missing(`/plugins/p${round}/1.0.0/${'x'.repeat(200)}plugin.wasm`);
    if (round % 100 === 0) missing('/plugins/wanted/1.0.0/plugin.wasm');
    if (round < 40) missing('/plugins/early/1.0.0/plugin.wasm');
    missing(`/scan/${round}`);
  }
  const { missing: listed } = troubles;
  assert.ok(listed.length <= 500);
  assert.equal(listed[0]?.path, '/plugins/wanted/1.0.0/plugin.wasm');
  assert.ok((listed[0]?.count ?? 0) > 500 && (listed[0]?.count ?? 0) <= 1000);
  assert.equal(troubles.missingAnswers, rounds * 2 + 1000 + 40);
  assert.ok(JSON.stringify(listed).length < 500_000);
});
