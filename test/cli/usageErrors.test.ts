import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ErrorJson, listing, openScene, parsed } from '../support/cli.ts';
import { sample, slowUnless } from '../support/slow.ts';

describe('a wrong command line', { concurrency: 4 }, () => {
  for (const [line, told, env = {}] of [
    ['sync --format json --concurrency nope', /'--concurrency <n>' argument 'nope' is invalid.*1 to 64/],
    ['sync --concurrency nope --format=json', /--concurrency/],
    ['check --format json --retries -1', /--retries/],
    ['sync --format json --nope', /unknown option '--nope'/],
    ['sync --formt text', /--formt.*\n.*Did you mean --format/, { PLUGIN_MIRROR_FORMAT: 'json' }],
    ['verify --format json one two', /too many arguments/],
    ['doctor --format json a b', /too many arguments/],
    ['outdated --format text --format json --manifest', /--manifest.*argument missing/],
    ['sync', /PLUGIN_MIRROR_PRUNE=maybe/, { PLUGIN_MIRROR_FORMAT: 'json', PLUGIN_MIRROR_PRUNE: 'maybe' }],
    ['sync', /PLUGIN_MIRROR_RETRIES/, { PLUGIN_MIRROR_FORMAT: 'json', PLUGIN_MIRROR_RETRIES: '-1' }],
  ] as [string, RegExp, Record<string, string>?][])
    it(
      `is reported on stdout under --format json: ${line} ${Object.keys(env).join(' ')}`,
      slowUnless(/--nope|PRUNE/.test(`${line}${told}`)),
      async t => {
        const scene = await openScene(t);
        const before = await listing(scene.dir);
        const ran = await scene.run(line.split(' '), { env });
        assert.equal(ran.code, 2);
        const { error, ...rest } = parsed<{ error: ErrorJson }>(ran);
        assert.deepEqual([rest, error.code], [{ schemaVersion: 1 }, 'OPTION_INVALID']);
        assert.match(error.message, told);
        assert.match(error.hint, /--help/);
        assert.match(ran.stderr, /^error: /);
        assert.match(ran.stderr, told);
        assert.deepEqual(await listing(scene.dir), before);
      },
    );

  it('is a line of the log under serve --log-format json', async t => {
    const scene = await openScene(t);
    const { code, stdout, stderr } = await scene.run(['serve', '--log-format', 'json', '--port', 'nope']);
    assert.deepEqual([code, stdout], [2, '']);
    const [line = '', ...more] = stderr.trimEnd().split('\n');
    assert.deepEqual(more, []);
    const { time, level, code: errorCode, message } = JSON.parse(line);
    assert.ok(!Number.isNaN(Date.parse(time)));
    assert.deepEqual([level, errorCode], ['error', 'OPTION_INVALID']);
    assert.match(message, /--port.*nope/);
  });

  it('is reported without its secrets', async t => {
    const scene = await openScene(t);
    for (const line of sample(['--password hunter2', '-phunter2', '--concurrency ann:hunter2@h.io'])) {
      const ran = await scene.run(['sync', '--format', 'json', ...line.split(' ')]);
      assert.equal(parsed<{ error: ErrorJson }>(ran).error.code, 'OPTION_INVALID');
      assert.doesNotMatch(ran.stdout + ran.stderr, /hunter2/);
    }
  });

  for (const line of [
    'sync --nope',
    'sync --format xml',
    'sync --format json --format text --nope',
    'serve --nope',
    'nope',
  ])
    it(`leaves stdout empty otherwise: ${line}`, slowUnless(line === 'nope'), async t => {
      const scene = await openScene(t);
      const ran = await scene.run(line.split(' '), {
        env: line === 'serve --nope' ? { PLUGIN_MIRROR_FORMAT: 'json' } : {},
      });
      assert.deepEqual([ran.code, ran.stdout], [2, '']);
    });
});
