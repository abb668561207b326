import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { describeEvent } from '../../cli/serve/events.ts';
import type { ServerOptions } from '../../server/options.ts';
import { ask, serve } from './client.ts';
import { portOf, startServe } from './serveProcess.ts';
import { makeTree, type Planned, publish, put, sha256, wasm } from './tree.ts';

const exec = promisify(execFile);
const bytes = wasm(5000);
const single: Planned = { name: 'a', version: '1.0.0', bytes };
const twin: Planned = { name: 'a', version: '2.0.0', bytes };
const MODULE = 'a/1.0.0/plugin.wasm';

async function until(what: string, fits: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (await fits()) return;
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  assert.fail(`never: ${what}`);
}

/** Serves, and waits until the patrol has seen each file once. */
async function watch(t: TestContext, tree: string, options: Partial<ServerOptions> = {}) {
  const lines: string[] = [];
  const onEvent: ServerOptions['onEvent'] = event => lines.push(describeEvent(event).line);
  const { port } = await serve(t, tree, { patrolMs: 20, onEvent, ...options });
  const gauge = async (name: string): Promise<number> =>
    Number(new RegExp(`^plugin_mirror_${name} (\\d+)$`, 'm').exec((await ask(port, '/metrics')).body.toString())?.[1]);
  const get = (path: string) => ask(port, `/plugins/${path}`);
  const about = (path: string): string[] =>
    lines.filter(line => line.split(' (sha256')[0]?.split(', ').includes(path) === true);
  return { lines, about, gauge, get, port };
}

describe('what is said of files that are not as they should be', () => {
  test('a folder that was moved away: its files are gone, no other lies there, no copy is damaged', async t => {
    const tree = await makeTree(t, [single, twin, { name: 'b', version: '1.0.0', bytes: wasm(3000) }]);
    const { lines, gauge, get, about } = await watch(t, tree);
    for (const path of [MODULE, 'a/2.0.0/plugin.wasm', 'b/1.0.0/plugin.wasm'])
      assert.equal((await get(path)).status, 200);
    await rename(tree, `${tree}.gone`);
    t.after(() => rm(`${tree}.gone`, { recursive: true, force: true }));
    await until('displaced', async () => (await gauge('displaced_files')) > 0 && about(MODULE).length > 0);
    await until('both told', () => about('b/1.0.0/plugin.wasm').length > 0);
    for (const line of lines)
      assert.doesNotMatch(line, /another file lies there|other bytes|what the catalog names|from another copy/);
    assert.ok(
      about(MODULE).some(line => /gone from the disk; serving the file that is still open/.test(line)),
      lines.join('\n'),
    );
    assert.equal((await get(MODULE)).status, 200);
    await rename(`${tree}.gone`, tree);
    await until('well', async () => (await gauge('displaced_files')) === 0 && (await gauge('damaged_files')) === 0);
    for (const path of [MODULE, 'a/2.0.0/plugin.wasm', 'b/1.0.0/plugin.wasm'])
      await until(`${path} is said to be well`, () => about(path).some(line => /whole again/.test(line)));
  });

  test('a folder that comes back behind a link heals, and is said to be back', async t => {
    const tree = await makeTree(t, [single, twin]);
    const moved = `${tree}.gone`;
    t.after(() => rm(moved, { recursive: true, force: true }));
    const { lines, gauge, get, about } = await watch(t, tree);
    assert.equal((await get(MODULE)).status, 200);
    await rename(tree, moved);
    await until('displaced', () => /gone from the disk; serving/.test(about(MODULE).at(-1) ?? ''));
    await until('missed', () => lines.some(line => line.includes('are served on')));
    await symlink(moved, tree);
    const well = async () => (await gauge('displaced_files')) + (await gauge('damaged_files')) === 0;
    await until('well', well);
    await until('said to be well', () => /whole again/.test(about(MODULE).at(-1) ?? ''));
    assert.equal(lines.filter(line => line.includes('the tree is back')).length, 1, lines.join('\n'));
    await until('all can be had', async () => (await get('a/1.0.0/metadata.json')).status === 200);
    // And the other way round, so fast that nobody misses it.
    await rm(tree);
    await rename(moved, tree);
    await until('all can be had from there', async () => {
      const fresh = (await get('a/2.0.0/metadata.txt')).status === 200;
      return fresh && (await well());
    });
    await put(join(tree, MODULE), wasm(5000));
    await until('the files are looked at', () => /another file lies|other bytes/.test(about(MODULE).at(-1) ?? ''));
  });

  test('an index.json that is a link, as in a projected volume, is called one, and --tree may lead past it', async t => {
    const folder = await makeTree(t, []);
    const real = await makeTree(t, [single]);
    await rm(join(folder, 'index.json'));
    await symlink(real, join(folder, '..data'));
    await symlink('..data/index.json', join(folder, 'index.json'));
    const { lines, get } = await watch(t, folder);
    assert.equal((await get(MODULE)).status, 503);
    const [line = '', ...more] = lines;
    assert.deepEqual(more, []);
    assert.match(line, /^the tree cannot be read, answering 503: CATALOG_INVALID: \S+index\.json is a link/);
    assert.match(line, /a symbolic link to \.\.data\/index\.json\. Mount .*projected volume/);
    assert.ok(line.endsWith(`Or point --tree at ${join(folder, '..data')}.`), line);
    assert.doesNotMatch(line, /is not a plugin catalog/);
    const past = await watch(t, join(folder, '..data'));
    assert.equal((await past.get(MODULE)).status, 200);
  });

  test('a path that is no folder is refused at the start, by each worker, too; one that becomes a file later is called one', async t => {
    const folder = await makeTree(t, [single]);
    const file = join(folder, 'index.json');
    await assert.rejects(serve(t, file), { code: 'TREE_UNUSABLE', subject: file, found: 'a file' });
    for (const flags of [[], ['--workers', '2']]) {
      const server = startServe(t, ['--tree', file, '--host', '127.0.0.1', '--port', '0', ...flags]);
      assert.equal(await server.ended, 1, server.out.stderr);
      assert.equal(server.out.stderr.split('TREE_UNUSABLE').length, 2, server.out.stderr);
      assert.doesNotMatch(server.out.stderr, /no index\.json|503/);
    }
    const tree = join(folder, 'later');
    const { lines, get } = await watch(t, tree);
    assert.match(lines.at(-1) ?? '', /there is no folder \S+later yet; answering 503 until/);
    await put(tree, 'a file');
    await until('told', () => /later is no folder; answering 503 until one/.test(lines.at(-1) ?? ''));
    assert.equal((await get(MODULE)).status, 503);
    await rm(tree);
    await mkdir(tree);
    await until('told', () => /no index\.json in \S+later yet/.test(lines.at(-1) ?? ''));
    await publish(tree, []);
    await until('told', () => /index\.json in \S+later names no plugin yet/.test(lines.at(-1) ?? ''));
    await publish(tree, [single]);
    await until('served', async () => (await get(MODULE)).status === 200);
    await rename(tree, `${tree}.away`);
    await put(tree, 'a file');
    await until('told', () => lines.some(line => /later is no folder; files that are open/.test(line)));
    assert.equal((await get(MODULE)).status, 200);
  });

  test('one of two copies: gone, of other bytes, a link, and whole again, each said once', async t => {
    const tree = await makeTree(t, [single, twin]);
    const { about, gauge, get } = await watch(t, tree);
    assert.equal((await get(MODULE)).status, 200);
    for (const path of [MODULE, 'a/2.0.0/plugin.wasm']) {
      const full = join(tree, path);
      const harms: readonly (readonly [RegExp, () => Promise<void>])[] = [
        [/gone from the disk; the right bytes are served from another copy/, () => rename(full, `${full}.away`)],
        [/(?:another file lies there|other bytes).*served from another copy/, () => put(full, wasm(5000))],
        [/no file within the tree.*served from another copy/, () => rm(full).then(() => symlink('/dev/null', full))],
      ];
      for (const [said, harm] of harms) {
        await harm();
        await until(`${path}: ${said}`, () => said.test(about(path).at(-1) ?? ''));
        assert.equal(await gauge('damaged_files'), 1);
        assert.equal((await get(path)).body.equals(bytes), true);
      }
      await put(full, bytes);
      await until('whole again', () => /whole again/.test(about(path).at(-1) ?? ''));
      assert.equal(await gauge('damaged_files'), 0);
      assert.equal(about(path).length, harms.length + 1, about(path).join('\n'));
    }
  });

  test('the only file: replaced while it is open, and of other bytes, and whole again', async t => {
    const tree = await makeTree(t, [single]);
    const { about, get } = await watch(t, tree);
    assert.equal((await get(MODULE)).status, 200);
    await put(join(tree, MODULE), wasm(5000));
    await until('replaced', () => /another file lies there now; serving/.test(about(MODULE).at(-1) ?? ''));
    await put(join(tree, MODULE), bytes);
    await until('whole', () => /whole again/.test(about(MODULE).at(-1) ?? ''));
    const fresh = await makeTree(t, [single]);
    await put(join(fresh, MODULE), wasm(4999));
    const second = await watch(t, fresh);
    await until('altered', () => /has other bytes.*answering 503/.test(second.about(MODULE).at(-1) ?? ''));
    await rm(join(fresh, MODULE));
    await until('gone', () => /gone from the disk; answering 503/.test(second.about(MODULE).at(-1) ?? ''));
    await mkdir(join(fresh, MODULE));
    await until('a folder', () => /no file within the tree.*answering 503/.test(second.about(MODULE).at(-1) ?? ''));
    assert.equal((await second.get(MODULE)).status, 503);
    await rm(join(fresh, MODULE), { recursive: true });
    await put(join(fresh, MODULE), bytes);
    await until('whole', () => /whole again/.test(second.about(MODULE).at(-1) ?? ''));
    assert.equal(sha256((await second.get(MODULE)).body), sha256(bytes));
  });

  test('a file or a tree that may not be read is told from one that is damaged or gone', async t => {
    const tree = await makeTree(t, [single]);
    // Rights do not bind root: there the server runs as nobody.
    const uid = process.getuid?.() === 0 ? 65_534 : undefined;
    if (uid !== undefined) await exec('chown', ['-R', String(uid), tree]);
    await chmod(join(tree, MODULE), 0);
    const flags = ['--check-interval', '0.02', '--poll-interval', '0.02', '--access-log', 'off'];
    const server = startServe(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0', ...flags], {}, uid);
    const port = await portOf(server);
    await until('told', () => server.out.stderr.includes(MODULE));
    assert.match(server.out.stderr, /plugin\.wasm \(sha256 \w+\): this user may not read it \(EACCES\); answering 503/);
    assert.doesNotMatch(server.out.stderr, /other bytes|what the catalog names|gone/);
    assert.equal((await ask(port, `/plugins/${MODULE}`)).status, 503);
    await chmod(join(tree, MODULE), 0o644);
    await until('well', async () => (await ask(port, `/plugins/${MODULE}`)).status === 200);
    assert.match(server.out.stderr, /plugin\.wasm \(sha256 \w+\): on disk it is whole again/);
    await chmod(tree, 0);
    const said = /tree cannot be read, what was read before is served on: TREE_UNREADABLE/;
    // Given back whatever comes of it: a folder that may not be read cannot be cleared away.
    await until('told', () => said.test(server.out.stderr)).finally(() => chmod(tree, 0o755));
    assert.doesNotMatch(server.out.stderr, /no index\.json|there is no folder/);
  });
});
