import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { printed, type Running, watch } from '../support/cli.ts';
import { slow } from '../support/slow.ts';

const root = resolve(import.meta.dirname, '../..');
const DEMO = join(root, 'scripts/demo.ts');
const LOADER = pathToFileURL(join(root, 'scripts/test/loader.js')).href;

/** The demo with a home and a temporary folder of its own; `left` lists their files. */
async function start(t: TestContext): Promise<Running & { left: () => Promise<string[]> }> {
  const dir = await mkdtemp(join(tmpdir(), 'plugin-mirror-test-'));
  for (const part of ['home', 'tmp']) await mkdir(join(dir, part));
  const env = { PATH: process.env.PATH, HOME: join(dir, 'home'), TMPDIR: join(dir, 'tmp') };
  const running = watch(
    spawn(process.execPath, ['--import', LOADER, DEMO], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
  t.after(async () => {
    running.child.kill('SIGKILL');
    await running.ended;
    await rm(dir, { recursive: true, force: true });
  });
  return { ...running, left: async () => (await readdir(dir, { recursive: true })).sort() };
}

/** What the README shows of the same run, without the lines that it leaves out. */
const TRANSCRIPT =
  /\$ npx plugin-mirror sync\n([\s\S]*?)\n\n/
    .exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1]
    ?.split('\n')
    .filter(line => line !== '…') ?? [];

/** A line without times, sizes and numbers of requests, which differ between runs and releases. */
function shapeOf(line: string): string {
  return line.replace(/\d+(?:\.\d+)? (?:KB|MB|s\b|ms\b|requests?)/g, 'N').replace(/ +/g, ' ');
}

/** Reads the whole answer: a download that is under way would keep the demo from ending. */
async function statusOf(address: string): Promise<number> {
  const answer = await fetch(address);
  await answer.arrayBuffer();
  return answer.status;
}

const OPEN = /^Open (http:\/\/localhost:\d+\/) in a browser\. Ctrl-C ends the demo\.$/m;

describe('the demo', { concurrency: 2 }, () => {
  it('ends with the address to open, prints nothing more, and leaves no file behind when Ctrl-C ends it', async t => {
    const demo = await start(t);
    await printed(demo, OPEN);
    assert.ok((await demo.left()).some(path => path.endsWith('plugin.wasm')));
    const shown = demo.output();
    for (const line of TRANSCRIPT)
      assert.ok(shown.split('\n').map(shapeOf).includes(shapeOf(line)), `${line}\n\n${shown}`);
    const [last = '', url = ''] = OPEN.exec(shown) ?? [];
    assert.equal(shown.trimEnd().split('\n').at(-1), last);
    // In a pipe, sync does not break the lists of its summary.
    const [own = '', rest = ''] = shown.split(/^\$ plugin-mirror sync$[\s\S]*?^✓.*$/m);
    for (const line of `${own}${rest}`.split('\n')) assert.ok(line.length <= 80, line);
    const module = /Gateways fetch (\S+)/.exec(shown)?.[1] ?? '';
    for (const address of [url, `${url}plugins/`, module]) assert.equal(await statusOf(address), 200, address);
    assert.equal(await statusOf(`${url}nowhere`), 404);
    demo.child.kill('SIGINT');
    const { code } = await demo.ended;
    assert.equal(code, 0, demo.output());
    assert.equal(demo.output(), shown);
    assert.deepEqual(await demo.left(), ['home', 'tmp']);
  });

  it('leaves no file behind when two signals end it while it syncs', slow, async t => {
    const demo = await start(t);
    await printed(demo, /plugin-mirror sync/);
    demo.child.kill('SIGTERM');
    demo.child.kill('SIGINT');
    const { code, stderr } = await demo.ended;
    assert.equal(code, 130, stderr);
    assert.deepEqual(await demo.left(), ['home', 'tmp']);
  });
});
