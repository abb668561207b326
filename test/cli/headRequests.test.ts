import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openScene, parsed } from '../support/cli.ts';
import { captivePortal, finish, hang, headers, redirectChain, reset, status, wrongDigest } from '../support/faults.ts';
import type { FaultRule } from '../support/script.ts';
import { sample, slow } from '../support/slow.ts';

const NOWHERE = `sha256:${'7'.repeat(64)}`;

/** What a registry may do to HEAD alone, so that only GET tells. */
const ODD: Readonly<Record<string, Omit<FaultRule, 'kind' | 'method'>>> = {
  'not-allowed': { fault: status(405) },
  'not-there': { fault: status(404) },
  'not-implemented': { fault: status(501) },
  'error-500': { fault: status(500) },
  'bad-request': { fault: status(400) },
  unauthorized: { fault: status(401) },
  forbidden: { fault: status(403) },
  'no-digest': { fault: headers({ 'docker-content-digest': null }) },
  'no-real-digest': { fault: wrongDigest('sha256:short') },
  'wrong-digest': { fault: wrongDigest(NOWHERE) },
  'wrong-digest-once': { first: 1, fault: wrongDigest(NOWHERE) },
  portal: { fault: captivePortal() },
  'reset-once': { first: 1, fault: reset() },
  'closed-once': { first: 1, fault: finish() },
  'silent-once': { first: 1, fault: hang() },
  'busy-once': { first: 1, fault: status(503, { retryAfter: 0 }) },
  redirected: { fault: redirectChain(2) },
};

it('sync keeps unchanged versions and downloads no blob, whatever HEAD returns', slow, async t => {
  const scene = await openScene(t);
  const names = Object.keys(ODD);
  for (const name of names) scene.push(name, '1');
  await scene.list(Object.fromEntries(names.map(name => [name, '1'])));
  assert.equal((await scene.sync('--no-lock')).code, 0);
  scene.registry.reset();
  scene.registry.script(
    Object.entries(ODD).map(([name, rule]) => ({
      ...rule,
      kind: 'manifest',
      method: 'HEAD',
      path: new RegExp(`/${name}/`),
    })),
  );
  const { ran, report } = await scene.report('--no-lock', '--timeout', '3', '--retries', '2');
  assert.deepEqual(
    report.plugins.map(({ name, status: how, error }) => [name, how, error?.code]),
    names.map(name => [name, 'kept', undefined]),
    ran.stderr,
  );
  assert.equal(ran.code, 0);
  assert.equal(scene.registry.count('blob'), 0);
  assert.ok(scene.registry.count() <= names.length * 5, `${scene.registry.count()} requests`);
});

it('check reports a login page as unreachable, and a HEAD without a digest as unknown', async t => {
  const scene = await openScene(t);
  scene.push('a', '1');
  await scene.list({ a: '1' });
  assert.equal((await scene.sync()).code, 0);
  const check = async () => {
    const ran = await scene.run(['check', '--format', 'json', '--retries', '0']);
    const { findings } = parsed<{ findings: { kind: string; error?: { code: string } }[] }>(ran);
    return [ran.code, ...findings.map(({ kind, error }) => `${kind} ${error?.code}`)];
  };
  scene.registry.script({ kind: 'manifest', method: 'HEAD', fault: headers({ 'docker-content-digest': null }) });
  assert.deepEqual(await check(), [0, 'untold undefined']);
  scene.registry.reset();
  scene.registry.script({ kind: 'manifest', method: 'HEAD', fault: captivePortal() });
  assert.deepEqual(await check(), [3, 'unreachable REGISTRY_PROTOCOL']);
});

it('a HEAD with a digest that does not exist changes nothing and is no drift', async t => {
  const scene = await openScene(t);
  scene.push('a', '1.0.0');
  await scene.list({ a: '1.0.0' });
  assert.equal((await scene.sync()).code, 0);
  const lock = await scene.read('manifest.lock.json');
  scene.registry.script({ kind: 'manifest', method: 'HEAD', fault: wrongDigest(`sha256:${'5'.repeat(64)}`) });
  for (const args of sample([[], ['--update'], ['--no-lock']])) {
    scene.registry.reset();
    const { ran, report } = await scene.report(...args);
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual([report.plugins[0]?.status, report.drift.length], ['kept', 0], `${args}`);
    assert.equal(scene.registry.count({ method: 'HEAD' }), 1);
    assert.equal(scene.registry.bytesServed('blob'), 0);
  }
  assert.equal(await scene.read('manifest.lock.json'), lock);
});
