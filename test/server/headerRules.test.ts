import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openScene } from '../support/cli.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { type Answer, ask, parseAnswer, sendRaw, serve } from './client.ts';
import { makeTree, sha256, wasm } from './tree.ts';

const bytes = wasm(1_300_000); // three chunks
const MODULE = '/plugins/ai-proxy/2.0.1/plugin.wasm';
const etag = `"${sha256(bytes)}"`;
const digest = `sha-256=:${Buffer.from(sha256(bytes), 'hex').toString('base64')}:`;
const OLD = 'Thu, 01 Jan 1970 00:00:00 GMT';
const FAR = 'Fri, 01 Jan 2100 00:00:00 GMT';
const size = bytes.length;

interface Rule {
  readonly rule: string;
  readonly method?: string;
  readonly headers: readonly string[];
  readonly status: number;
  /** First and last byte that must come. */
  readonly part?: readonly [number, number];
}

// $etag and $date are replaced by the values that the server sent.
const RULES: readonly Rule[] = [
  { rule: 'RFC 9110 13.1.2: the same tag', headers: ['If-None-Match: $etag'], status: 304 },
  { rule: '13.1.2: compares weakly', headers: ['If-None-Match: W/$etag'], status: 304 },
  { rule: '13.1.2: any of a list', headers: ['If-None-Match: "a", W/"b,c" , $etag'], status: 304 },
  { rule: '5.3: a list over two lines', headers: ['If-None-Match: "a"', 'If-None-Match: $etag'], status: 304 },
  { rule: '5.6.1: empty list elements', headers: ['If-None-Match: ,, $etag,'], status: 304 },
  { rule: '13.1.2: star', headers: ['If-None-Match: *'], status: 304 },
  { rule: '13.1.2: none of a list', headers: ['If-None-Match: "a", "b"'], status: 200 },
  { rule: '8.8.3: the tag without its quotes is none', headers: [`If-None-Match: ${sha256(bytes)}`], status: 200 },
  { rule: '8.8.3: a tag within a tag is another', headers: [`If-None-Match: "x${sha256(bytes)}"`], status: 200 },
  { rule: '13.1.2: a broken list names nothing', headers: ['If-None-Match: "a $etag'], status: 200 },
  { rule: '13.1.3: not modified since its own date', headers: ['If-Modified-Since: $date'], status: 304 },
  { rule: '13.1.3: not modified since later', headers: [`If-Modified-Since: ${FAR}`], status: 304 },
  { rule: '13.1.3: modified since', headers: [`If-Modified-Since: ${OLD}`], status: 200 },
  { rule: '13.1.3: the asctime form', headers: ['If-Modified-Since: Fri Jan  1 00:00:00 2100'], status: 304 },
  { rule: '13.1.3: the RFC 850 form', headers: ['If-Modified-Since: Sunday, 01-Jan-95 00:00:00 GMT'], status: 200 },
  { rule: '13.1.3: no date at all', headers: ['If-Modified-Since: yesterday'], status: 200 },
  { rule: '13.1.3: a number is no date', headers: ['If-Modified-Since: 99999999999'], status: 200 },
  { rule: '13.1.3: ISO 8601 is no HTTP date', headers: ['If-Modified-Since: 2100-01-01T00:00:00Z'], status: 200 },
  { rule: '5.3: two dates are none', headers: [`If-Modified-Since: ${FAR}`, `If-Modified-Since: ${FAR}`], status: 200 },
  {
    rule: '13.2.2: If-None-Match before the date',
    headers: ['If-None-Match: "a"', `If-Modified-Since: ${FAR}`],
    status: 200,
  },
  { rule: '13.2.2: … either way', headers: ['If-None-Match: $etag', `If-Modified-Since: ${OLD}`], status: 304 },
  { rule: '13.1.1: If-Match fits', headers: ['If-Match: "a", $etag'], status: 200 },
  { rule: '13.1.1: If-Match star', headers: ['If-Match: *'], status: 200 },
  { rule: '13.1.1: If-Match fails', headers: ['If-Match: "a"'], status: 412 },
  { rule: '13.1.1: compares strongly', headers: ['If-Match: W/$etag'], status: 412 },
  { rule: '13.1.4: unmodified since', headers: ['If-Unmodified-Since: $date'], status: 200 },
  { rule: '13.1.4: modified since', headers: [`If-Unmodified-Since: ${OLD}`], status: 412 },
  { rule: '13.1.4: no date', headers: ['If-Unmodified-Since: x'], status: 200 },
  {
    rule: '13.2.2: If-Match before If-Unmodified-Since',
    headers: ['If-Match: $etag', `If-Unmodified-Since: ${OLD}`],
    status: 200,
  },
  { rule: '13.2.2: If-Match before If-None-Match', headers: ['If-Match: "a"', 'If-None-Match: $etag'], status: 412 },
  { rule: '13.2.2: both hold', headers: ['If-Match: $etag', 'If-None-Match: $etag'], status: 304 },
  {
    rule: '13.2.2: preconditions before the range',
    headers: ['If-None-Match: $etag', 'Range: bytes=0-1'],
    status: 304,
  },
  { rule: '14.1.2: the first byte', headers: ['Range: bytes=0-0'], status: 206, part: [0, 0] },
  {
    rule: '14.1.2: over the border of chunks',
    headers: ['Range: bytes=524280-1048600'],
    status: 206,
    part: [524280, 1048600],
  },
  { rule: '14.1.2: to the end', headers: ['Range: bytes=1299990-'], status: 206, part: [1299990, size - 1] },
  {
    rule: '14.1.2: beyond the end',
    headers: ['Range: bytes=1299990-99999999999999999999'],
    status: 206,
    part: [1299990, size - 1],
  },
  { rule: '14.1.2: a suffix', headers: ['Range: bytes=-10'], status: 206, part: [size - 10, size - 1] },
  { rule: '14.1.2: a suffix of more than all', headers: ['Range: bytes=-99999999'], status: 206, part: [0, size - 1] },
  { rule: '14.1: units are compared without case', headers: ['Range: Bytes=0-1'], status: 206, part: [0, 1] },
  { rule: '5.6.1: empty elements of a set', headers: ['Range: bytes=, 0-1 ,'], status: 206, part: [0, 1] },
  { rule: '14.1.2: a suffix of nothing', headers: ['Range: bytes=-0'], status: 416 },
  { rule: '14.1.2: past the end', headers: [`Range: bytes=${size}-`], status: 416 },
  { rule: '14.1.1: last before first is invalid', headers: ['Range: bytes=5-4'], status: 200 },
  { rule: '14.2: another unit is ignored', headers: ['Range: lines=0-1'], status: 200 },
  { rule: '14.2: no range', headers: ['Range: bytes=a-b'], status: 200 },
  { rule: '14.2: signs are no digits', headers: ['Range: bytes=+1-2'], status: 200 },
  { rule: '14.2: several ranges may be answered whole', headers: ['Range: bytes=0-1,5-6'], status: 200 },
  { rule: '5.3: two Range lines are none', headers: ['Range: bytes=0-1', 'Range: bytes=0-1'], status: 200 },
  {
    rule: '13.1.5: If-Range with the tag',
    headers: ['Range: bytes=0-1', 'If-Range: $etag'],
    status: 206,
    part: [0, 1],
  },
  { rule: '13.1.5: If-Range compares strongly', headers: ['Range: bytes=0-1', 'If-Range: W/$etag'], status: 200 },
  { rule: '13.1.5: If-Range with another tag', headers: ['Range: bytes=0-1', 'If-Range: "a"'], status: 200 },
  {
    rule: '13.1.5: If-Range with the date',
    headers: ['Range: bytes=0-1', 'If-Range: $date'],
    status: 206,
    part: [0, 1],
  },
  { rule: '13.1.5: If-Range with a later date', headers: ['Range: bytes=0-1', `If-Range: ${FAR}`], status: 200 },
  { rule: '13.1.5: If-Range saves from 416', headers: [`Range: bytes=${size}-`, 'If-Range: "a"'], status: 200 },
  { rule: '14.2: HEAD knows no ranges', method: 'HEAD', headers: ['Range: bytes=0-1'], status: 200 },
  { rule: 'HEAD with preconditions', method: 'HEAD', headers: ['If-None-Match: $etag'], status: 304 },
  { rule: 'HEAD that fails', method: 'HEAD', headers: ['If-Match: "a"'], status: 412 },
];

describe('answers for a file', async () => {
  test('every rule of the table', async t => {
    const { port } = await serve(t, await makeTree(t, [{ name: 'ai-proxy', version: '2.0.1', bytes }]));
    const whole = await ask(port, MODULE);
    const date = whole.headers.get('last-modified') ?? '';
    for (const { rule, method = 'GET', headers, status, part } of RULES)
      await t.test(rule, async () => {
        const lines = headers.map(line => line.replaceAll('$etag', etag).replaceAll('$date', date));
        const answer = await ask(port, MODULE, { method, headers: lines });
        assert.equal(answer.status, status);
        assert.equal(answer.headers.get('etag'), etag);
        const [first, last] = part ?? [0, size - 1];
        const full = status === 200 || status === 206;
        assert.equal(answer.body.length, full && method === 'GET' ? last - first + 1 : 0);
        if (full && method === 'GET') assert.ok(answer.body.equals(bytes.subarray(first, last + 1)), 'other bytes');
        if (full) assert.equal(answer.headers.get('content-length'), String(last - first + 1));
        if (full) assert.equal(answer.headers.get('repr-digest'), digest);
        const range =
          status === 206 ? `bytes ${first}-${last}/${size}` : status === 416 ? `bytes */${size}` : undefined;
        assert.equal(answer.headers.get('content-range'), range);
        if (status === 304) for (const name of ['content-length', 'content-type']) assert.ok(!answer.headers.has(name));
      });
  });

  test('only what the digest in the manifest fixes is immutable', async t => {
    const files = { 'plugin.wasm.gz': gzipSync(bytes), 'README.md': Buffer.from('# hi') };
    const { port } = await serve(
      t,
      await makeTree(t, [
        { name: 'a', version: '1.0.0', bytes, pinned: true, files },
        { name: 'a', version: '2.0.0', bytes, pinned: true, locked: true },
        { name: 'a', version: '3.0.0', bytes },
        { name: 'a', version: '4.0.0', bytes, pinned: true, aliasOf: '1.0.0' },
      ]),
      { latest: true, urlPatterns: ['/w/${name}/${version}.wasm'] },
    );
    const immutable = new Set([
      '/plugins/a/1.0.0/plugin.wasm',
      '/plugins/a/1.0.0/plugin.wasm.sha256',
      '/w/a/1.0.0.wasm',
    ]);
    const all = [
      ...['plugin.wasm', 'plugin.wasm.sha256', 'plugin.wasm.gz', 'metadata.json', 'metadata.txt', 'README.md'].map(
        name => `1.0.0/${name}`,
      ),
      ...['2.0.0', '3.0.0', '4.0.0', 'latest'].map(version => `${version}/plugin.wasm`),
    ].map(path => `/plugins/a/${path}`);
    for (const path of [
      ...all,
      '/w/a/1.0.0.wasm',
      '/w/a/2.0.0.wasm',
      '/index.json',
      '/plugins/snapshot-inventory.json',
    ]) {
      const { status, headers } = await ask(port, path);
      assert.equal(status, 200, path);
      const expected = immutable.has(path) ? 'public, max-age=31536000, immutable' : 'no-cache';
      assert.equal(headers.get('cache-control'), expected, path);
      assert.ok(headers.has('etag') && headers.has('last-modified'), path);
    }
  });

  test('a pin in the manifest is immutable in each of its forms, and a lockfile changes nothing about that', async t => {
    const scene = await openScene(t);
    const digests = ['a', 'b', 'c', 'd', 'e'].map(name => {
      scene.push(name, '1');
      return imageFormC({ wasm: buildModule({ seed: `${name} 1` }), version: '1' }).digest;
    });
    const [a, b, c, d] = digests;
    await scene.list({
      a: `1@${a}`,
      b: { image: `plugins/b@${b}`, versions: ['1'] },
      c: { versions: ['1'], tags: { '1': `1@${c}` } },
      d: { versions: ['1'], tags: { '1': `${d}` } },
      e: '1',
    });
    for (const args of [[], ['--no-lock']]) {
      await scene.sync(...args);
      const { port } = await serve(t, scene.path('plugins'));
      for (const name of ['a', 'b', 'c', 'd', 'e']) {
        const { headers } = await ask(port, `/plugins/${name}/1/plugin.wasm`);
        const expected = name === 'e' ? 'no-cache' : 'public, max-age=31536000, immutable';
        assert.equal(headers.get('cache-control'), expected, `${name} ${args}`);
      }
      const verified = await scene.run(['verify']);
      assert.equal(verified.code, 0, verified.stdout + verified.stderr);
      if (args.length === 0) assert.equal((await scene.run(['check'])).code, 0);
      const index = await scene.read('plugins/index.json');
      await scene.sync(...args);
      assert.equal(await scene.read('plugins/index.json'), index);
    }
  });

  test('the header of a module', async t => {
    const tree = await makeTree(t, [
      {
        name: 'ai-proxy',
        version: '2.0.1',
        bytes,
        pinned: true,
        files: {
          'README.md': Buffer.from('# hi'),
          'icon.png': Buffer.from('png'),
          'evil.html': Buffer.from('<script>'),
        },
      },
      { name: 'ai-proxy', version: '1.0.0', bytes, aliasOf: '2.0.1', pinned: true },
    ]);
    const { port } = await serve(t, tree);
    const { headers, status, body } = await ask(port, MODULE);
    assert.equal(status, 200);
    assert.equal(sha256(body), sha256(bytes));
    assert.equal(headers.get('content-type'), 'application/wasm');
    assert.equal(headers.get('accept-ranges'), 'bytes');
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.equal(headers.get('cache-control'), 'public, max-age=31536000, immutable');
    assert.equal(headers.get('x-powered-by'), undefined);
    const modified = Date.parse(headers.get('last-modified') ?? '');
    assert.ok(modified <= Date.parse(headers.get('date') ?? ''), 'Last-Modified lies after Date');
    const alias = await ask(port, '/plugins/ai-proxy/1.0.0/plugin.wasm');
    assert.equal(alias.headers.get('cache-control'), 'no-cache');
    assert.equal(alias.headers.get('etag'), etag);
    const types = {
      'README.md': 'text/markdown; charset=utf-8',
      'icon.png': 'image/png',
      'evil.html': 'application/octet-stream',
      'metadata.json': 'application/json',
      'plugin.wasm.sha256': 'text/plain; charset=utf-8',
    };
    for (const [name, type] of Object.entries(types)) {
      const file = await ask(port, `/plugins/ai-proxy/2.0.1/${name}`);
      assert.equal(file.status, 200, name);
      assert.equal(file.headers.get('content-type'), type);
      assert.equal(file.headers.get('x-content-type-options'), 'nosniff');
    }
  });

  test('HEAD has the same header as GET', async t => {
    const { port } = await serve(t, await makeTree(t, [{ name: 'ai-proxy', version: '2.0.1', bytes }]));
    for (const path of [
      MODULE,
      '/index.json',
      '/plugins/snapshot-inventory.json',
      '/',
      '/plugins/',
      '/plugins',
      '/healthz',
      '/readyz',
      '/version',
      '/plugins/ai-proxy/9.9.9/plugin.wasm',
      '/plugins/ai-proxy/2.0.1/',
    ]) {
      const get = withoutDate(await ask(port, path));
      const head = await ask(port, path, { method: 'HEAD' });
      assert.deepEqual(withoutDate(head), get, path);
      assert.equal(head.body.length, 0, path);
    }
  });

  test('other methods: OPTIONS 204, the rest 405, both with Allow', async t => {
    const { port } = await serve(t, await makeTree(t, [{ name: 'ai-proxy', version: '2.0.1', bytes }]));
    for (const path of [MODULE, '/', '/plugins/', '/nothing', '/healthz', '/index.json']) {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND']) {
        const answer = await ask(port, path, { method, headers: ['Content-Length: 0'] });
        assert.equal(answer.status, 405, `${method} ${path}`);
        assert.equal(answer.headers.get('allow'), 'GET, HEAD, OPTIONS');
      }
      const options = await ask(port, path, { method: 'OPTIONS' });
      assert.equal(options.status, 204);
      assert.equal(options.headers.get('allow'), 'GET, HEAD, OPTIONS');
    }
    assert.equal((await ask(port, '*', { method: 'OPTIONS' })).status, 204);
    assert.equal((await ask(port, 'mirror.test:80', { method: 'CONNECT' })).status, 405);
  });

  test('a persistent connection serves several requests, pipelined ones in order', async t => {
    const { port } = await serve(t, await makeTree(t, [{ name: 'ai-proxy', version: '2.0.1', bytes }]));
    const request = (range: string, more = '') =>
      `GET ${MODULE} HTTP/1.1\r\nHost: a\r\nRange: bytes=${range}\r\n${more}\r\n`;
    const all = await sendRaw(
      port,
      request('0-3') + request('-2') + request('8-600000') + request('1-1', 'Connection: close\r\n'),
    );
    const text = all.toString('latin1');
    assert.deepEqual(text.match(/bytes \d+-\d+\/\d+/g), [
      `bytes 0-3/${size}`,
      `bytes ${size - 2}-${size - 1}/${size}`,
      `bytes 8-600000/${size}`,
      `bytes 1-1/${size}`,
    ]);
    assert.equal(parseAnswer(all).status, 206);
  });
});

function withoutDate({ status, headers }: Answer): unknown {
  return [status, [...headers].filter(([name]) => name !== 'date')];
}
