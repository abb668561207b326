import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RegistryDigestMismatch } from '../../registry/errors.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { status, wrongDigest } from '../support/faults.ts';
import { imageFormC } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const image = imageFormC({ wasm: buildModule() });
const WRONG = `sha256:${'5'.repeat(64)}`;

async function start(context: TestContext): Promise<TestRegistry> {
  const server = await startRegistry();
  context.after(() => server.close());
  server.push('plugins/a', '1', image);
  return server;
}

async function open(context: TestContext, server: TestRegistry, options: RegistryOptions = {}) {
  const registry = await openRegistry({ retries: 0, ...options });
  context.after(() => registry.close());
  return { registry, reference: { registry: server.host, repository: 'plugins/a', tag: '1' } };
}

test('if the digest in a reply to HEAD does not exist, the manifest is read by its tag', async context => {
  const server = await start(context);
  server.script({ kind: 'manifest', method: 'HEAD', fault: wrongDigest(WRONG) });
  const { registry, reference } = await open(context, server);
  assert.equal(await registry.resolve(reference), WRONG);
  const found = await registry.fetchImage(reference);
  assert.equal(found.digest, image.digest);
  assert.equal(await registry.resolve(reference), image.digest, 'later callers hear the truth');
  assert.equal(server.count({ kind: 'manifest', method: 'HEAD' }), 1);
  assert.equal(server.count({ kind: 'manifest', method: 'GET' }), 2);
});

test('so it is if the digest has other bytes, and if all hosts lack it', async context => {
  const [server, mirror] = [await start(context), await start(context)];
  const lying = { kind: 'manifest', method: 'HEAD', fault: wrongDigest(WRONG) } as const;
  const served = {
    kind: 'manifest',
    method: 'GET',
    path: /5555$/,
    fault: status(200, { body: '{"layers":[]}' }),
  } as const;
  server.script([lying, served]);
  mirror.script(lying);
  for (const options of [{}, { mirrors: { [server.host]: [mirror.host] } }]) {
    const { registry, reference } = await open(context, server, options);
    assert.equal(await registry.resolve(reference), WRONG);
    assert.equal((await registry.fetchImage(reference)).digest, image.digest);
  }
});

test('a registry whose GET is wrong, too, is not believed', async context => {
  const server = await start(context);
  server.script({ kind: 'manifest', fault: wrongDigest(WRONG) });
  const { registry, reference } = await open(context, server);
  await registry.resolve(reference);
  await assert.rejects(registry.fetchImage(reference), RegistryDigestMismatch);
});

test('a pinned digest is never given up for the tag', async context => {
  const server = await start(context);
  const { registry, reference } = await open(context, server);
  await registry.resolve(reference);
  await assert.rejects(registry.fetchImage({ ...reference, digest: WRONG as typeof image.digest }));
  assert.equal(server.count({ method: 'GET', path: '/manifests/1' }), 0);
});
