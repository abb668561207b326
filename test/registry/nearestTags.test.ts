import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RegistryNotFound, RegistryRefusal } from '../../registry/errors.ts';
import { nearestTags } from '../../registry/images/nearestTags.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { status } from '../support/faults.ts';
import { imageFormC } from '../support/images.ts';
import { LONGEST_TURN_MS, longestTurn } from '../support/longestTurn.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { slow } from '../support/slow.ts';

const image = imageFormC({ wasm: buildModule() });

test('at most three similar tags are named, each once, without signatures', async () => {
  for (const [wanted, tags, expected] of [
    ['1.0.1', ['1.0.0', '1.1.0', '2.0.0', '9.9.9'], ['1.0.0', '1.1.0', '2.0.0']],
    ['v1.2.3', ['1.2.3', '1.2', 'latest'], ['1.2.3', '1.2', 'latest']],
    ['Latest', ['latest', 'latest', 'stable'], ['latest', 'stable']],
    ['1.0.0', ['1.0.9', '1.0.10', '1.0.8'], ['1.0.10', '1.0.9', '1.0.8']],
    ['1', [`sha256-${'a'.repeat(64)}.sig`, `sha256-${'a'.repeat(64)}`], []],
    ['1', [], []],
  ] as const)
    assert.deepEqual(await nearestTags(wanted, tags), expected, wanted);
});

test('of a hundred thousand tags the nearest are named', async () => {
  const many = Array.from({ length: 99_990 }, (_, at) => `${at}.${'x'.repeat(120)}`);
  const tags = [...many, '1.0.2', ...many, '1.0.10', '1.0.3'];
  assert.deepEqual(await nearestTags('1.0.1', tags), ['1.0.10', '1.0.3', '1.0.2']);
});

test('timers and signals are served while a hundred thousand long tags are compared', slow, async () => {
  const wanted = `${'y'.repeat(60)}.${'x'.repeat(67)}`;
  const tags = Array.from({ length: 100_000 }, (_, at) => `${at}.${'x'.repeat(127)}`.slice(0, 128));
  const turn = await longestTurn(() => nearestTags(wanted, tags));
  assert.ok(turn <= LONGEST_TURN_MS, `${turn} ms`);
});

async function start(context: TestContext): Promise<TestRegistry> {
  const server = await startRegistry();
  context.after(() => server.close());
  server.push('plugins/a', '1.0.0', image);
  return server;
}

async function refusal(
  context: TestContext,
  server: TestRegistry,
  options: RegistryOptions = {},
  repository = 'plugins/a',
) {
  const registry = await openRegistry({ retries: 0, ...options });
  context.after(() => registry.close());
  const reference = { registry: server.host, repository, tag: '1.0.1' };
  const ask = [registry.resolve(reference), registry.fetchImage(reference)];
  const [error, again] = await Promise.all(
    ask.map(it =>
      it.then(
        () => undefined,
        (fault: unknown) => fault,
      ),
    ),
  );
  assert.ok(error instanceof RegistryRefusal && again instanceof RegistryRefusal);
  assert.equal(again.message, error.message);
  return error;
}

test('the error for a missing tag names similar tags', async context => {
  const server = await start(context);
  const error = await refusal(context, server);
  assert.ok(error instanceof RegistryNotFound);
  assert.equal(error.missing, 'manifest');
  assert.match(error.hint, /did you mean 1\.0\.0\?/);
  assert.equal(error.status, 404);
});

test('if the tags cannot be listed, the 404 is unchanged', async context => {
  const server = await start(context);
  for (const code of [403, 500, 404]) {
    server.script({ kind: 'tags', fault: status(code) });
    const error = await refusal(context, server);
    assert.ok(error instanceof RegistryNotFound);
    assert.equal(error.status, 404);
  }
});

test('a missing repository is reported as such, and its tags are not listed', async context => {
  const server = await start(context);
  const error = await refusal(context, server, {}, 'plugins/none');
  assert.ok(error instanceof RegistryNotFound);
  assert.equal(error.missing, 'repository');
  assert.equal(server.count('tags'), 0);
});

test('for a registry with one 404 for both, the tag list shows which is missing', async context => {
  const server = await start(context);
  server.script({ kind: 'manifest', fault: status(404) });
  const error = await refusal(context, server, {}, 'plugins/none');
  assert.ok(error instanceof RegistryNotFound);
  assert.equal(error.missing, 'repository');
});

test('the tags of a mirror without the image are not listed', async context => {
  const [server, mirror] = [await start(context), await start(context)];
  const error = await refusal(context, server, { mirrors: { [server.host]: [mirror.host] } });
  assert.match(error.hint, /did you mean 1\.0\.0\?/);
  assert.deepEqual([mirror.count('tags'), server.count('tags') > 0], [0, true]);
});

test('an existing tag costs no further request', async context => {
  const server = await start(context);
  const registry = await openRegistry({});
  context.after(() => registry.close());
  await registry.fetchImage({ registry: server.host, repository: 'plugins/a', tag: '1.0.0' });
  assert.equal(server.count(), 1);
});
