import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { settleCatalog } from '../../mirror/publish/publishCatalog.ts';
import { openPublishing } from '../../tree/publish/openPublisher.ts';
import { code, publish, sample, temporary } from '../tree/fixture.ts';

test('a run that was stopped before it looked at the catalog does not overwrite one of a later version', async t => {
  const tree = await temporary(t);
  const publishing = await openPublishing(tree);
  t.after(() => publishing.close());
  const metadata = await publish(publishing, sample('a', '1'));
  const index = join(tree, 'index.json');
  const newer = '{"schemaVersion":2}';
  await writeFile(index, newer);
  const options = {
    named: new Set(['a/1']),
    pinned: () => true,
    prune: false,
    inspect: false,
    failed: new Set<string>(),
    selected: () => true,
    signal: AbortSignal.abort(),
    onEvent: () => undefined,
  };
  for (const settled of [[], [metadata]]) {
    await assert.rejects(settleCatalog(publishing, { ...options, settled }), code('CATALOG_NEWER'));
    assert.equal(await readFile(index, 'utf8'), newer);
  }
});
