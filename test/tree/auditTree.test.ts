import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { auditTree } from '../../tree/auditTree.ts';
import { treeDigest } from '../../tree/catalog.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { code, publish, sample, temporary } from './fixture.ts';

async function tree(t: TestContext): Promise<string> {
  const dir = join(await temporary(t), 'tree');
  const publishing = await openPublishingTree(dir);
  const entries = [];
  for (const [name, version] of [
    ['a', '1.0.0'],
    ['a', '2.0.0'],
    ['b', '1.0.0'],
    ['c', '1.0.0'],
  ] as const)
    entries.push({
      metadata: await publish(publishing, sample(name, version, { files: { 'spec.yaml': name } })),
      pinned: false,
    });
  await publishing.writeCatalog(entries);
  await publishing.close();
  return dir;
}

const paths = (findings: readonly { path: string }[]): string[] => findings.map(finding => finding.path);

test('an unchanged tree is sound', async t => {
  const audit = await auditTree(await tree(t));
  assert.equal(audit.sound, true);
  assert.equal(audit.versions, 4);
  assert.equal(audit.files, 20);
  assert.deepEqual([audit.damaged, audit.missing, audit.unknown], [[], [], []]);
});

test('every kind of damage is reported, and nothing outside the tree is read', async t => {
  const dir = await tree(t);
  const wasm = await readFile(join(dir, 'a/1.0.0/plugin.wasm'));
  wasm[20] = (wasm[20] ?? 0) ^ 1;
  await writeFile(join(dir, 'a/1.0.0/plugin.wasm'), wasm);
  await truncate(join(dir, 'a/1.0.0/spec.yaml'), 0);
  await rm(join(dir, 'a/1.0.0/metadata.txt'));
  await mkdir(join(dir, 'a/1.0.0/metadata.txt'));
  await rm(join(dir, 'a/2.0.0/plugin.wasm'));
  await rename(join(dir, 'b/1.0.0'), join(dir, '../moved'));
  await symlink('../../moved', join(dir, 'b/1.0.0'));
  await rename(join(dir, 'c/1.0.0/plugin.wasm'), join(dir, '../plugin.wasm'));
  await symlink('../../../plugin.wasm', join(dir, 'c/1.0.0/plugin.wasm'));
  await writeFile(join(dir, 'a/1.0.0/extra'), '');
  await symlink('/', join(dir, 'root'));
  await mkdir(join(dir, 'd/1.0.0'), { recursive: true });
  // Dot files next to the plugins' folders may belong to other programs. Within those folders only NFS leftovers may exist.
  await writeFile(join(dir, '.hidden'), '');
  await writeFile(join(dir, 'a/1.0.0/.hidden'), '');
  await writeFile(join(dir, 'a/1.0.0/.nfs00000000000a1b2c00000001'), '');
  await mkdir(join(dir, 'a/.x'));
  await rm(join(dir, 'snapshot-inventory.json'));
  const audit = await auditTree(dir);
  assert.equal(audit.sound, false);
  assert.deepEqual(paths(audit.damaged), [
    'a/1.0.0/metadata.txt',
    'a/1.0.0/plugin.wasm',
    'a/1.0.0/spec.yaml',
    'b/1.0.0',
    'c/1.0.0/plugin.wasm',
  ]);
  assert.match(audit.damaged[0]?.problem ?? '', /folder/);
  assert.match(audit.damaged[1]?.problem ?? '', /sha256/);
  assert.match(audit.damaged[3]?.problem ?? '', /symbolic link/);
  assert.match(audit.damaged[4]?.problem ?? '', /symbolic link/);
  assert.deepEqual(paths(audit.missing), ['a/2.0.0/plugin.wasm', 'snapshot-inventory.json']);
  assert.deepEqual(paths(audit.unknown), ['a/.x', 'a/1.0.0/.hidden', 'a/1.0.0/extra', 'd', 'root']);
});

test('a file that is not a Wasm module is damaged even if the catalog has its sha256', async t => {
  const dir = await temporary(t);
  const publishing = await openPublishingTree(dir);
  const one = sample('a', '1.0.0');
  const page = Buffer.from('<html>');
  const { createHash } = await import('node:crypto');
  const sha256 = createHash('sha256').update(page).digest('hex');
  const metadata = { ...one.metadata, sizeBytes: page.length, sha256 };
  await publish(publishing, { metadata, contents: new Map([['plugin.wasm', page]]) });
  await publishing.writeCatalog([{ metadata, pinned: false }]);
  await publishing.close();
  assert.deepEqual((await auditTree(dir)).damaged[0]?.problem, 'is not a Wasm module');
});

test('a catalog with a path out of the tree, or that was edited, is damaged itself', async t => {
  const dir = await tree(t);
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8'));
  index.plugins[0].versions[0].pinned = true;
  await writeFile(join(dir, 'index.json'), JSON.stringify(index));
  assert.deepEqual(paths((await auditTree(dir)).damaged), ['index.json']);
  index.plugins[0].versions[0].files[0].name = '../../../etc/passwd';
  index.tree = treeDigest(index.plugins);
  await writeFile(join(dir, 'index.json'), JSON.stringify(index));
  const { damaged } = await auditTree(dir);
  assert.equal(
    damaged.some(finding => finding.path.includes('passwd')),
    false,
  );
  assert.match(damaged.find(finding => finding.path === 'index.json')?.problem ?? '', /passwd/);
});

test('unknown keys in the catalog are allowed', async t => {
  const dir = await tree(t);
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8'));
  index.plugins[0].versions[0].signed = true;
  index.plugins[0].versions[0].files[0].mediaType = 'text/plain';
  index.tree = treeDigest(index.plugins);
  await writeFile(join(dir, 'index.json'), JSON.stringify(index));
  assert.equal((await auditTree(dir)).sound, true);
});

test('a file that is not a catalog is refused with what it is', async t => {
  const dir = await temporary(t);
  await assert.rejects(auditTree(dir), code('CATALOG_MISSING'));
  await assert.rejects(auditTree(join(dir, 'nowhere')), code('CATALOG_MISSING'));
  for (const [text, expected] of [
    ['', 'CATALOG_INVALID'],
    ['<html>', 'CATALOG_INVALID'],
    ['[]', 'CATALOG_INVALID'],
    ['{"schemaVersion":1,"tree":"x"}', 'CATALOG_INVALID'],
    ['{"schemaVersion":2}', 'CATALOG_NEWER'],
  ] as const) {
    await writeFile(join(dir, 'index.json'), text);
    await assert.rejects(auditTree(dir), code(expected), text);
  }
  await rm(join(dir, 'index.json'));
  await symlink('/dev/zero', join(dir, 'index.json'));
  await assert.rejects(auditTree(dir), code('CATALOG_INVALID'));
  await rm(join(dir, 'index.json'));
  await promisify(execFile)('mkfifo', [join(dir, 'index.json')]);
  await assert.rejects(auditTree(dir), code('CATALOG_INVALID'));
});

test('an audit can be aborted', async t => {
  const controller = new AbortController();
  controller.abort(new Error('enough'));
  await assert.rejects(auditTree(await tree(t), { signal: controller.signal }), /enough/);
});

test('a folder or file that may not be read is damaged, and the rest is audited', {
  skip: process.getuid?.() === 0 && 'root may read anything; the command’s test runs as another user',
}, async t => {
  const dir = await tree(t);
  await chmod(join(dir, 'a'), 0);
  await chmod(join(dir, 'b/1.0.0'), 0);
  await chmod(join(dir, 'c/1.0.0/plugin.wasm'), 0);
  await rm(join(dir, 'c/1.0.0/spec.yaml'));
  try {
    const audit = await auditTree(dir);
    assert.deepEqual(paths(audit.damaged), ['a', 'b/1.0.0', 'c/1.0.0/plugin.wasm']);
    assert.deepEqual(paths(audit.missing), ['c/1.0.0/spec.yaml']);
  } finally {
    // Hooks run in the order of their registration, so that one of this test would come after the folder is removed.
    await Promise.all(['a', 'b/1.0.0'].map(folder => chmod(join(dir, folder), 0o755)));
  }
});
