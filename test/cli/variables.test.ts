import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { list } from '../../cli/options/environment.ts';
import { warnOfUnknownVariables } from '../../cli/options/usageErrors.ts';
import { buildProgram } from '../../cli/program.ts';
import { openScene } from '../support/cli.ts';

const KUBERNETES = {
  PLUGIN_MIRROR_PORT: 'tcp://10.0.0.1:80',
  PLUGIN_MIRROR_PORT_80_TCP: 'tcp://10.0.0.1:80',
  PLUGIN_MIRROR_PORT_80_TCP_ADDR: '10.0.0.1',
  PLUGIN_MIRROR_PORT_80_TCP_PORT: '80',
  PLUGIN_MIRROR_PORT_80_TCP_PROTO: 'tcp',
  PLUGIN_MIRROR_SERVICE_HOST: '10.0.0.1',
  PLUGIN_MIRROR_SERVICE_PORT: '80',
  PLUGIN_MIRROR_SERVICE_PORT_HTTP: '80',
  PLUGIN_MIRROR_A_PORT: 'tcp://10.0.0.2:80',
  PLUGIN_MIRROR_A_SERVICE_HOST: '10.0.0.2',
};

describe('variables of the environment', { concurrency: 2 }, () => {
  it('that are lists are split at commas and spaces outside of braces, in linear time', () => {
    for (const [text, parts] of [
      ['a,b  c,\n d', ['a', 'b', 'c', 'd']],
      ['{a,b}-x, !{c d}', ['{a,b}-x', '!{c d}']],
      ['{a, b', ['{a', 'b']],
      ['a, b}', ['a, b}']],
      ['{a,{b,c}}, d', ['{a', '{b,c}}', 'd']],
      [',,a,', ['a']],
    ] as const)
      assert.deepEqual(list(text, ['x']), ['x', ...parts], text);
    const began = performance.now();
    list(`${'; '.repeat(500_000)}{`, undefined);
    assert.ok(performance.now() - began < 2000);
  });
  it('that are unknown are reported if they resemble a known one', async () => {
    const near = async (env: Record<string, string>) => {
      const lines: string[] = [];
      await warnOfUnknownVariables(buildProgram('0'), env, line => lines.push(line));
      return lines.map(line => /^warning: \S+ is not known; did you mean (\S+)\?$/.exec(line)?.[1]);
    };
    for (const [slip, meant] of [
      ['CONCURENCY', 'CONCURRENCY'],
      ['concurrency', 'CONCURRENCY'],
      ['TIMEOUTS', 'TIMEOUT'],
      ['CACHEDIR', 'CACHE_DIR'],
      ['PASWORD', 'PASSWORD'],
      ['AUTH_TOKENS', 'AUTH_TOKEN'],
      ['MAX_DOWNLOAD', 'MAX_DOWNLOADS'],
    ])
      assert.deepEqual(await near({ [`PLUGIN_MIRROR_${slip}`]: 'x' }), [`PLUGIN_MIRROR_${meant}`], slip);
    const own = {
      PLUGIN_MIRROR_VERSION: '1',
      PLUGIN_MIRROR_HOME: '/x',
      PLUGIN_MIRROR_X: 'x',
      PLUGIN_MIRROR_: '',
      OTHER: '',
    };
    assert.deepEqual(await near({ ...own, ...KUBERNETES, PLUGIN_MIRROR_URL: 'http://mirror/' }), []);
    const secrets = { PLUGIN_MIRROR_PASSWORD: 'x', PLUGIN_MIRROR_AUTH_TOKEN: 'x', PLUGIN_MIRROR_AUTH_PASSWORD: 'x' };
    assert.deepEqual(await near({ ...secrets, PLUGIN_MIRROR_TREE: 'x', PLUGIN_MIRROR_RETRIES: '1' }), []);
  });

  it('are reported on stderr, once, without their values, and stdout stays JSON', async t => {
    const scene = await openScene(t);
    await scene.write('plugins/index.json', '');
    const env = { PLUGIN_MIRROR_PASWORD: 'hunter2', PLUGIN_MIRROR_FROMAT: 'json' };
    const listed = await scene.run(['cache', 'ls'], { env });
    assert.equal(listed.code, 0);
    assert.deepEqual(listed.stderr.trimEnd().split('\n'), [
      'warning: PLUGIN_MIRROR_PASWORD is not known; did you mean PLUGIN_MIRROR_PASSWORD?',
      'warning: PLUGIN_MIRROR_FROMAT is not known; did you mean PLUGIN_MIRROR_FORMAT?',
    ]);
    const configured = await scene.run(['serve', '--print-config'], { env: { ...env, ...KUBERNETES } });
    assert.equal(configured.code, 0, configured.stderr);
    assert.equal((JSON.parse(configured.stdout) as { port: number }).port, 8080, 'what Kubernetes sets is no port');
    assert.equal(configured.stderr.split('warning').length, 3);
    assert.doesNotMatch(configured.stdout + configured.stderr, /hunter2/);
  });
});
