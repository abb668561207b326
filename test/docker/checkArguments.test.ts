import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { emptyFolder } from '../server/tree.ts';

const script = resolve(import.meta.dirname, '../../scripts/image/checkArguments.sh');
const lock = '{"schemaVersion":1}\n';
const digest = `sha256:${createHash('sha256').update(lock).digest('hex')}`;

async function context(t: TestContext): Promise<string> {
  const folder = join(await emptyFolder(t), 'context');
  await mkdir(join(folder, 'higress/console'), { recursive: true });
  for (const name of ['lists', 'layout']) await mkdir(join(folder, name));
  for (const release of ['2.1.11', '2.2.4', '2.2.4-rebuilt', '2.2.5'])
    await writeFile(join(folder, `higress/console/${release}.json`), '{}');
  for (const file of [
    'manifest.json',
    'lists/mine.json',
    'lists/plugins.txt',
    'ca.pem',
    'ca.pem.tar',
    'layout/oci-layout',
    '../outside.json',
  ])
    await writeFile(join(folder, file), '{}');
  await writeFile(join(folder, 'manifest.lock.json'), lock);
  await symlink('../outside.json', join(folder, 'link.json'));
  return folder;
}

function check(folder: string, variables: NodeJS.ProcessEnv): { status: number | null; stderr: string } {
  const env = { PATH: process.env.PATH, MANIFEST: 'manifest.json', ...variables };
  return spawnSync('sh', [script, folder], { env, encoding: 'utf8' });
}

test('arguments that can work pass the first step of a build', async t => {
  const folder = await context(t);
  for (const variables of [
    {},
    { MANIFEST: './lists/mine.json' },
    { MANIFEST: 'lists/../manifest.json', CA_FILE: 'ca.pem' },
    { LOCK_DIGEST: digest },
    { HIGRESS: '2.2.5' },
    { BUNDLE: 'layout' },
    { HIGRESS: 'v2.2.4' },
    { HIGRESS: '2.2.5,2.1.11' },
    { HIGRESS: '2.2.5 2.2.4-rebuilt' },
  ]) {
    const { status, stderr } = check(folder, variables);
    assert.deepEqual([status, stderr], [0, ''], JSON.stringify(variables));
  }
});

test('arguments that cannot work end the first step, with the argument and what to do', async t => {
  const folder = await context(t);
  for (const [variables, expected] of [
    [{ MANIFEST: 'none.json' }, /MANIFEST=none\.json is not in the build context\. .*\.dockerignore/],
    [{ MANIFEST: 'lists' }, /MANIFEST=lists is not in the build context/],
    [{ MANIFEST: '../outside.json' }, /MANIFEST=\.\.\/outside\.json is outside of the build context/],
    [{ MANIFEST: 'link.json' }, /MANIFEST=link\.json is outside of the build context/],
    [{ MANIFEST: '/etc/passwd' }, /MANIFEST=\/etc\/passwd is an absolute path/],
    [{ CA_FILE: 'none.pem' }, /CA_FILE=none\.pem is not in the build context/],
    [
      { LOCK_DIGEST: `sha256:${'0'.repeat(64)}` },
      /manifest\.lock\.json has the digest sha256:[0-9a-f]{64}, and LOCK_DIGEST/,
    ],
    [{ LOCK_DIGEST: 'sha256:0', MANIFEST: 'lists/mine.json' }, /lists\/mine\.lock\.json is not in the build context/],
    [
      { HIGRESS: '9.9.9' },
      /HIGRESS=9\.9\.9 is not a known release of Higress\. Known are: 2\.1\.11 2\.2\.4 2\.2\.4-rebuilt 2\.2\.5$/m,
    ],
    [{ HIGRESS: '2.2' }, /HIGRESS=2\.2 is not a known release/],
    [{ HIGRESS: '2.2.*' }, /HIGRESS=2\.2\.\* is not a known release/],
    [{ HIGRESS: '../x' }, /HIGRESS=\.\.\/x is not a known release/],
    [{ HIGRESS: '2.2.5,9.9.9' }, /HIGRESS=9\.9\.9 is not a known release/],
    [
      { HIGRESS: '2.2.5', MANIFEST: 'lists/mine.json' },
      /HIGRESS=2\.2\.5 and MANIFEST=lists\/mine\.json contradict each other/,
    ],
    [{ HIGRESS: '2.2.5', LOCK_DIGEST: 'sha256:0' }, /uses no lockfile\. Leave LOCK_DIGEST out/],
    [{ BUNDLE: 'layout', LOCK_DIGEST: digest }, /BUNDLE=layout contains its own lockfile\. Leave LOCK_DIGEST out/],
    [{ LOCK_DIGEST: digest, MANIFEST: 'lists/plugins.txt' }, /lists\/plugins\.txt\.lock\.json is not in the build/],
  ] as const) {
    const { status, stderr } = check(folder, variables);
    assert.equal(status, 2, JSON.stringify(variables));
    assert.match(stderr, expected);
  }
});
