import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ask, serve } from './client.ts';
import { emptyFolder, makeTree, wasm } from './tree.ts';

const exec = promisify(execFile);
const BROWSER = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(path =>
  existsSync(path),
);
const WIDTHS = [320, 375, 600, 899, 900, 1000, 1300];

test('the start page fits into windows of any width, from a phone up', {
  skip: BROWSER === undefined ? 'no browser here' : false,
}, async t => {
  const files = Object.fromEntries(['README.md', 'README_EN.md', 'spec.yaml'].map(name => [name, Buffer.from(name)]));
  const bytes = wasm(5000);
  const tree = await makeTree(t, [
    { name: 'a', version: '1.0.0', bytes, files, pinned: true },
    { name: 'a', version: '2.0.0-rc.12', bytes, aliasOf: '1.0.0', files },
    { name: 'cluster-key-rate-limit', version: '1.0.0', bytes, files },
  ]);
  const { port } = await serve(t, tree);
  const page = (await ask(port, '/')).body.toString();
  const folder = await emptyFolder(t);
  const frames = WIDTHS.map(width => `<iframe style="border:0" height=400 width=${width}></iframe>`).join('');
  // Framed without its address, and so without its policy, so that the frame's parent may measure.
  const script = `const page=${JSON.stringify(page).replaceAll('<', '\\u003c')};let left=${WIDTHS.length};
for(const frame of document.querySelectorAll('iframe')){frame.onload=()=>{const inner=frame.contentDocument;
const boxes=[inner.documentElement,...inner.querySelectorAll('.scroll')];
frame.dataset.over=Math.max(...boxes.map(box=>box.scrollWidth-box.clientWidth));
if(--left===0)document.body.dataset.done='yes'};frame.srcdoc=page}`;
  const path = join(folder, 'frames.html');
  await writeFile(path, `<!doctype html><meta charset=utf-8><body>${frames}<script>${script}</script>`);
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${join(folder, 'profile')}`];
  const { stdout } = await exec(
    BROWSER ?? '',
    [...flags, '--virtual-time-budget=5000', '--dump-dom', `file://${path}`],
    {
      timeout: 60_000,
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  assert.match(stdout, /data-done="yes"/);
  const over = [...stdout.matchAll(/data-over="(-?\d+)"/g)].map(([, number]) => Number(number));
  assert.deepEqual(
    over,
    WIDTHS.map(() => 0),
  );
});
