import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readCatalog } from '../../tree/catalog.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import { slow } from '../support/slow.ts';
import { requireWhole, temporary } from './fixture.ts';
import { startWriter } from './writerProcess.ts';

const ROUNDS = process.env.PLUGIN_MIRROR_TEST_PEERS === '1' ? 100 : 20;

test('a kill at any moment leaves every plugin.wasm complete, and the next run repairs the rest', slow, async t => {
  const dir = await temporary(t);
  const recovered = { replacements: 0 };
  const rounds = async (treeDir: string): Promise<void> => {
    for (let round = 0; round < ROUNDS; round++) {
      const writer = await startWriter(treeDir);
      assert.equal(writer.said, 'open');
      // The kill has to hit the loop at a different point each time; no assertion depends on the time.
      await delay(Math.random() * 40);
      await writer.kill();
      const versions = await readdir(join(treeDir, 'p')).catch(() => []);
      for (const version of versions) requireWhole(await readFile(join(treeDir, 'p', version, 'plugin.wasm')));
      for (const version of versions.filter(text => text !== '1.0.0'))
        assert.equal((await inspectVersion(treeDir, 'p', version)).state, 'sound', `${version} after the kill`);
      await readCatalog(treeDir);
      const publishing = await openPublishingTree(treeDir);
      recovered.replacements += publishing.recovered.length;
      await publishing.close();
      for (const version of versions)
        assert.deepEqual((await inspectVersion(treeDir, 'p', version)).state, 'sound', version);
      assert.deepEqual(
        (await readdir(treeDir)).filter(entry => entry.startsWith('.')),
        [],
      );
    }
  };
  await Promise.all([rounds(join(dir, 'first')), rounds(join(dir, 'second'))]);
  assert.deepEqual(
    (await readdir(dir)).filter(entry => entry.startsWith('.')),
    [],
  );
  t.diagnostic(`${2 * ROUNDS} kills, ${recovered.replacements} replacements completed by the next run`);
});
