import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, open, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { openStamps } from '../../tree/stamps.ts';
import { type InspectionOptions, inspectVersion, readVersion } from '../../tree/version/inspectVersion.ts';
import { code, publish, sample, temporary } from './fixture.ts';

const ONE = sample('p', '1.0.0', { files: { 'spec.yaml': 'a: 1\n' } });

interface Place {
  readonly tree: string;
  readonly folder: string;
  readonly stampsFile: string;
}

async function published(t: TestContext): Promise<Place> {
  const dir = await temporary(t);
  const tree = join(dir, 'tree');
  const stampsFile = join(dir, 'cache/stamps');
  const publishing = await openPublishingTree(tree, { stampsFile });
  await publish(publishing, ONE);
  await publishing.close();
  return { tree, folder: join(tree, 'p/1.0.0'), stampsFile };
}

async function problems(tree: string, options: InspectionOptions = {}): Promise<readonly string[]> {
  const inspection = await inspectVersion(tree, 'p', '1.0.0', options);
  return inspection.state === 'damaged' ? inspection.problems : [inspection.state];
}

test('each kind of damage is reported with its file', async t => {
  const other = sample('q', '1.0.0').metadata;
  const cases: [string, (folder: string) => Promise<unknown>, RegExp][] = [
    [
      'other bytes',
      folder => writeFile(join(folder, 'plugin.wasm'), Buffer.alloc(64)),
      /^plugin\.wasm has sha256 .* instead of/,
    ],
    ['cut short', folder => writeFile(join(folder, 'plugin.wasm'), ''), /^plugin\.wasm has 0 bytes instead of 64/],
    ['gone', folder => rm(join(folder, 'spec.yaml')), /^spec\.yaml is missing/],
    ['text edited', folder => writeFile(join(folder, 'metadata.txt'), 'x'), /^metadata\.txt has 1 bytes/],
    ['checksum gone', folder => rm(join(folder, 'plugin.wasm.sha256')), /^plugin\.wasm\.sha256 is missing/],
    ['metadata gone', folder => rm(join(folder, 'metadata.json')), /^metadata\.json is missing/],
    ['metadata cut', folder => writeFile(join(folder, 'metadata.json'), '{"a":'), /^metadata\.json is not JSON/],
    [
      'metadata misshapen',
      folder => writeFile(join(folder, 'metadata.json'), '{"schemaVersion":1}'),
      /metadata\.json is invalid/,
    ],
    ['of another', folder => writeFile(join(folder, 'metadata.json'), JSON.stringify(other)), /belongs to q 1\.0\.0/],
    [
      'leading out',
      folder =>
        writeFile(join(folder, 'metadata.json'), JSON.stringify({ ...ONE.metadata, files: { '../x': ONE.metadata } })),
      /has an impossible file name/,
    ],
    [
      'reformatted',
      folder => writeFile(join(folder, 'metadata.json'), JSON.stringify(ONE.metadata)),
      /^metadata\.json has/,
    ],
    [
      'a link to the same bytes',
      async folder => {
        await rename(join(folder, 'plugin.wasm'), join(folder, '../moved'));
        await symlink('../moved', join(folder, 'plugin.wasm'));
      },
      /^plugin\.wasm is a symbolic link/,
    ],
    [
      'a folder',
      async folder => {
        await rm(join(folder, 'spec.yaml'));
        await mkdir(join(folder, 'spec.yaml'));
      },
      /^spec\.yaml is a folder/,
    ],
    [
      'a pipe',
      async folder => {
        await rm(join(folder, 'metadata.json'));
        await promisify(execFile)('mkfifo', [join(folder, 'metadata.json')]);
      },
      /^metadata\.json is a special file/,
    ],
    [
      'a folder elsewhere',
      async folder => {
        await rename(folder, join(folder, '../moved'));
        await symlink('moved', folder);
      },
      /^p\/1\.0\.0 is a symbolic link, not a folder/,
    ],
  ];
  for (const [what, harm, expected] of cases) {
    const { tree, folder } = await published(t);
    assert.deepEqual(await problems(tree), ['sound']);
    await harm(folder);
    const [problem = '', ...more] = await problems(tree);
    assert.match(problem, expected, what);
    assert.deepEqual(more, [], what);
  }
});

test('a version that does not exist is missing, and a name with a path out of the tree is refused', async t => {
  const { tree } = await published(t);
  assert.equal((await inspectVersion(tree, 'p', '2.0.0')).state, 'missing');
  assert.equal((await inspectVersion(tree, 'q', '1.0.0')).state, 'missing');
  assert.equal((await inspectVersion(join(tree, 'nowhere'), 'p', '1.0.0')).state, 'missing');
  assert.equal(await readVersion(tree, 'p', '2.0.0'), undefined);
  await assert.rejects(inspectVersion(tree, '..', '1.0.0'), code('TREE_NAME_UNFIT'));
  await assert.rejects(readVersion(tree, 'p', '../../etc'), code('TREE_NAME_UNFIT'));
});

test('unchanged files are not hashed again, changed ones are', async t => {
  const { tree, folder, stampsFile } = await published(t);
  const wasm = join(folder, 'plugin.wasm');
  const matching = async (): Promise<boolean> => {
    const { stat } = await import('node:fs/promises');
    const stamps = await openStamps(stampsFile, tree);
    return stamps.matches('p/1.0.0/plugin.wasm', await stat(wasm, { bigint: true }), ONE.metadata.sha256);
  };
  assert.equal(await matching(), true);
  // Rewritten in place with the old size and mtime: ctime differs.
  const handle = await open(wasm, 'r+');
  const { mtime } = await handle.stat();
  await handle.write(Buffer.from([0xff]), 0, 1, 40);
  await handle.utimes(mtime, mtime);
  await handle.close();
  assert.equal(await matching(), false);
  const stamps = await openStamps(stampsFile, tree);
  assert.match((await problems(tree, { stamps }))[0] ?? '', /^plugin\.wasm has sha256/);
});

test('a file with a current stamp is not read, unless rehash is set', async t => {
  const { tree, folder, stampsFile } = await published(t);
  const stamps = await openStamps(stampsFile, tree);
  // The stamps are forged for a damaged file, which shows whether the bytes are read.
  const { stat } = await import('node:fs/promises');
  await writeFile(join(folder, 'plugin.wasm'), Buffer.alloc(64));
  stamps.record('p/1.0.0/plugin.wasm', await stat(join(folder, 'plugin.wasm'), { bigint: true }), ONE.metadata.sha256);
  assert.deepEqual(await problems(tree, { stamps }), ['sound']);
  assert.match((await problems(tree, { stamps, rehash: true }))[0] ?? '', /^plugin\.wasm has sha256/);
  assert.match((await problems(tree))[0] ?? '', /^plugin\.wasm has sha256/);
});

test('stamps that are foreign, cut short or of another tree count as empty', async t => {
  const { tree, stampsFile } = await published(t);
  const good = await readFile(stampsFile, 'utf8');
  const { stat } = await import('node:fs/promises');
  const matches = async (file: string, of = tree): Promise<boolean> => {
    const at = await stat(join(tree, 'p/1.0.0/plugin.wasm'), { bigint: true });
    return (await openStamps(file, of)).matches('p/1.0.0/plugin.wasm', at, ONE.metadata.sha256);
  };
  assert.equal(await matches(stampsFile), true);
  assert.equal(await matches(stampsFile, '/elsewhere'), false);
  for (const text of ['', '{}', good.slice(0, -1), good.replace('stamps 1', 'stamps 2')]) {
    await writeFile(stampsFile, text);
    assert.equal(await matches(stampsFile), false);
  }
  assert.equal(await matches(join(tree, 'p')), false);
  const unwritable = await openStamps(join(tree, 'p/1.0.0/plugin.wasm/stamps'), tree);
  unwritable.record('x', await stat(tree, { bigint: true }), 'y');
  assert.equal(await unwritable.save(), false);
});

test('an inspection records the sound files for the next one', async t => {
  const { tree, stampsFile } = await published(t);
  await rm(stampsFile);
  const stamps = await openStamps(stampsFile, tree);
  assert.deepEqual(await problems(tree, { stamps }), ['sound']);
  assert.equal(await stamps.save(), true);
  assert.deepEqual(await readdir(join(stampsFile, '..')), ['stamps']);
  assert.equal((await readFile(stampsFile, 'utf8')).trimEnd().split('\n').length, 2 + 5);
});

test('other times and modes are no damage: a checkout or a COPY may change them', async t => {
  const { tree, folder } = await published(t);
  await utimes(join(folder, 'plugin.wasm'), 1, 1);
  await chmod(join(folder, 'plugin.wasm'), 0o755);
  assert.deepEqual(await problems(tree), ['sound']);
});
