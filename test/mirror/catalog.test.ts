import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readLockedVersions } from '../../mirror/lockfile/lockedVersions.ts';
import { parsePluginManifest } from '../../mirror/manifest/readManifest.ts';
import { limitsOf, type SyncJob, selectVersions } from '../../mirror/plan/job.ts';
import { planSync } from '../../mirror/plan/planSync.ts';
import { Session } from '../../mirror/session.ts';
import { sync } from '../../mirror/sync/sync.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { code, publish, sample, temporary } from '../tree/fixture.ts';

test('no run overwrites the catalog of a later version, one that was stopped included', async t => {
  const tree = await temporary(t);
  const publishing = await openPublishingTree(tree);
  await publish(publishing, sample('a', '1'));
  const index = join(tree, 'index.json');
  const newer = '{"schemaVersion":2}';
  await writeFile(index, newer);
  const text = JSON.stringify({ registry: '127.0.0.1:1', plugins: { a: '1' } });
  const manifest = await parsePluginManifest(text, { file: join(tree, '..', 'manifest.json') });
  const job: SyncJob = {
    manifest,
    selection: selectVersions(manifest),
    lockfile: { path: join(tree, '..', 'manifest.lock.json'), mode: 'off', update: false },
    tree: { dir: tree, rehash: false, prune: false, codings: [], waitMs: 0 },
    limits: limitsOf(1),
  };
  const openRegistry = () => Promise.reject(new Error('no registry is asked'));
  for (const signal of [new AbortController().signal, AbortSignal.abort()]) {
    const session = new Session({ openRegistry, signal });
    const lockfile = await readLockedVersions(job, signal);
    await assert.rejects(planSync(job, lockfile, publishing, session), code('CATALOG_NEWER'));
    assert.equal(await readFile(index, 'utf8'), newer);
  }
  await publishing.close();
  const session = new Session({ openRegistry, signal: new AbortController().signal });
  await assert.rejects(sync(job, session), code('CATALOG_NEWER'));
  assert.equal(await readFile(index, 'utf8'), newer);
});
