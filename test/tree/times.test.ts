import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { auditTree } from '../../tree/auditTree.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { fileTime, folderTime } from '../../tree/version/published.ts';
import { publish, type Sample, sample, temporary } from './fixture.ts';

test('the time of a file follows from its bytes, in whole even seconds of the past', () => {
  const times = new Set<number>();
  for (let index = 0; index < 2000; index++) {
    const sha256 = createHash('sha256').update(String(index)).digest('hex');
    const ms = fileTime(sha256).getTime();
    assert.equal(fileTime(sha256).getTime(), ms);
    assert.equal(ms % 2000, 0);
    assert.ok(ms >= Date.UTC(1981, 0, 1) && ms < Date.UTC(2021, 0, 1), String(ms));
    times.add(ms);
  }
  assert.equal(times.size, 2000);
  assert.equal(fileTime('0'.repeat(64)).toISOString(), '1981-01-01T00:00:00.000Z');
  assert.equal(folderTime('2025-03-04T05:06:07.891Z').toISOString(), '2025-03-04T05:06:06.000Z');
});

const EQUAL_SIZES: readonly [what: string, created: readonly (string | undefined)[]][] = [
  ['without a creation time', [undefined, undefined]],
  ['with one creation time', ['2026-05-01T00:00:00Z', '2026-05-01T00:00:00Z']],
  ['with two creation times', ['2026-05-01T00:00:00Z', '2026-05-02T00:00:00Z']],
];

for (const [what, created] of EQUAL_SIZES) {
  test(`a tool that compares sizes and times carries every changed file: images ${what}`, async t => {
    const dir = await temporary(t);
    const [before, after] = created.map((time, index) =>
      sample('ai-proxy', '1.0.0', {
        seed: `seed ${index}`,
        files: { 'README.md': `text ${index}`, 'plugin.wasm.gz': `form ${index}` },
        ...(time === undefined ? {} : { created: time }),
      }),
    );
    assert.ok(before !== undefined && after !== undefined);
    await write(join(dir, 'tree'), before);
    // A second tree of the same builder has other bytes under the same paths.
    await write(join(dir, 'other'), after);
    await carry(join(dir, 'tree'), join(dir, 'carried'));
    await carry(join(dir, 'other'), join(dir, 'builder'));
    await carry(join(dir, 'tree'), join(dir, 'builder'));
    assert.equal((await auditTree(join(dir, 'builder'))).sound, true, 'after another tree');
    await write(join(dir, 'tree'), after);
    await carry(join(dir, 'tree'), join(dir, 'carried'));
    const audit = await auditTree(join(dir, 'carried'));
    assert.deepEqual([audit.damaged, audit.missing], [[], []]);
    assert.equal(audit.tree, (await auditTree(join(dir, 'tree'))).tree);
  });
}

async function write(treeDir: string, { metadata, contents }: Sample): Promise<void> {
  const publishing = await openPublishingTree(treeDir);
  await publish(publishing, { metadata, contents });
  const alias = await publishing.publishAlias(metadata, 'stable');
  await publishing.writeCatalog([metadata, alias].map(one => ({ metadata: one, pinned: false })));
  await publishing.close();
}

/** The quick check of rsync and BuildKit: a file with the size and the mtime of its copy is not copied. */
async function carry(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) {
      await carry(source, target);
      continue;
    }
    const there = await stat(source);
    const here = await stat(target).catch(() => undefined);
    if (here?.size === there.size && here.mtimeMs === there.mtimeMs) continue;
    await copyFile(source, target);
    await utimes(target, there.atime, there.mtime);
  }
}
