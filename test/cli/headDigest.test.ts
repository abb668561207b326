import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openScene } from '../support/cli.ts';
import { wrongDigest } from '../support/faults.ts';

it('a registry whose HEAD names a digest that is nowhere changes nothing: what is published stays, no drift is told', async t => {
  const scene = await openScene(t);
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' });
  assert.equal((await scene.sync()).code, 0);
  const lock = await scene.read('manifest.lock.json');
  scene.registry.script({ kind: 'manifest', method: 'HEAD', fault: wrongDigest(`sha256:${'5'.repeat(64)}`) });
  for (const args of [[], ['--update'], ['--no-lock']]) {
    scene.registry.reset();
    const { ran, report } = await scene.report(...args);
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual([report.plugins[0]?.status, report.drift.length], ['kept', 0], `${args}`);
    assert.equal(scene.registry.count({ method: 'HEAD' }), 1);
    assert.equal(scene.registry.bytesServed('blob'), 0);
  }
  assert.equal(await scene.read('manifest.lock.json'), lock);
});
