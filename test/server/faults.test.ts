import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { describeEvent } from '../../cli/serve/log.ts';
import type { ServerOptions } from '../../server/options.ts';
import { ask, metric, serve, until } from './client.ts';
import { makeTree, type Planned, publish, put, sha256, wasm } from './tree.ts';

const exec = promisify(execFile);
const NOBODY = 65_534;
const bytes = wasm(5000);
const single: Planned = { name: 'a', version: '1.0.0', bytes };
const copy: Planned = { name: 'a', version: '2.0.0', bytes };
const MODULE = 'a/1.0.0/plugin.wasm';

/** Starts a server with a fast scrubber and collects its log messages. */
async function watch(t: TestContext, tree: string, options: Partial<ServerOptions> = {}) {
  const lines: string[] = [];
  const onEvent: ServerOptions['onEvent'] = event => lines.push(describeEvent(event).line);
  const { port } = await serve(t, tree, { scrubPauseMs: 20, onEvent, ...options });
  const gauge = (name: string) => metric(port, name);
  const get = (path: string) => ask(port, `/plugins/${path}`);
  const about = (path: string): string[] =>
    lines.filter(line => line.split(' (sha256')[0]?.split(', ').includes(path) === true);
  return { lines, about, gauge, get, port };
}

describe('messages about files with faults', () => {
  test('a folder that was moved away: its files are gone; none is called replaced or a damaged copy', async t => {
    const tree = await makeTree(t, [single, copy, { name: 'b', version: '1.0.0', bytes: wasm(3000) }]);
    const { lines, gauge, get, about } = await watch(t, tree);
    for (const path of [MODULE, 'a/2.0.0/plugin.wasm', 'b/1.0.0/plugin.wasm'])
      assert.equal((await get(path)).status, 200);
    await rename(tree, `${tree}.gone`);
    t.after(() => rm(`${tree}.gone`, { recursive: true, force: true }));
    await until('displaced', async () => (await gauge('displaced_files')) > 0 && about(MODULE).length > 0);
    await until('both reported', () => about('b/1.0.0/plugin.wasm').length > 0);
    for (const line of lines)
      assert.doesNotMatch(line, /another file has replaced|other bytes|than the catalog lists|from another copy/);
    assert.ok(
      about(MODULE).some(line => /gone from the disk; the file that is still open is served/.test(line)),
      lines.join('\n'),
    );
    assert.equal((await get(MODULE)).status, 200);
    await rename(`${tree}.gone`, tree);
    await until('well', async () => (await gauge('displaced_files')) === 0 && (await gauge('damaged_files')) === 0);
    for (const path of [MODULE, 'a/2.0.0/plugin.wasm', 'b/1.0.0/plugin.wasm'])
      await until(`${path} is reported whole`, () => about(path).some(line => /whole again/.test(line)));
  });

  test('a folder that returns behind a link is served again and reported to be back', async t => {
    const tree = await makeTree(t, [single, copy]);
    const moved = `${tree}.gone`;
    t.after(() => rm(moved, { recursive: true, force: true }));
    const { lines, gauge, get, about } = await watch(t, tree);
    assert.equal((await get(MODULE)).status, 200);
    await rename(tree, moved);
    await until('displaced', () => /gone from the disk; the file that/.test(about(MODULE).at(-1) ?? ''));
    await until('missed', () => lines.some(line => line.includes('are still served')));
    await symlink(moved, tree);
    const well = async () => (await gauge('displaced_files')) + (await gauge('damaged_files')) === 0;
    await until('well', well);
    await until('reported whole', () => /whole again/.test(about(MODULE).at(-1) ?? ''));
    assert.equal(lines.filter(line => line.includes('the tree is back')).length, 1, lines.join('\n'));
    await until('all files are served', async () => (await get('a/1.0.0/metadata.json')).status === 200);
    // The folder takes the place of the link, too fast for a check in between.
    await rm(tree);
    await rename(moved, tree);
    await until('all files are served from there', async () => {
      const fresh = (await get('a/2.0.0/metadata.txt')).status === 200;
      return fresh && (await well());
    });
    // Either of the two may be the one that is served now.
    for (const path of ['a/2.0.0/plugin.wasm', MODULE]) await put(join(tree, path), wasm(5000));
    await until('the files are checked', () =>
      /another file has replaced|other bytes/.test(about(MODULE).at(-1) ?? ''),
    );
  });

  test('an index.json that is a link, as in a projected volume, is reported as a link with a way out', async t => {
    const folder = await makeTree(t, []);
    const real = await makeTree(t, [single]);
    await rm(join(folder, 'index.json'));
    await symlink(real, join(folder, '..data'));
    await symlink('..data/index.json', join(folder, 'index.json'));
    const { lines, get } = await watch(t, folder);
    assert.equal((await get(MODULE)).status, 503);
    const [line = '', ...more] = lines;
    assert.deepEqual(more, []);
    assert.match(line, /^the tree in .+ cannot be read, requests get 503: CATALOG_INVALID: .+index\.json is a link/);
    assert.match(line, /a symbolic link to \.\.data\/index\.json\. Mount .*projected volume/);
    assert.ok(line.endsWith(`Or point --tree at ${join(folder, '..data')}.`), line);
    assert.doesNotMatch(line, /is not a plugin catalog/);
    const past = await watch(t, join(folder, '..data'));
    assert.equal((await past.get(MODULE)).status, 200);
  });

  test('a path that is not a folder is refused at the start, and reported when it becomes a file later', async t => {
    const folder = await makeTree(t, [single]);
    const file = join(folder, 'index.json');
    await assert.rejects(serve(t, file), { code: 'TREE_UNUSABLE', subject: file, found: 'a file' });
    const tree = join(folder, 'later');
    const { lines, get } = await watch(t, tree);
    assert.match(lines.at(-1) ?? '', /the folder .+later does not exist; requests get 503 until/);
    await put(tree, 'a file');
    await until('told', () => /later is not a folder; requests get 503 until a folder/.test(lines.at(-1) ?? ''));
    assert.equal((await get(MODULE)).status, 503);
    await rm(tree);
    await mkdir(tree);
    await until('told', () => /.+later has no index\.json/.test(lines.at(-1) ?? ''));
    await publish(tree, []);
    await until('told', () => /index\.json in .+later lists no plugin/.test(lines.at(-1) ?? ''));
    await publish(tree, [single]);
    await until('served', async () => (await get(MODULE)).status === 200);
    await rename(tree, `${tree}.away`);
    await put(tree, 'a file');
    await until('told', () => lines.some(line => /later is not a folder; files that are open/.test(line)));
    assert.equal((await get(MODULE)).status, 200);
  });

  test('a lasting problem of the tree is reported again and named at /readyz', async t => {
    const tree = join(await makeTree(t, []), 'typo');
    const { lines, port } = await watch(t, tree, { repeatReportMs: 30 });
    await until('reported three times', () => lines.length >= 3);
    for (const line of lines) assert.match(line, /^the folder .+typo does not exist; requests get 503 until/);
    const ready = await ask(port, '/readyz');
    assert.equal(ready.status, 503);
    assert.match(ready.body.toString(), /the folder .+typo does not exist\.\n$/);
    await publish(tree, [single]);
    await until('ready', async () => (await ask(port, '/readyz')).status === 200);
    await put(join(tree, 'index.json'), '{');
    await until('reported', () =>
      /typo cannot be read, the tree loaded before is still served/.test(lines.at(-1) ?? ''),
    );
    assert.equal((await ask(port, '/readyz')).status, 200, 'nothing is missing yet');
  });

  test('one of two copies: gone, with other bytes, a link, and whole again, each reported once', async t => {
    const tree = await makeTree(t, [single, copy]);
    const { about, gauge, get } = await watch(t, tree);
    assert.equal((await get(MODULE)).status, 200);
    for (const path of [MODULE, 'a/2.0.0/plugin.wasm']) {
      const full = join(tree, path);
      const harms: readonly (readonly [RegExp, () => Promise<void>])[] = [
        [/gone from the disk; the right bytes are served from another copy/, () => rename(full, `${full}.away`)],
        [/(?:another file has replaced|other bytes).*served from another copy/, () => put(full, wasm(5000))],
        [
          /not a regular file within the tree.*served from another copy/,
          () => symlink('/dev/null', `${full}.link`).then(() => rename(`${full}.link`, full)),
        ],
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

  test('the only file: replaced while it is open, with other bytes, and whole again', async t => {
    const tree = await makeTree(t, [single]);
    const { about, get } = await watch(t, tree);
    assert.equal((await get(MODULE)).status, 200);
    await put(join(tree, MODULE), wasm(5000));
    await until('replaced', () =>
      /another file has replaced it; the file that is still open/.test(about(MODULE).at(-1) ?? ''),
    );
    await put(join(tree, MODULE), bytes);
    await until('whole', () => /whole again/.test(about(MODULE).at(-1) ?? ''));
    const fresh = await makeTree(t, [single]);
    await put(join(fresh, MODULE), wasm(4999));
    const second = await watch(t, fresh);
    await until('altered', () => /has other bytes.*requests get 503/.test(second.about(MODULE).at(-1) ?? ''));
    await rm(join(fresh, MODULE));
    await until('gone', () => /gone from the disk; requests get 503/.test(second.about(MODULE).at(-1) ?? ''));
    await mkdir(join(fresh, MODULE));
    await until('a folder', () =>
      /not a regular file within the tree.*requests get 503/.test(second.about(MODULE).at(-1) ?? ''),
    );
    assert.equal((await second.get(MODULE)).status, 503);
    await rm(join(fresh, MODULE), { recursive: true });
    await put(join(fresh, MODULE), bytes);
    await until('whole', () => /whole again/.test(second.about(MODULE).at(-1) ?? ''));
    assert.equal(sha256((await second.get(MODULE)).body), sha256(bytes));
  });

  test('a file or a tree that this user may not read is not called damaged or gone', async t => {
    const tree = await makeTree(t, [single]);
    const module = join(tree, MODULE);
    await actAsUser(t, tree);
    await chmod(module, 0);
    const { lines, about, get } = await watch(t, tree);
    await until('reported', () => about(MODULE).length > 0);
    const [line = ''] = about(MODULE);
    assert.match(line, /plugin\.wasm \(sha256 \w+\): this user may not read the file \(EACCES\); requests get 503/);
    assert.doesNotMatch(lines.join('\n'), /other bytes|than the catalog lists|gone/);
    assert.equal((await get(MODULE)).status, 503);
    await chmod(module, 0o644);
    await until('served', async () => (await get(MODULE)).status === 200);
    assert.match(about(MODULE).at(-1) ?? '', /plugin\.wasm \(sha256 \w+\): the file on disk is whole again/);
    await chmod(tree, 0);
    const unreadable = /the tree in .+ cannot be read, the tree loaded before is still served: TREE_UNREADABLE/;
    await until('reported', () => lines.some(text => unreadable.test(text))).finally(() => chmod(tree, 0o755));
    assert.doesNotMatch(lines.join('\n'), /no index\.json|does not exist/);
  });
});

/** Permissions do not apply to root: such a process gives the tree to another user and acts as that user until the test ends. */
async function actAsUser(t: TestContext, tree: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  await exec('chown', ['-R', String(NOBODY), tree]);
  process.seteuid?.(NOBODY);
  t.after(() => process.seteuid?.(0));
}
