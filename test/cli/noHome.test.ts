import assert from 'node:assert/strict';
import { chmod, readdir } from 'node:fs/promises';
import process from 'node:process';
import { describe, it } from 'node:test';
import { openScene } from '../support/cli.ts';
import { asOtherUser } from '../support/otherUser.ts';
import { slow, slowUnless } from '../support/slow.ts';

const WARNING = /^warning: this user has no home folder, so nothing is cached between runs; .*--cache-dir$/m;

describe('a user without a home folder', { concurrency: 2 }, () => {
  const homes = {
    'an empty HOME': { HOME: '' },
    'a relative HOME': { HOME: 'elsewhere' },
  };
  for (const [name, env] of Object.entries(homes))
    it(
      `(${name}) gets the plugins and a warning, and nothing is cached in the current folder`,
      slowUnless(name === 'an empty HOME'),
      async t => {
        const scene = await openScene(t);
        scene.push('a', '1.0.0');
        await scene.list({ a: '1.0.0' });
        const ran = await scene.run(['sync'], { env: { ...env, XDG_CACHE_HOME: undefined } });
        assert.equal(ran.code, 0, ran.stderr);
        assert.match(ran.stderr, WARNING);
        assert.deepEqual(
          (await readdir(scene.dir)).filter(it => it === '.cache' || it === 'elsewhere'),
          [],
        );
      },
    );

  it('gets no warning with --cache-dir, nor if nothing is to be cached', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    for (const args of [
      ['--cache-dir', 'cache'],
      ['--cache-size', '0'],
    ]) {
      const ran = await scene.run(['sync', ...args], { env: { HOME: '', XDG_CACHE_HOME: undefined } });
      assert.deepEqual({ code: ran.code, stderr: ran.stderr }, { code: 0, stderr: '' });
    }
  });

  it('has to name the folder that cache ls lists', async t => {
    const scene = await openScene(t);
    const ran = await scene.run(['cache', 'ls'], { env: { HOME: '', XDG_CACHE_HOME: undefined } });
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /error OPTION_INVALID {2}This user has no home folder.*[\s\S]*→ .*--cache-dir/);
  });

  if (process.getuid?.() === 0)
    it('may have a user id without an entry in passwd', { ...asOtherUser, ...slow }, async t => {
      const scene = await openScene(t);
      scene.push('a', '1.0.0');
      await scene.list({ a: '1.0.0' });
      await chmod(scene.dir, 0o777);
      const env = { HOME: undefined, XDG_CACHE_HOME: undefined, TMPDIR: undefined };
      for (const command of ['sync', 'check']) {
        const ran = await scene.run([command], { env, uid: 1_000_690_000 });
        assert.equal(ran.code, 0, ran.stderr);
        assert.match(ran.stderr, WARNING);
      }
    });
});
