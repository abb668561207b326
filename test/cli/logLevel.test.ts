import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { requestLine } from '../../cli/options/registryOptions.ts';
import { openScene, type Ran } from '../support/cli.ts';
import { sample } from '../support/slow.ts';

const LINE =
  /^debug (?:GET|HEAD|POST) (?:127\.0\.0\.1|localhost):\d+\/\S* (?:\d{3}, \d+ bytes|failed: .+), \d+ ms(?:, attempt \d+)?$/;

function requestsIn({ stderr }: Ran): string[] {
  return stderr.split('\n').filter(line => line.startsWith('debug '));
}

describe('--log-level debug', { concurrency: 2 }, () => {
  it('prints one line for each request of sync on stderr, without secrets', async t => {
    const scene = await openScene(t, {
      auth: { kind: 'bearer', user: 'ann', password: 'hunter2' },
      blobRedirect: 'cross-origin',
    });
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const env = { PLUGIN_MIRROR_USERNAME: 'ann', PLUGIN_MIRROR_PASSWORD: 'hunter2' };
    const ran = await scene.run(['sync', '--log-level', 'debug', '--format', 'json'], { env });
    assert.equal(ran.code, 0, ran.stderr);
    const lines = requestsIn(ran);
    for (const line of lines) assert.match(line, LINE);
    assert.equal(lines.length, scene.registry.count(), lines.join('\n'));
    for (const part of [
      '/v2/plugins/a/manifests/1.0.0 401',
      '/v2/plugins/a/manifests/1.0.0 200',
      '/v2/plugins/a/blobs/',
    ])
      assert.ok(
        lines.some(line => line.includes(part)),
        `${part} in ${lines.join('\n')}`,
      );
    assert.doesNotMatch(ran.stderr, /hunter2|\?|[Tt]oken=|Bearer/);
    assert.doesNotThrow(() => JSON.parse(ran.stdout));
  });

  it('does so for check, outdated and doctor, and no other level does', async t => {
    const scene = await openScene(t);
    scene.push('a', '1.0.0');
    await scene.list({ a: '1.0.0' });
    const silent = await scene.sync('--log-level', 'warn');
    assert.deepEqual([silent.code, requestsIn(silent)], [0, []]);
    for (const command of sample(['check', 'outdated', 'doctor'])) {
      const ran = await scene.run([command], { env: { PLUGIN_MIRROR_LOG_LEVEL: 'debug' } });
      assert.equal(ran.code, 0, ran.stderr);
      assert.ok(requestsIn(ran).length > 0, command);
      for (const line of requestsIn(ran)) assert.match(line, LINE);
    }
  });

  it('shows why a request failed, and which attempt it was', () => {
    const request = { method: 'GET', host: 'r.io', path: '/v2/', bytes: 0, ms: 5 };
    assert.equal(
      requestLine({ ...request, error: 'ECONNREFUSED', attempt: 2 }),
      'debug GET r.io/v2/ failed: ECONNREFUSED, 5 ms, attempt 2',
    );
    assert.equal(requestLine({ ...request, attempt: 1 }), 'debug GET r.io/v2/ no status, 0 bytes, 5 ms');
  });
});
