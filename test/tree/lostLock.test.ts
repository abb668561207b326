import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { auditTree } from '../../tree/auditTree.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { code, publish, sample, temporary } from './fixture.ts';

test('a writer that lost the lock harms nothing that the next one stages or publishes', async t => {
  const dir = await temporary(t);
  const tree = join(dir, 'tree');
  const before = sample('a', '1.0.0', { seed: 'before' });
  const first = await openPublishingTree(tree);
  await publish(first, before);
  await first.writeCatalog([{ metadata: before.metadata, pinned: false }]);
  const staged = await first.stage();
  const half = await first.stageCopy(before.metadata);
  // As if the first writer had been suspended for longer than its lock stays valid.
  await rm(join(tree, '.lock'));
  const second = await openPublishingTree(tree);
  const after = sample('a', '1.0.0', { seed: 'after' });
  const stagedBySecond = await second.stage();
  for (const [file, bytes] of after.contents) await writeFile(join(stagedBySecond.dir, file), bytes);
  await assert.rejects(writeFile(join(staged.dir, 'plugin.wasm'), 'late'), { code: 'ENOENT' });
  await assert.rejects(first.requireLock(), code('TREE_LOCK_LOST'));
  await assert.rejects(first.publish(half, before.metadata), code('TREE_LOCK_LOST'));
  await assert.rejects(first.stage(), code('TREE_LOCK_LOST'));
  await assert.rejects(first.publishAlias(before.metadata, 'stable'), code('TREE_LOCK_LOST'));
  await assert.rejects(first.remove('a', '1.0.0'), code('TREE_LOCK_LOST'));
  await assert.rejects(first.writeCatalog([]), code('TREE_LOCK_LOST'));
  await first.close();
  await second.publish(stagedBySecond, after.metadata);
  await second.writeCatalog([{ metadata: after.metadata, pinned: false }]);
  await second.close();
  assert.equal((await auditTree(tree)).sound, true);
  assert.ok(
    (await readFile(join(tree, 'a/1.0.0/plugin.wasm'))).equals(after.contents.get('plugin.wasm') ?? Buffer.alloc(0)),
  );
  assert.deepEqual((await readdir(dir)).sort(), ['tree']);
  assert.deepEqual((await readdir(tree)).sort(), ['a', 'index.json', 'snapshot-inventory.json']);
});

test('a writer that never staged before it lost the lock leaves nothing behind', async t => {
  const tree = join(await temporary(t), 'tree');
  const first = await openPublishingTree(tree);
  await rm(join(tree, '.lock'));
  const second = await openPublishingTree(tree);
  const staged = await second.stage();
  const late = await first.stage();
  await first.discard(late);
  await first.close();
  await writeFile(join(staged.dir, 'plugin.wasm'), 'x');
  await second.discard(staged);
  await second.close();
  assert.deepEqual(await readdir(tree), []);
});
