import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { auditTree } from '../../tree/auditTree.ts';
import { TreeDiskFull } from '../../tree/errors.ts';
import { requireSpace } from '../../tree/freeSpace.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import { code, publish, sample, temporary } from './fixture.ts';

const run = promisify(execFile);

/** A temporary folder in which `tree` may be a mount. It is unmounted first: hooks run in the order of their registration. */
async function temporaryForMounts(t: TestContext): Promise<string> {
  const mounted: { dir?: string } = {};
  t.after(async () => {
    if (mounted.dir !== undefined) await run('umount', [join(mounted.dir, 'tree')]).catch(() => undefined);
  });
  mounted.dir = await temporary(t);
  return mounted.dir;
}

/** Mounts at a folder, or skips the test if this user may not. With PLUGIN_MIRROR_TEST_PEERS=1 it must be possible. */
async function mount(t: TestContext, at: string, ...options: string[]): Promise<boolean> {
  await mkdir(at, { recursive: true });
  try {
    await run('mount', [...options, at]);
  } catch (error) {
    if (process.env.PLUGIN_MIRROR_TEST_PEERS === '1') throw error;
    t.skip('mount(8) is not allowed here');
    return false;
  }
  return true;
}

test('a full disk is reported with the bytes needed, and leaves the tree unchanged', async t => {
  const dir = await temporaryForMounts(t);
  const tree = join(dir, 'tree');
  if (!(await mount(t, tree, '-t', 'tmpfs', '-o', 'size=512k,mode=755', 'tmpfs'))) return;
  const publishing = await openPublishingTree(tree);
  const old = await publish(publishing, sample('p', '1.0.0', { sizeBytes: 100_000 }));
  await publishing.writeCatalog([{ metadata: old, pinned: false }]);
  await writeFile(join(tree, 'ballast'), Buffer.alloc(300_000));
  const full = (error: unknown): boolean => {
    assert.ok(error instanceof TreeDiskFull);
    assert.match(error.message, /97\.7 KiB needed|100000 bytes needed/);
    assert.match(error.found ?? '', /free/);
    return true;
  };
  await assert.rejects(publishing.publishAlias(old, '2.0.0'), full);
  await assert.rejects(publishing.publishAlias(old, '1.0.0'), full);
  await assert.rejects(requireSpace(join(tree, 'not/yet'), 400_000), code('TREE_DISK_FULL'));
  await requireSpace(tree, 10_000);
  // The staged files fit; the files that sync makes do not.
  const staged = await publishing.stage();
  const { metadata, contents } = sample('q', '1.0.0', { sizeBytes: 8 });
  for (const [file, bytes] of contents) await writeFile(join(staged.dir, file), bytes);
  await writeFile(join(tree, 'more'), Buffer.alloc(400_000)).catch(() => undefined);
  await assert.rejects(publishing.publish(staged, metadata), code('TREE_DISK_FULL'));
  await assert.rejects(
    publishing.writeCatalog(
      Array.from({ length: 50 }, (_, patch) => ({ metadata: { ...old, version: `1.0.${patch}` }, pinned: false })),
    ),
    code('TREE_DISK_FULL'),
  );
  await publishing.close();
  const audit = await auditTree(tree);
  assert.equal(audit.sound, true);
  assert.deepEqual(
    audit.unknown.map(finding => finding.path),
    ['ballast', 'more'],
  );
  assert.deepEqual((await readdir(tree)).sort(), ['ballast', 'index.json', 'more', 'p', 'snapshot-inventory.json']);
});

test('a tree on a read-only mount can be audited and inspected, and not opened for writing', async t => {
  const dir = await temporaryForMounts(t);
  const [source, tree] = [join(dir, 'source'), join(dir, 'tree')];
  const publishing = await openPublishingTree(source);
  const metadata = await publish(publishing, sample('p', '1.0.0'));
  await publishing.writeCatalog([{ metadata, pinned: false }]);
  await publishing.close();
  if (!(await mount(t, tree, '--bind', source))) return;
  await run('mount', ['-o', 'remount,bind,ro', tree]);
  assert.equal((await auditTree(tree)).sound, true);
  assert.equal((await inspectVersion(tree, 'p', '1.0.0')).state, 'sound');
  await assert.rejects(openPublishingTree(tree), code('TREE_NOT_WRITABLE'));
  await assert.rejects(openPublishingTree(join(tree, 'below')), code('TREE_NOT_WRITABLE'));
});

test('a tree that is a mount point, even of the same device, has its staging folder inside', async t => {
  const dir = await temporaryForMounts(t);
  const [source, tree] = [join(dir, 'source'), join(dir, 'tree')];
  await mkdir(source);
  if (!(await mount(t, tree, '--bind', source))) return;
  const publishing = await openPublishingTree(tree);
  const staged = await publishing.stage();
  assert.equal(staged.dir.startsWith(join(tree, '.staging/')), true);
  await publish(publishing, sample('p', '1.0.0'));
  await publish(publishing, sample('p', '1.0.0', { seed: 'new' }));
  await publishing.close();
  assert.deepEqual(await readdir(tree), ['p']);
  assert.deepEqual((await readdir(dir)).sort(), ['source', 'tree']);
  assert.equal((await inspectVersion(tree, 'p', '1.0.0')).state, 'sound');
});
