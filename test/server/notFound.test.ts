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
    'There is no plugin "ai-proxi" here.\nDid you mean ai-proxy?\n',
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
