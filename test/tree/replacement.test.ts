import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { declareReplacement, type Intent } from '../../tree/publish/replacement.ts';
import { completeStaged } from '../../tree/publish/staging.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import { times } from '../support/slow.ts';
import { publish, requireWhole, type Sample, sample, temporary } from './fixture.ts';

const OLD = sample('p', '1.0.0', { seed: 'old', files: { 'spec.yaml': 'old', 'README.md': 'old' } });
const NEW = sample('p', '1.0.0', {
  seed: 'new',
  files: { 'spec.yaml': 'new', 'icon.png': 'new' },
  created: '2025-01-01T00:00:00Z',
});

interface Killed {
  readonly tree: string;
  readonly staging: string;
  readonly intent: Intent;
}

/** The tree of a run that was killed after `renames` renames of a replacement. */
async function killedAfter(t: TestContext, renames: number, inside: boolean): Promise<Killed> {
  const tree = join(await temporary(t), 'tree');
  await publishOnly(tree, OLD);
  const staging = inside ? join(tree, '.staging') : join(tree, '../.tree.staging');
  const stagedDir = join(staging, 'version-1');
  await mkdir(stagedDir, { recursive: true });
  for (const [file, bytes] of NEW.contents) await writeFile(join(stagedDir, file), bytes);
  const files = (await completeStaged(stagedDir, NEW.metadata)).map(file => file.name);
  const { name, version, created } = NEW.metadata;
  const intent = await declareReplacement(tree, staging, {
    name,
    version,
    created,
    stagedDir,
    files,
    stale: ['README.md'],
  });
  for (const file of intent.files.slice(0, renames)) await rename(join(stagedDir, file), join(tree, 'p/1.0.0', file));
  return { tree, staging, intent };
}

async function publishOnly(tree: string, one: Sample): Promise<void> {
  const publishing = await openPublishingTree(tree);
  await publish(publishing, one);
  await publishing.close();
}

test('a replacement that was killed after any of its steps is completed by the next run', async t => {
  for (const inside of [true, false]) {
    for (let renames = 0; renames <= 6; renames++) {
      const { tree, intent } = await killedAfter(t, renames, inside);
      assert.equal(intent.files.length, 6);
      assert.deepEqual([intent.files[0], intent.files[5]], ['plugin.wasm', 'metadata.json']);
      const publishing = await openPublishingTree(tree);
      assert.deepEqual(publishing.recovered, [{ name: 'p', version: '1.0.0' }]);
      await publishing.close();
      assert.deepEqual(await inspectVersion(tree, 'p', '1.0.0'), { state: 'sound', metadata: NEW.metadata });
      assert.equal((await readdir(join(tree, 'p/1.0.0'))).includes('README.md'), false);
      assert.deepEqual(await readdir(tree), ['p']);
      assert.deepEqual(await readdir(join(tree, '..')), ['tree']);
    }
  }
});

test('an intent that is outdated or invalid is dropped with its staging folder', async t => {
  const later = sample('p', '1.0.0', { seed: 'later' });
  const overtaken = await killedAfter(t, 0, false);
  await rename(overtaken.staging, `${overtaken.staging}.away`);
  await publishOnly(overtaken.tree, later);
  await rename(`${overtaken.staging}.away`, overtaken.staging);
  const removed = await killedAfter(t, 0, false);
  await rm(join(removed.tree, 'p'), { recursive: true });
  const torn = await killedAfter(t, 0, false);
  await writeFile(join(torn.staging, 'version-1.intent.json'), '{"name":"p"');
  const hostile = await killedAfter(t, 0, false);
  const leading = { ...hostile.intent, files: ['../../../escaped'] };
  await writeFile(join(hostile.staging, 'version-1.intent.json'), JSON.stringify(leading));
  for (const { tree } of [overtaken, removed, torn, hostile]) {
    const publishing = await openPublishingTree(tree);
    assert.deepEqual(publishing.recovered, []);
    await publishing.close();
    assert.deepEqual(await readdir(join(tree, '..')), ['tree']);
  }
  assert.deepEqual(await inspectVersion(overtaken.tree, 'p', '1.0.0'), { state: 'sound', metadata: later.metadata });
  assert.deepEqual(await readdir(removed.tree), []);
  assert.deepEqual(await inspectVersion(torn.tree, 'p', '1.0.0'), { state: 'sound', metadata: OLD.metadata });
  assert.deepEqual(await inspectVersion(hostile.tree, 'p', '1.0.0'), { state: 'sound', metadata: OLD.metadata });
});

test('readers see the old module or the new one, never none and never a mixture', async t => {
  const dir = await temporary(t);
  const publishing = await openPublishingTree(dir);
  await publish(publishing, sample('p', '1.0.0', { seed: 'first', sizeBytes: 50_000 }));
  let ended = false;
  let reads = 0;
  const reader = async (): Promise<void> => {
    while (!ended) {
      requireWhole(await readFile(join(dir, 'p/1.0.0/plugin.wasm')));
      reads += 1;
    }
  };
  const readers = [reader(), reader(), reader()];
  try {
    for (let round = 0; round < times(15, 50); round++)
      await publish(publishing, sample('p', '1.0.0', { seed: `round ${round}`, sizeBytes: 50_000 + round }));
  } finally {
    ended = true;
    await Promise.all(readers);
    await publishing.close();
  }
  assert.ok(reads > 50, `${reads} reads`);
});
