import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { ENTRY, openScene, type Scene } from '../support/cli.ts';
import { slow } from '../support/slow.ts';

const hasScript = spawnSync('script', ['--version']).status === 0;
const options = hasScript ? slow : { skip: 'no script(1) here' };

/** Runs sync in a terminal of its own with so many columns. */
async function syncIn(scene: Scene, columns: number, flags: string, env: Readonly<Record<string, string>> = {}) {
  const line = `stty cols ${columns} rows 24; exec ${process.execPath} ${ENTRY} sync ${flags}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    cwd: scene.dir,
    env: scene.environment({ TERM: 'xterm-256color', SHELL: '/bin/sh', ...env }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', part => (output += part));
  await new Promise(resolve => child.once('close', resolve));
  return output.replaceAll('\r\n', '\n');
}

describe('sync in a real terminal', () => {
  it('draws no line wider than the terminal, and ends with what changed and what to do', options, async t => {
    const scene = await openScene(t);
    const names = Array.from({ length: 12 }, (_, at) => `a-plugin-with-a-long-name-${at}`);
    for (const name of names) scene.push(name, '1.0.0');
    await scene.list(Object.fromEntries(names.map(name => [name, '1.0.0'])));
    for (const columns of [60, 80, 120, 200]) {
      const output = await syncIn(scene, columns, `--tree tree-${columns} --no-lock`);
      const live = output.split('\n').filter(line => /versions|unpacking|waiting/.test(line));
      for (const line of live) {
        const text = stripVTControlCharacters(line.split('\r').at(-1) ?? '');
        assert.ok(text.length < columns, `${columns}: ${text.length}: ${text}`);
      }
      const text = stripVTControlCharacters(output);
      assert.match(text, /new {6}a-plugin-with-a-long-name-0 1\.0\.0/);
      assert.match(text, new RegExp(`→ plugin-mirror serve --tree tree-${columns}\\n$`));
      const summary = text.slice(text.lastIndexOf('new      ')).split('\n');
      for (const row of summary) assert.ok(row.length <= columns || row.includes('→'), `${columns}: ${row}`);
      assert.ok(output.includes('\u001b[?25h'), 'the cursor is shown again');
    }
  });

  it('shows the digest that an update replaced', options, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    await syncIn(scene, 80, '');
    scene.push('a', '1.0.0', undefined, 'other bytes');
    const output = stripVTControlCharacters(await syncIn(scene, 80, '--update'));
    assert.match(output, /updated {2}a 1\.0\.0:\s+sha256:[0-9a-f]{64} →\s+sha256:[0-9a-f]{64}\n/);
  });

  it('prints plain lines for a dumb terminal, and for readers who ask for them', options, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    for (const [flags, env] of [
      ['--tree t1', { TERM: 'dumb' }],
      ['--tree t2 --progress plain', { NO_COLOR: '1' }],
    ] as const) {
      const output = await syncIn(scene, 80, flags, env);
      assert.match(output, /fetched {2}a 1\.0\.0/);
      assert.ok(!output.includes('\u001b'), JSON.stringify(output));
    }
  });
});
