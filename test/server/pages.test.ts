import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { resolveOptions } from '../../server/options.ts';
import { Arrivals, SharedAnswer } from '../../server/pages/app.ts';
import type { Reader } from '../../server/pages/site/layout.ts';
import { etagOf, PageCache } from '../../server/pages/site/sendPage.ts';
import { translator } from '../../server/pages/site/words.ts';
import { startServer } from '../../server/startServer.ts';
import { ask, OPTIONS, serve } from './client.ts';
import { sha256, sharedTree, wasm } from './tree.ts';

const one = wasm(5000);
const two = wasm(70_000);
const next = wasm(900);
const PLAN = [
  { name: 'ai-proxy', version: '1.0.0', bytes: one },
  { name: 'ai-proxy', version: '2.0.1', bytes: two, pinned: true },
  { name: 'ai-proxy', version: '3.0.0-rc.1', bytes: next },
  { name: 'basic-auth', version: '2.0.0', bytes: two },
  { name: 'basic-auth', version: '9.0.0', bytes: two, aliasOf: '2.0.0' },
];
const TREE = await sharedTree(PLAN);

describe('pages', () => {
  test('the pages load nothing from other places and name every version', async t => {
    const { port } = await serve(t, TREE);
    const page = await ask(port, '/');
    assert.equal(page.status, 200);
    assert.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
    assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/);
    const policy = page.headers.get('content-security-policy') ?? '';
    assert.doesNotMatch(policy, /unsafe|https?:/);
    const paths = ['/', '/catalog/ai-proxy/', '/catalog/basic-auth/'];
    const texts = await Promise.all(paths.map(async path => (await ask(port, path)).body.toString()));
    for (const { name, version, bytes } of PLAN) {
      const text = texts[name === 'ai-proxy' ? 1 : 2] ?? '';
      assert.ok(text.includes(`plugins/${name}/${version}/plugin.wasm`));
      assert.ok(text.includes(sha256(bytes)));
    }
    assert.ok(texts[2]?.includes('alias of 2.0.0'));
    for (const [at, text] of texts.entries()) {
      assert.doesNotMatch(text, /<script(?! src="[./]*-\/site\.js)| on\w+=|(?:href|src)="(?:https?:)?\/\//i);
      const links = new Set(
        [...text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link = '']) => link.replace(/#.*/, '')),
      );
      for (const link of links) {
        if (link === '' || link.startsWith('data:') || link.includes('lang=')) continue;
        const { pathname, search } = new URL(link.replaceAll('&amp;', '&'), `http://x${paths[at]}`);
        assert.equal((await ask(port, pathname + search)).status, 200, link);
      }
    }
    assert.equal((await ask(port, '/', { method: 'HEAD' })).status, 200);
  });

  test('a page is answered by 304 while the tree is the same', async t => {
    const { port } = await serve(t, TREE);
    for (const [path, accept] of [
      ['/', 'text/html'],
      ['/plugins/ai-proxy/', 'text/html'],
      ['/plugins/ai-proxy/', 'application/json'],
    ] as const) {
      const page = await ask(port, path, { headers: [`Accept: ${accept}`] });
      const etag = page.headers.get('etag') ?? '';
      assert.match(etag, /^W\/"[\w-]{22}"$/);
      const again = await ask(port, path, { headers: [`Accept: ${accept}`, `If-None-Match: ${etag}`] });
      assert.equal(again.status, 304, path);
      assert.equal(again.body.length, 0);
      assert.equal(again.headers.get('etag'), etag);
      assert.equal((await ask(port, path, { headers: [`Accept: ${accept}`, 'If-None-Match: W/"x"'] })).status, 200);
    }
  });

  test('folders are listed, with a redirect to the slash', async t => {
    const { port } = await serve(t, TREE);
    for (const [path, location] of [
      ['/plugins', './plugins/'],
      ['/plugins/ai-proxy', './ai-proxy/'],
      ['/plugins/ai-proxy/2.0.1?x=1', './2.0.1/?x=1'],
    ] as const) {
      const answer = await ask(port, path);
      assert.equal(answer.status, 301, path);
      assert.equal(answer.headers.get('location'), location);
    }
    for (const path of ['/plugins/', '/plugins/ai-proxy/', '/plugins/ai-proxy/2.0.1/', '/plugins/basic-auth/9.0.0/']) {
      const answer = await ask(port, path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.headers.get('cache-control'), 'no-cache');
      const links = [...answer.body.toString().matchAll(/href="\.\/([^"]+)"/g)].map(([, link]) => link);
      assert.ok(links.length >= 2, path);
      for (const link of links) assert.equal((await ask(port, path + link)).status, 200, path + link);
    }
  });

  test('a listing is JSON for clients that accept JSON', async t => {
    const { port } = await serve(t, TREE);
    const ofPlugin = await ask(port, '/plugins/ai-proxy/', { headers: ['Accept: application/json'] });
    assert.match(ofPlugin.headers.get('content-type') ?? '', /^application\/json/);
    assert.match(ofPlugin.headers.get('vary') ?? '', /accept/i);
    const { name, versions } = JSON.parse(ofPlugin.body.toString());
    assert.equal(name, 'ai-proxy');
    assert.deepEqual(
      versions.map((version: { version: string }) => version.version),
      ['1.0.0', '2.0.1', '3.0.0-rc.1'],
    );
  });

  test('index.json and the inventory are sent byte by byte as on disk', async t => {
    const tree = TREE;
    const { port } = await serve(t, tree);
    for (const [path, file] of [
      ['/index.json', 'index.json'],
      ['/plugins/index.json', 'index.json'],
      ['/plugins/snapshot-inventory.json', 'snapshot-inventory.json'],
    ] as const) {
      const answer = await ask(port, path);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('content-type'), 'application/json');
      assert.ok(answer.body.equals(await readFile(join(tree, file))));
      assert.equal((await ask(port, path, { headers: [`If-None-Match: ${answer.headers.get('etag')}`] })).status, 304);
    }
  });

  test('what standalone and the acceptance of Higress request is there', async t => {
    const { port } = await serve(t, TREE);
    const paths = JSON.parse(await readFile(new URL('../../higress/paths.json', import.meta.url), 'utf8')) as object;
    const requested: string[] = Object.values(paths).flat();
    assert.ok(requested.length >= 2);
    for (const path of requested) assert.equal((await ask(port, path)).status, 200, path);
    const inventory = JSON.parse((await ask(port, '/plugins/snapshot-inventory.json')).body.toString()) as object;
    for (const entry of Object.values(inventory))
      assert.deepEqual(Object.keys(entry).sort(), ['digest', 'version', 'wasmSha256']);
  });

  test('a 404 names what exists, as text or JSON', async t => {
    const { port } = await serve(t, TREE);
    const unknown = await ask(port, '/plugins/ai-proxy/9.9.9/plugin.wasm');
    assert.equal(unknown.status, 404);
    assert.match(unknown.body.toString(), /1\.0\.0, 2\.0\.1, 3\.0\.0-rc\.1/);
    const json = await ask(port, '/plugins/ai-proxy/9.9.9/plugin.wasm', { headers: ['Accept: application/json'] });
    assert.equal(json.status, 404);
    assert.deepEqual(JSON.parse(json.body.toString()).error.versions, ['1.0.0', '2.0.1', '3.0.0-rc.1']);
    assert.match((await ask(port, '/plugins/ai-prox/1.0.0/plugin.wasm')).body.toString(), /ai-proxy/);
    assert.match((await ask(port, '/plugins/ai-proxy/2.0.1/x')).body.toString(), /plugin\.wasm/);
    assert.equal((await ask(port, '/x')).status, 404);
    const script = await ask(port, '/plugins/%3Cscript%3E/1/x', { headers: ['Accept: text/html'] });
    assert.equal(script.status, 404);
    assert.doesNotMatch(script.body.toString(), /<script>/);
    const browser = { headers: ['Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'] };
    const page = async (path: string) => (await ask(port, path, browser)).body.toString();
    assert.match(await page('/plugins/ai-prox/1.0.0/plugin.wasm'), /Did you mean <a href="[./]*catalog\/ai-proxy\/">/);
    assert.match(await page('/plugins/ai-proxy/9.9.9/plugin.wasm'), /Versions here: [\s\S]*2\.0\.1/);
    assert.match(await page('/plugins/$%7Bname%7D/$%7Bversion%7D/plugin.wasm'), /nothing replaced \$\{name\}/);
    assert.match(await page('/plugins/ai-proxy/2.0.1/'), /<title>\/plugins\/ai-proxy\/2\.0\.1\/ · plugin-mirror/);
    const plain = await ask(port, '/plugins/$%7Bname%7D/1/plugin.wasm', { headers: ['Accept: */*'] });
    assert.match(
      plain.body.toString(),
      /^The URL pattern was used as it is: nothing replaced \$\{name\} and \$\{version\}\. /,
    );
  });

  test('further paths: patterns and latest', async t => {
    const tree = TREE;
    const urlPatterns = [
      '/wasm-plugins/${name}.wasm',
      '/w/${name}/${version}.wasm',
      '/plugins/${name}/${version}/metadata.json',
    ];
    const { port } = await serve(t, tree, { urlPatterns, latest: true });
    const flat = await ask(port, '/wasm-plugins/ai-proxy.wasm');
    assert.equal(sha256(flat.body), sha256(two), 'the highest release');
    assert.equal(flat.headers.get('cache-control'), 'no-cache');
    assert.equal(flat.headers.get('content-type'), 'application/wasm');
    assert.equal(sha256((await ask(port, '/w/ai-proxy/1.0.0.wasm')).body), sha256(one));
    assert.match((await ask(port, '/w/ai-proxy/2.0.1.wasm')).headers.get('cache-control') ?? '', /immutable/);
    const latest = await ask(port, '/plugins/ai-proxy/latest/plugin.wasm');
    assert.equal(sha256(latest.body), sha256(two));
    assert.equal(latest.headers.get('cache-control'), 'no-cache');
    assert.equal((await ask(port, '/plugins/ai-proxy/latest/')).status, 200);
    assert.match(
      (await ask(port, '/plugins/ai-proxy/2.0.1/metadata.json')).body.toString(),
      /^\{/,
      'the tree comes first',
    );
    const plain = await serve(t, tree);
    assert.equal((await ask(plain.port, '/plugins/ai-proxy/latest/plugin.wasm')).status, 404);
  });

  test('all paths but health checks need the base path', async t => {
    const { port, url } = await serve(t, TREE, { basePath: '/a/b' });
    assert.ok(url.endsWith('/a/b'));
    for (const path of [
      '/a/b/',
      '/a/b/plugins/',
      '/a/b/plugins/ai-proxy/2.0.1/plugin.wasm',
      '/a/b/index.json',
      '/a/b/readyz',
      '/healthz',
      '/readyz',
    ])
      assert.equal((await ask(port, path)).status, 200, path);
    assert.equal((await ask(port, '/a/b')).headers.get('location'), '/a/b/');
    for (const path of ['/', '/plugins/', '/a/', '/a/bc', '/plugins/ai-proxy/2.0.1/plugin.wasm'])
      assert.equal((await ask(port, path)).status, 404, path);
  });

  test('metrics count by plugin and version, and requests for unknown paths add no labels', async t => {
    const { port } = await serve(t, TREE);
    await ask(port, '/plugins/ai-proxy/2.0.1/plugin.wasm');
    await ask(port, '/plugins/ai-proxy/2.0.1/plugin.wasm', { method: 'HEAD' });
    await ask(port, '/plugins/made-up/1/x');
    const metrics = (await ask(port, '/metrics')).body.toString();
    assert.match(
      metrics,
      /plugin_mirror_requests_total\{plugin="ai-proxy",version="2\.0\.1",coding="identity",status="200"\} 2\n/,
    );
    assert.match(
      metrics,
      /plugin_mirror_sent_bytes_total\{plugin="ai-proxy",version="2\.0\.1",coding="identity"\} 70000\n/,
    );
    assert.match(metrics, /coding="identity",status="404"\} 1\n/);
    assert.ok(!metrics.includes('made-up'));
    await ask(port, '/index.json');
    const series = (await ask(port, '/metrics')).body
      .toString()
      .split('\n')
      .filter(line => line !== '' && !line.startsWith('#'))
      .map(line => line.slice(0, line.lastIndexOf(' ')));
    assert.equal(new Set(series).size, series.length, 'each series once');
    for (const line of metrics.trimEnd().split('\n'))
      assert.match(line, /^(?:# (?:HELP|TYPE) \S+ .+|[a-z_]+(?:\{(?:[a-z]+="[^"]*",?)*\})? [\d.e+-]+)$/, line);
  });

  test('the access log has a line of JSON for every answer but those of health checks', async t => {
    let log = '';
    const server = await serve(t, TREE, {
      writeAccessLog: async text => {
        log += text;
      },
      trustedProxies: 1,
    });
    await ask(server.port, '/plugins/ai-proxy/1.0.0/plugin.wasm?token=secret', {
      headers: ['User-Agent: a"b\\c ##vso[task.x]', 'X-Forwarded-For: 6.6.6.6, 10.0.0.9'],
    });
    await ask(server.port, '/nothing');
    for (const path of ['/healthz', '/readyz']) assert.equal((await ask(server.port, path)).status, 200);
    await server.close();
    const lines = log
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line));
    assert.equal(lines.length, 2);
    const [{ time, durationMs, ...first }, second] = lines;
    assert.ok(Date.parse(time) > 0 && durationMs >= 0);
    assert.deepEqual(first, {
      client: '10.0.0.9',
      method: 'GET',
      url: '/plugins/ai-proxy/1.0.0/plugin.wasm',
      status: 200,
      bytes: 5000,
      plugin: 'ai-proxy',
      version: '1.0.0',
      userAgent: 'a"b\\c ##vso[task.x]',
    });
    assert.equal(second.status, 404);
    assert.doesNotMatch(log, /##/, 'no command to a CI service');
  });
});

describe('options', () => {
  const base = { ...OPTIONS, treeDir: 'x' };
  test('values that cannot work are refused before anything is opened', () => {
    for (const wrong of [
      { basePath: 'a' },
      { basePath: '/a/' },
      { basePath: '/../a' },
      { urlPatterns: ['/x.wasm'] },
      { urlPatterns: ['${name}'] },
      { urlPatterns: ['/../${name}'] },
      { urlPatterns: ['/${name}?x'] },
      { treeDir: '' },
      { host: '' },
    ])
      assert.throws(() => resolveOptions({ ...base, ...wrong }), { code: 'OPTION_INVALID' }, JSON.stringify(wrong));
    resolveOptions(base);
    for (const [wrong, flag] of [
      [{ treeDir: '' }, '--tree'],
      [{ basePath: 'a' }, '--base-path'],
      [{ urlPatterns: ['/x'] }, '--url-pattern'],
    ] as const)
      assert.throws(() => resolveOptions({ ...base, ...wrong }), { subject: flag });
  });

  test('a port in use and an address of another machine are refused with their names', async t => {
    const tree = TREE;
    const { port } = await serve(t, tree);
    await assert.rejects(startServer({ ...base, treeDir: tree, host: '127.0.0.1', port }), {
      code: 'SERVER_PORT_TAKEN',
      subject: `127.0.0.1:${port}`,
    });
    await assert.rejects(startServer({ ...base, treeDir: tree, host: '192.0.2.1', port: 0 }), {
      code: 'SERVER_ADDRESS_UNUSABLE',
    });
  });
});

describe('requests at the same moment', () => {
  test('share an answer, which is never older than its request', () => {
    const arrivals = new Arrivals();
    let made = 0;
    const answer = new SharedAnswer(arrivals, () => ++made);
    const [one, two, three] = [{}, {}, {}];
    arrivals.add(one);
    arrivals.add(two);
    assert.deepEqual([answer.get(one), answer.get(two)], [1, 1]);
    arrivals.add(three);
    assert.deepEqual([answer.get(three), answer.get(two)], [2, 2]);
    // A request that did not arrive here gets an answer of its own.
    assert.equal(answer.get({}), 3);
  });

  const readerAt = (address: string): Reader => ({ language: 'en', t: translator('en'), address, root: '', here: '' });

  test('wait for the same rendering of a page', async () => {
    const cache = new PageCache();
    let rendered = 0;
    const render = () => `page ${++rendered}`;
    const reader = readerAt('http://a.example');
    const pages = await Promise.all([1, 2, 3].map(() => cache.get('page', reader, render)));
    assert.deepEqual(
      pages.map(({ identity }) => identity.toString()),
      ['page 1', 'page 1', 'page 1'],
    );
    await assert.rejects(
      cache.get('broken', reader, () => Promise.reject(new Error('broken'))),
      /broken/,
    );
    assert.equal((await cache.get('broken', reader, render)).identity.toString(), 'page 2');
  });

  test('get their own address in a page that was rendered once', async () => {
    const cache = new PageCache();
    let rendered = 0;
    const render = ({ address }: Reader) => `${++rendered}: ${address}/plugins/ or ${address}`;
    const shown = async (address: string) => {
      const { identity, etag } = await cache.get('page', readerAt(address), render);
      assert.equal(etag, etagOf(identity));
      return identity.toString();
    };
    for (const host of ['a.example', 'b.example:8080', 'c.example', 'a.example', 'mirror.example/base'])
      assert.equal(await shown(`https://${host}`), `1: https://${host}/plugins/ or https://${host}`);
    // Pages at an address of this machine have a hint.
    for (const host of ['localhost:8080', '127.0.0.1', '[::1]:80'])
      assert.equal(await shown(`http://${host}`), `2: http://${host}/plugins/ or http://${host}`);
  });
});
