import assert from 'node:assert/strict';
import { open, readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ServerEvent } from '../../server/events.ts';
import { times } from '../support/slow.ts';
import { ask, serve, until } from './client.ts';
import { emptyFolder, makeTree, publish, put, sha256, wasm } from './tree.ts';

const MODULE = '/plugins/a/1.0.0/plugin.wasm';
const plan = (bytes: Buffer) => ({ name: 'a', version: '1.0.0', bytes });
const fixed = new Date('1980-01-01T00:00:00Z');

describe('a tree that changes while it is served', () => {
  test('without a tree: alive, not ready, 503; a tree that appears is loaded', async t => {
    const tree = join(await emptyFolder(t), 'later');
    const { port } = await serve(t, tree);
    assert.equal((await ask(port, '/healthz')).status, 200);
    for (const path of ['/readyz', '/', '/plugins/', MODULE, '/index.json', '/nothing']) {
      const answer = await ask(port, path);
      assert.equal(answer.status, 503, path);
      assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/);
    }
    const bytes = wasm(5000);
    await publish(tree, [plan(bytes)]);
    await until('ready', async () => (await ask(port, '/readyz')).status === 200);
    assert.equal(sha256((await ask(port, MODULE)).body), sha256(bytes));
  });

  test('a plugin that has just been published is served to the first request, whatever the poll interval', async t => {
    const tree = await makeTree(t, [plan(wasm(5000))]);
    const { port } = await serve(t, tree, { pollMs: 60_000, urlPatterns: ['/flat/${name}.wasm'] });
    assert.equal((await ask(port, '/plugins/b/1.0.0/plugin.wasm')).status, 404);
    const added = { name: 'b', version: '1.0.0', bytes: wasm(4000) };
    await publish(tree, [plan(wasm(5000)), added]);
    for (const path of ['/plugins/b/1.0.0/plugin.wasm', '/flat/b.wasm'])
      assert.equal(sha256((await ask(port, path)).body), sha256(added.bytes), path);
  });

  test('a path that leads to older bytes after a restart has changed since', async t => {
    const [low, high] = [
      { name: 'a', version: '1.0.0', bytes: wasm(5000) },
      { name: 'a', version: '2.0.0', bytes: wasm(6000) },
    ] as const;
    const tree = await makeTree(t, [low, high]);
    const paths = ['/plugins/a/latest/plugin.wasm', '/flat/a.wasm', '/index.json'];
    const start = () => serve(t, tree, { latest: true, urlPatterns: ['/flat/${name}.wasm'] });
    const first = await start();
    const times = await Promise.all(
      paths.map(async path => (await ask(first.port, path)).headers.get('last-modified')),
    );
    await first.close();
    // File systems and HTTP count in seconds here.
    await new Promise(resolve => setTimeout(resolve, 1100));
    await publish(tree, [low]);
    const second = await start();
    for (const [at, path] of paths.entries()) {
      const answer = await ask(second.port, path, { headers: [`If-Modified-Since: ${times[at]}`] });
      assert.equal(answer.status, 200, path);
    }
  });

  test('a tree that is removed: not ready once one of its files cannot be served', async t => {
    const tree = await makeTree(t, [plan(wasm(5000)), { name: 'b', version: '1.0.0', bytes: wasm(5000) }]);
    const { port } = await serve(t, tree, { scrubPauseMs: 20 });
    assert.equal((await ask(port, MODULE)).status, 200);
    await rm(tree, { recursive: true });
    await until('not ready', async () => (await ask(port, '/readyz')).status === 503);
    assert.equal((await ask(port, '/healthz')).status, 200);
  });

  test('a damaged copy is reported and counted although another copy is served', async t => {
    const bytes = wasm(5000);
    const tree = await makeTree(t, [plan(bytes), { name: 'a', version: '2.0.0', bytes }]);
    const reported: string[] = [];
    const onEvent = (event: ServerEvent): void => {
      if (event.kind === 'content') reported.push(`${event.state} ${event.paths.join()}`);
    };
    const { port } = await serve(t, tree, { scrubPauseMs: 20, onEvent });
    const paths = [MODULE, '/plugins/a/2.0.0/plugin.wasm'];
    for (const path of paths) assert.equal((await ask(port, path)).status, 200);
    const damaged = async () =>
      /plugin_mirror_damaged_files (\d+)/.exec((await ask(port, '/metrics')).body.toString())?.[1];
    for (const version of ['1.0.0', '2.0.0']) {
      const path = join(tree, 'a', version, 'plugin.wasm');
      await put(path, Buffer.concat([bytes.subarray(0, 4999), Buffer.from([(bytes[4999] ?? 0) ^ 1])]));
      await until('noticed', async () => (await damaged()) === '1');
      for (const each of paths) assert.equal(sha256((await ask(port, each)).body), sha256(bytes));
      await put(path, bytes);
      await until('whole again', async () => (await damaged()) === '0');
    }
    assert.ok(
      reported.some(text => text.startsWith('copy-damaged ')),
      reported.join(),
    );
  });

  test('a first tree without a plugin is not loaded: 503, never 404', async t => {
    const tree = await emptyFolder(t);
    await publish(tree, []);
    const { port } = await serve(t, tree);
    assert.equal((await ask(port, '/readyz')).status, 503);
    assert.equal((await ask(port, MODULE)).status, 503);
    await publish(tree, [plan(wasm(5000))]);
    await until('ready', async () => (await ask(port, '/readyz')).status === 200);
  });

  test('a version replaced in place: header and body always belong to the same file', async t => {
    const variants = [wasm(1_200_000), wasm(1_200_000), wasm(900_000)];
    const digests = new Map(variants.map(bytes => [`"${sha256(bytes)}"`, bytes]));
    const tree = await makeTree(t, [plan(variants[0] ?? Buffer.alloc(0))]);
    const { port } = await serve(t, tree, { cacheBytes: 1024 * 1024, scrubPauseMs: 10 });
    let done = false;
    let good = 0;
    const seen = new Set<string>();
    const reader = async (): Promise<void> => {
      while (!done) {
        const answer = await ask(port, MODULE);
        if (answer.status === 503) {
          assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/);
          continue;
        }
        assert.equal(answer.status, 200);
        const etag = answer.headers.get('etag') ?? '';
        assert.ok(digests.get(etag)?.equals(answer.body), 'the body is not what its ETag says');
        seen.add(etag);
        good++;
      }
    };
    const readers = Array.from({ length: 6 }, reader);
    for (let round = 1; round < times(6, 12); round++) {
      const bytes = variants[round % 3] ?? Buffer.alloc(0);
      await publish(tree, [plan(bytes)]);
      for (const file of ['a/1.0.0/plugin.wasm', 'index.json']) await utimes(join(tree, file), fixed, fixed);
      await until('the new bytes', async () => (await ask(port, MODULE)).headers.get('etag') === `"${sha256(bytes)}"`);
    }
    done = true;
    await Promise.all(readers);
    assert.ok(good > 20 && seen.size === 3);
  });

  test('a half-finished sync: the old bytes or 503, never 404', async t => {
    const bytes = wasm(600_000);
    const tree = await makeTree(t, [plan(bytes)]);
    const { port } = await serve(t, tree, { scrubPauseMs: 10 });
    assert.equal((await ask(port, MODULE)).status, 200);
    await put(join(tree, 'a/1.0.0/plugin.wasm'), wasm(600_000)); // index.json still names the former
    await until('the scrubber has checked it', async () =>
      /displaced_files 1\n/.test((await ask(port, '/metrics')).body.toString()),
    );
    const still = await ask(port, MODULE);
    assert.equal(still.status, 200);
    assert.equal(sha256(still.body), sha256(bytes));
    const fresh = await serve(t, tree);
    assert.equal((await ask(fresh.port, MODULE)).status, 503);
  });

  test('a running download keeps the file that it began with', async t => {
    const bytes = wasm(16_000_000);
    const tree = await makeTree(t, [plan(bytes)]);
    const server = await serve(t, tree, { cacheBytes: 1024 * 1024 });
    const response = await fetch(`http://127.0.0.1:${server.port}${MODULE}`);
    const reader = response.body?.getReader();
    assert.ok(reader !== undefined);
    const parts = [(await reader.read()).value ?? new Uint8Array()];
    const other = wasm(16_000_000);
    await publish(tree, [plan(other)]);
    await until(
      'the new tree',
      async () => (await ask(server.port, MODULE, { method: 'HEAD' })).headers.get('etag') === `"${sha256(other)}"`,
    );
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
    }
    assert.equal(sha256(Buffer.concat(parts)), sha256(bytes));
  });

  test('an index.json that is invalid or gone is only reported', async t => {
    const bytes = wasm(5000);
    const tree = await makeTree(t, [plan(bytes)]);
    const events: ServerEvent[] = [];
    const server = await serve(t, tree, { onEvent: event => events.push(event) });
    for (const text of ['', '{', '{"schemaVersion":2}', '[]', '{"schemaVersion":1,"tree":"x","plugins":[{}]}']) {
      await put(join(tree, 'index.json'), text);
      await server.reload();
      assert.equal((await ask(server.port, MODULE)).status, 200, text);
      assert.equal((await ask(server.port, '/readyz')).status, 200);
    }
    await rm(join(tree, 'index.json'));
    await server.reload();
    await server.reload();
    assert.equal((await ask(server.port, MODULE)).status, 200);
    const kinds = events.map(event => event.kind);
    assert.equal(kinds.filter(kind => kind === 'tree-missing').length, 1, 'said once');
    assert.ok(kinds.includes('tree-unreadable'));
    await publish(tree, [plan(wasm(4000))]);
    await server.reload();
    assert.equal((await ask(server.port, MODULE)).body.length, 4000);
  });

  test('a whole tree swapped by renaming folders', async t => {
    const one = await makeTree(t, [plan(wasm(5000))]);
    const two = await makeTree(t, [plan(wasm(7000))]);
    const server = await serve(t, one);
    assert.equal((await ask(server.port, MODULE)).body.length, 5000);
    await rename(one, `${one}.old`);
    t.after(() => rm(`${one}.old`, { recursive: true, force: true }));
    await server.reload();
    assert.notEqual((await ask(server.port, MODULE)).status, 404);
    await rename(two, one);
    await server.reload();
    assert.equal((await ask(server.port, MODULE)).body.length, 7000);
  });

  test('Last-Modified moves with the bytes although the mtime does not', async t => {
    const tree = await makeTree(t, [plan(wasm(5000))]);
    await utimes(join(tree, 'a/1.0.0/plugin.wasm'), fixed, fixed);
    const server = await serve(t, tree);
    const first = await ask(server.port, MODULE);
    await new Promise(resolve => setTimeout(resolve, 1100)); // the grain of an HTTP date
    await publish(tree, [plan(wasm(5000))]);
    await utimes(join(tree, 'a/1.0.0/plugin.wasm'), fixed, fixed);
    await server.reload();
    const since = `If-Modified-Since: ${first.headers.get('last-modified')}`;
    assert.equal((await ask(server.port, MODULE, { headers: [since] })).status, 200);
  });
});

describe('a disk with wrong bytes', () => {
  const damage: readonly (readonly [string, (path: string, bytes: Buffer) => Promise<void>])[] = [
    [
      'one bit in place, the mtime put back',
      async path => {
        const file = await open(path, 'r+');
        const { atime, mtime } = await file.stat();
        await file.write(Buffer.from([0xff]), 0, 1, 700_000);
        await file.utimes(atime, mtime);
        await file.close();
      },
    ],
    ['cut short', path => truncate(path, 700_001)],
    ['emptied', path => truncate(path, 0)],
    ['longer', async (path, bytes) => writeFile(path, Buffer.concat([bytes, Buffer.from('x')]))],
    ['other bytes of the same length, in place', async path => writeFile(path, wasm(1_200_000))],
  ];
  for (const [what, spoil] of damage)
    test(`${what}: noticed, 503, counted as damaged, and served again after the repair`, async t => {
      const bytes = wasm(1_200_000);
      const tree = await makeTree(t, [plan(bytes), { name: 'b', version: '1.0.0', bytes: wasm(3000) }]);
      const path = join(tree, 'a/1.0.0/plugin.wasm');
      const { port } = await serve(t, tree, { scrubPauseMs: 10, cacheBytes: 1024 * 1024 });
      assert.equal((await ask(port, MODULE)).status, 200);
      await spoil(path, await readFile(path));
      await until('noticed', async () => {
        const answer = await ask(port, MODULE);
        if (answer.status === 200)
          assert.ok(answer.body.length < bytes.length || answer.body.equals(bytes), 'wrong bytes');
        return answer.status === 503;
      });
      assert.match((await ask(port, '/metrics')).body.toString(), /plugin_mirror_damaged_files 1\n/);
      assert.equal((await ask(port, '/plugins/b/1.0.0/plugin.wasm')).status, 200);
      const ready = await ask(port, '/readyz');
      assert.equal(ready.status, 503);
      assert.match(ready.body.toString(), /^The catalog lists a\/1\.0\.0\/plugin\.wasm, but/);
      await put(path, bytes);
      await until('well again', async () => (await ask(port, MODULE)).status === 200);
      assert.equal((await ask(port, '/readyz')).status, 200);
      assert.match((await ask(port, '/metrics')).body.toString(), /plugin_mirror_damaged_files 0\n/);
    });

  test('damaged before the first request: 503 from the first request on', async t => {
    const bytes = wasm(1_200_000);
    const tree = await makeTree(t, [plan(bytes)]);
    const spoilt = Buffer.from(bytes);
    spoilt[600_000] = (spoilt[600_000] ?? 0) ^ 1;
    await put(join(tree, 'a/1.0.0/plugin.wasm'), spoilt);
    const { port } = await serve(t, tree, { scrubPauseMs: 60_000 });
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(port, MODULE, { method });
      assert.equal(answer.status, 503);
      assert.ok(answer.headers.has('retry-after') && !answer.headers.has('etag'));
    }
  });

  test('an alias is served from the path that has the right bytes', async t => {
    const bytes = wasm(100_000);
    const tree = await makeTree(t, [plan(bytes), { name: 'a', version: '2.0.0', bytes, aliasOf: '1.0.0' }]);
    await writeFile(join(tree, 'a/1.0.0/plugin.wasm'), 'spoilt');
    const { port } = await serve(t, tree);
    assert.equal(sha256((await ask(port, MODULE)).body), sha256(bytes));
  });
});
