import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readHigress } from '../../cli/serve/higress.ts';
import { ask, serve } from './client.ts';
import { makeTree, wasm } from './tree.ts';

test('a 404 names similar plugins, or the number of plugins and their list', async t => {
  const tree = await makeTree(
    t,
    ['ai-proxy', 'cors', 'waf'].map(name => ({ name, version: '1.0.0', bytes: wasm(100) })),
  );
  const { port } = await serve(t, tree);
  const get = async (path: string, accept = 'text/plain') => {
    const answer = await ask(port, path, { headers: [`Accept: ${accept}`] });
    assert.equal(answer.status, 404);
    return answer.body.toString();
  };
  assert.equal(
    await get('/plugins/ai-proxi/1.0.0/plugin.wasm'),
    `There is no plugin "ai-proxi" here.\nai-proxy 1.0.0 is here:\n  http://mirror.test/plugins/ai-proxy/1.0.0/plugin.wasm\nDid you mean ai-proxy?\n`,
  );
  const none = 'There is no plugin "oauth" here.\nThere are 3 plugins here; /plugins/ lists them.\n';
  assert.equal(await get('/plugins/oauth/1.0.0/plugin.wasm'), none);
  assert.match(await get('/favicon.ico'), /There are 3 plugins here; \/plugins\/ lists them\.\n$/);
  const error = async (path: string) => JSON.parse(await get(path, 'application/json')).error as unknown;
  assert.deepEqual(await error('/plugins/proxy/1/plugin.wasm'), {
    code: 'NOT_FOUND',
    message: 'There is no plugin "proxy" here.',
    nearest: ['ai-proxy'],
  });
  assert.deepEqual(await error('/plugins/oauth/1/plugin.wasm'), {
    code: 'NOT_FOUND',
    message: 'There is no plugin "oauth" here.',
    pluginCount: 3,
  });
});

test('a 404 for scripts has the line of manifest.json that adds the version, and what requests it', async t => {
  const tree = await makeTree(t, [{ name: 'ai-proxy', version: '2.0.1', bytes: wasm(100) }]);
  const { port } = await serve(t, tree, { readHigress });
  const path = '/plugins/ai-proxy/2.0.3/plugin.wasm';
  assert.equal(
    (await ask(port, path)).body.toString(),
    `There is no version "2.0.3" of ai-proxy here.
The nearest version here is 2.0.1:
  http://mirror.test/plugins/ai-proxy/2.0.1/plugin.wasm
Versions: 2.0.1
Requested by Higress Console 2.2.5.
In manifest.json, under "plugins"; then run sync:
  "ai-proxy": ["2.0.1", "2.0.3"]
`,
  );
  const json = JSON.parse((await ask(port, path, { headers: ['Accept: application/json'] })).body.toString());
  assert.deepEqual(json.error.requestedBy, ['Higress Console 2.2.5']);
  assert.equal(json.error.manifestLines.length, 1);
});

test('a 404 offers the version that exists, first the same one in other words, then the nearest', async t => {
  const versions = ['2.0.2', '2.0.3', '2.0.8'].map(version => ({ name: 'cors', version, bytes: wasm(100) }));
  const docs = { name: 'cors', version: '2.1.0', bytes: wasm(100), files: { 'spec.yaml': Buffer.from('a: 1\n') } };
  const { port } = await serve(t, await makeTree(t, [...versions, docs]), { readHigress, basePath: '/m' });
  const text = async (path: string) => (await ask(port, `/m/plugins/cors/${path}`)).body.toString().split('\n');
  const url = 'http://mirror.test/m/plugins/cors';
  const same = await text('v2.0.3/plugin.wasm');
  assert.deepEqual(same.slice(0, 3), [
    'There is no version "v2.0.3" of cors here.',
    'The same version is here as 2.0.3:',
    `  ${url}/2.0.3/plugin.wasm`,
  ]);
  assert.deepEqual(same.slice(-3), [
    'In manifest.json, under "plugins"; then run sync:',
    '  "cors": { "versions": ["2.1.0", "2.0.8", "2.0.3", "2.0.2"], "aliases": { "v2.0.3": "2.0.3" } }',
    '',
  ]);
  const near = await text('2.0.9/plugin.wasm');
  assert.deepEqual(near.slice(1, 3), ['The nearest version here is 2.0.8:', `  ${url}/2.0.8/plugin.wasm`]);
  assert.ok(near.some(line => /^ {2}"cors": \[.*"2\.0\.9".*\]$/.test(line)));
  assert.equal((await text('2.2.0/spec.yaml'))[2], `  ${url}/2.1.0/spec.yaml`, 'the same file of that version');
  const json = await ask(port, '/m/plugins/cors/2.0.9/plugin.wasm', { headers: ['Accept: application/json'] });
  const { error } = JSON.parse(json.body.toString());
  assert.deepEqual([error.nearestVersion, error.nearestUrl], ['2.0.8', `${url}/2.0.8/plugin.wasm`]);
  const browser = await ask(port, '/m/plugins/cors/v2.0.3/plugin.wasm', {
    headers: ['Accept: text/html', 'Accept-Language: zh'],
  });
  const page = browser.body.toString();
  assert.match(page, /该版本在此处写作 2\.0\.3：/);
  assert.ok(page.indexOf(`<code>${url}/2.0.3/plugin.wasm</code>`) < page.indexOf('manifest.json'));
  const status = JSON.parse((await ask(port, '/m/status.json')).body.toString());
  const reasons = status.missing.map(({ path, reason }: { path: string; reason: { nearestPath?: string } }) => [
    path,
    reason.nearestPath,
  ]);
  assert.deepEqual(
    Object.fromEntries(reasons)['/m/plugins/cors/v2.0.3/plugin.wasm'],
    '/plugins/cors/2.0.3/plugin.wasm',
  );
  assert.ok((await ask(port, '/m/status')).body.toString().includes(`<code>${url}/2.0.8/plugin.wasm</code>`));
});
