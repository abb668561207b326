import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import process from 'node:process';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { type ErrorJson, openScene, parsed, type Scene, sha256, watch } from '../support/cli.ts';
import { drip, status } from '../support/faults.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { slow, slowUnless } from '../support/slow.ts';

const ESCAPE = '\u001b';

/** One of each status: fetched, kept, aliased and failed. */
async function oneOfEach(scene: Scene): Promise<void> {
  for (const name of ['kept', 'fetched']) scene.push(name, '1.0.0');
  await scene.list({ kept: '1.0.0' });
  await scene.sync();
  await scene.list({
    failing: '1.0.0',
    kept: { versions: ['1.0.0'], aliases: { '0.9.0': '1.0.0' } },
    fetched: '1.0.0',
  });
}

describe('--format json', { concurrency: 4 }, () => {
  it('prints one object of the promised shape on stdout, all else on stderr', async t => {
    const scene = await openScene(t);
    await oneOfEach(scene);
    scene.registry.reset();
    const { ran, report } = await scene.report();
    assert.equal(ran.code, 1);
    const { plugins, totals, ...rest } = report;
    assert.deepEqual(rest, { schemaVersion: 1, tree: scene.path('plugins'), changed: true, drift: [], extras: [] });
    const host = scene.registry.host;
    const good = (name: string, version: string, state: string, more = {}) => {
      const bytes = buildModule({ seed: `${name} 1.0.0` });
      const { digest } = imageFormC({ wasm: bytes, version: '1.0.0' });
      const reference = `${host}/plugins/${name}:1.0.0`;
      return {
        name,
        version,
        status: state,
        reference,
        digest,
        sha256: sha256(bytes),
        sizeBytes: bytes.length,
        ...more,
      };
    };
    const [failing, ...others] = plugins;
    assert.deepEqual(others, [
      good('kept', '1.0.0', 'kept'),
      good('fetched', '1.0.0', 'fetched'),
      good('kept', '0.9.0', 'aliased', { aliasOf: '1.0.0' }),
    ]);
    const { error, ...failed } = failing ?? {};
    assert.deepEqual(failed, {
      name: 'failing',
      version: '1.0.0',
      status: 'failed',
      reference: `${host}/plugins/failing:1.0.0`,
    });
    assert.match(String(error?.code), /^REGISTRY_/);
    assert.ok(error?.message && error.hint);
    const { durationMs = -1, ...counted } = totals;
    assert.ok(Number.isInteger(durationMs) && durationMs >= 0);
    const [bytesDownloaded, requests] = [scene.registry.bytesServed('blob'), scene.registry.count()];
    assert.deepEqual(counted, { fetched: 1, kept: 1, aliased: 1, failed: 1, bytesDownloaded, requests });
    assert.match(ran.stderr, /failed .*failing 1\.0\.0/);
  });

  it('prints an object if the run cannot begin', async t => {
    const scene = await openScene(t);
    await scene.list({ a: '1.0.0' });
    await scene.write('plugins', 'a file');
    const ran = await scene.sync('--format', 'json');
    assert.equal(ran.code, 1);
    assert.equal(parsed<{ error: ErrorJson }>(ran).error.code, 'TREE_UNUSABLE');
    assert.match(ran.stderr, /TREE_UNUSABLE/);
  });
});

describe('the text of a run', { concurrency: 4 }, () => {
  it('is plain lines in a pipe: one for each version, then the figures', async t => {
    const scene = await openScene(t);
    await oneOfEach(scene);
    const ran = await scene.sync();
    assert.equal(ran.code, 1);
    const lines = ran.stdout.trimEnd().split('\n');
    for (const start of [
      'kept     kept 1.0.0',
      'fetched  fetched 1.0.0',
      'aliased  kept 0.9.0',
      'failed   failing 1.0.0',
    ])
      assert.equal(lines.filter(line => line.startsWith(start)).length, 1, start);
    assert.match(lines.at(-1) ?? '', /3 of 4 .*1 fetched · 1 kept · 1 aliased · 1 failed/);
    assert.ok(!`${ran.stdout}${ran.stderr}`.includes(ESCAPE));
    assert.ok(!ran.stdout.includes('\r'));
  });

  it('has colours if FORCE_COLOR is set, and none if NO_COLOR is set', async t => {
    const scene = await openScene(t);
    await scene.list({ a: '1.0.0' });
    const forced = await scene.run(['sync'], { env: { FORCE_COLOR: '1' } });
    assert.ok(forced.stderr.includes(ESCAPE));
    const plain = await scene.run(['sync'], { env: { FORCE_COLOR: '1', NO_COLOR: '1' } });
    assert.ok(!`${plain.stdout}${plain.stderr}`.includes(ESCAPE));
  });

  it('names one cause in one block, however many plugins it hits', async t => {
    const scene = await openScene(t);
    const names = Array.from({ length: 40 }, (_, index) => `plugin-${index}`);
    scene.registry.script({ fault: status(401, { code: 'UNAUTHORIZED', message: 'no' }) });
    await scene.list(Object.fromEntries(names.map(name => [name, '1.0.0'])));
    const ran = await scene.sync();
    assert.equal(ran.code, 1);
    assert.equal(ran.stderr.match(/REGISTRY_/g)?.length, 1, ran.stderr);
    assert.match(ran.stderr, /REGISTRY_UNAUTHORIZED {2}40 versions of 40 plugins: .* and 37 more/);
    assert.ok(ran.stderr.split('\n').length < 12, ran.stderr);
  });

  it('keeps causes apart: one that several versions have, and one of each image, up to three', slow, async t => {
    const scene = await openScene(t);
    scene.push('good', '1.0.0');
    const dead = 'no-such-host.invalid';
    await scene.write('wrong.wasm', 'no module');
    await scene.list({
      good: '1.0.0',
      far: { image: `${dead}/x/far`, versions: ['1', '2', '3'], aliases: { stable: '3', old: '1' } },
      gone: ['1', '2'],
      wrong: { file: './wrong.wasm', versions: ['1'] },
    });
    const { code, stderr } = await scene.sync('--retries', '0');
    assert.equal(code, 1);
    const heads = stderr.split('\n').filter(line => line.startsWith('failed '));
    assert.deepEqual(heads, [
      'failed REGISTRY_DNS  3 versions of 1 plugin, 2 aliases: far 1, far 2, far 3 and 2 more',
      'failed REGISTRY_NOT_FOUND  gone 1, gone 2',
      'failed MODULE_INVALID  wrong 1',
    ]);
    assert.doesNotMatch(stderr, /ALIAS_TARGET_FAILED|failed before/);
  });

  it(
    'has at most one line for each cause as it comes, and never says that there is nothing to fetch',
    slow,
    async t => {
      const scene = await openScene(t);
      const aliases = { x: '1.0.0' };
      const names = Array.from({ length: 60 }, (_, index) => `plugin-${index}`);
      await scene.list(Object.fromEntries(names.map(name => [name, { versions: ['1.0.0'], aliases }])));
      await scene.registry.down();
      for (const registry of ['no-such-host.invalid', scene.registry.host]) {
        const env = { CI: 'true' };
        const ran = await scene.run(['sync', '--no-frozen', '--registry', registry], { env });
        assert.equal(ran.code, 1);
        const lines = [...ran.stdout.trimEnd().split('\n'), ...ran.stderr.trimEnd().split('\n')];
        assert.ok(lines.length <= 15, lines.join('\n'));
        assert.equal(lines.filter(line => line.startsWith('failed   plugin-')).length, 1);
        assert.doesNotMatch(ran.stdout, /0 to fetch/);
        assert.match(ran.stderr, /60 versions of 60 plugins, 60 aliases: .* and 117 more/);
        assert.match(ran.stderr, /plugin-mirror doctor/);
      }
    },
  );

  it('does not stop the work if its reader is gone or its disk is full', slow, async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const shell = (line: string) =>
      watch(
        spawn('sh', ['-c', line, 'sh', process.execPath, ...scene.command(['sync'])], {
          cwd: scene.dir,
          env: scene.environment(),
        }),
      ).ended;
    const full = await shell('"$@" > /dev/full');
    assert.equal(full.code, 1);
    assert.match(full.stderr, /^plugin-mirror: the output cannot be written: ENOSPC.*\n$/);
    assert.equal((await shell('"$@" | true; "$@" >&- 2>&-')).code, 0);
    assert.equal((await scene.run(['verify'])).code, 0);
  });

  it('fits a screen if every tag has moved or the registry is down', slow, async t => {
    const scene = await openScene(t);
    const names = Array.from({ length: 30 }, (_, index) => `plugin-${index}`);
    for (const name of names) scene.push(name, '1.0.0');
    await scene.list(Object.fromEntries(names.map(name => [name, '1.0.0'])));
    assert.equal((await scene.sync()).code, 0);
    for (const name of names) scene.push(name, '1.0.0', imageFormC({ wasm: buildModule({ seed: `${name} again` }) }));
    const moved = await scene.sync();
    assert.equal(moved.code, 0);
    assert.match(moved.stderr, /and 26 more/);
    assert.match(moved.stderr, /sync --update/);
    assert.ok(moved.stderr.split('\n').length <= 20, moved.stderr);
    await scene.registry.down();
    const down = await scene.sync('--retries', '0');
    assert.equal(down.code, 0);
    assert.ok(down.stderr.split('\n').length <= 20, down.stderr);
  });
});

const PTY = `import os, pty, sys, struct, fcntl, termios
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 12, int(os.environ['COLS']), 0, 0))
while True:
    try: data = os.read(fd, 65536)
    except OSError: break
    if not data: break
    os.write(1, data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;
const skip = spawnSync('python3', ['-c', 'import pty']).status === 0 ? false : 'needs python3 for a terminal';

describe('on a terminal', { skip }, () => {
  it('a run without a network ends with its cause, within 15 rows of 80 columns', async t => {
    const scene = await openScene(t);
    const names = Array.from({ length: 60 }, (_, index) => `plugin-with-a-name-of-its-own-${index}`);
    await scene.list(Object.fromEntries(names.map(name => [name, { versions: ['1.0.0'], aliases: { x: '1.0.0' } }])));
    const env = scene.environment({ TERM: 'xterm-256color', COLS: '80' });
    const entry = scene.command(['sync', '--registry', 'higress-registry.cn-hangzhou.example.invalid']);
    const child = spawn('python3', ['-c', PTY, process.execPath, ...entry], { cwd: scene.dir, env });
    const { code, stdout } = await watch(child).ended;
    assert.equal(code, 1, stdout);
    const shown = stripVTControlCharacters(stdout);
    const remains = shown.slice(shown.lastIndexOf('failed REGISTRY'));
    const lines = remains.trimEnd().split(/\r?\n/);
    assert.match(lines.at(-1) ?? '', /^✗ 0 of 120 in plugins/);
    const rows = lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 80)), 0);
    assert.ok(rows <= 15, remains);
  });

  for (const columns of [80, 36])
    it(
      `a run redraws one line for each running plugin and a total, within ${columns} columns`,
      slowUnless(columns === 80),
      async t => {
        const scene = await openScene(t);
        const names = Array.from({ length: 20 }, (_, index) => `a-plugin-with-quite-a-long-name-${index}`);
        for (const name of names)
          scene.push(name, '1.0.0', imageFormC({ wasm: buildModule({ seed: name, sizeBytes: 40_000 }) }));
        scene.registry.script({ kind: 'blob', fault: drip({ bytes: 10_000, everyMs: 60 }) });
        await scene.list(Object.fromEntries(names.map(name => [name, '1.0.0'])));
        const env = scene.environment({ TERM: 'xterm-256color', COLS: `${columns}` });
        const entry = scene.command(['sync', '--concurrency', '16']);
        const child = spawn('python3', ['-c', PTY, process.execPath, ...entry], { cwd: scene.dir, env });
        const { code, stdout } = await watch(child).ended;
        assert.equal(code, 0, stdout);
        assert.match(stdout, /\d+\/20 versions/);
        assert.match(stdout, /20 of 20/);
        assert.match(stdout, new RegExp(`${ESCAPE}\\[\\?25h`), 'the cursor is given back');
        const lines = stripVTControlCharacters(stdout).split(/[\r\n]+/);
        const live = lines.filter(line => line.includes('━') || line.includes('─') || line.includes('versions'));
        assert.ok(live.length > 0, 'nothing was drawn');
        for (const line of live) assert.ok([...line].length <= columns, `${[...line].length}: ${line}`);
        // Lines of versions that are done scroll up in between; the drawn block is as high as the cursor goes up to redraw it.
        const ups = [...stdout.matchAll(new RegExp(`${ESCAPE}\\[(\\d+)A`, 'g'))].map(([, rows]) => Number(rows));
        assert.ok(ups.length > 0, 'nothing was drawn again');
        assert.ok(Math.max(...ups) < 12, 'a frame is higher than the screen');
      },
    );
});
