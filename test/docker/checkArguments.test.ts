import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { emptyFolder } from '../server/tree.ts';
import { gzip, tarOf } from '../support/archive.ts';

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
  const bundle = tarOf([
    { name: 'index.json', body: Buffer.alloc(3000) },
    { name: 'oci-layout', body: Buffer.alloc(3000) },
  ]);
  for (const [name, bytes] of [
    ['bundle.tar', bundle],
    ['by-tar.tar', tarOf([{ name: './oci-layout', body: Buffer.alloc(10) }])],
    ['parts.tar.001', bundle.subarray(0, 5000)],
    ['parts.tar.002', bundle.subarray(5000)],
    ['parts.tar.sha256', Buffer.from('')],
    ['lost.tar.002', bundle],
    ['bundle.tgz', gzip(bundle)],
    ['other.tar', tarOf([{ name: 'plugin.wasm', body: Buffer.alloc(10) }])],
  ] as const)
    await writeFile(join(folder, name), bytes);
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
    { BUNDLE: 'bundle.tar' },
    { BUNDLE: './by-tar.tar' },
    { BUNDLE: 'parts.tar.001' },
    { BUNDLE: 'parts.tar.002', IMAGES: 'parts.tar.sha256' },
    { BUNDLE: 'bundle.tar', IMAGES: 'bundle.tar', MANIFEST: 'lists/mine.json' },
    { HIGRESS: '2.2.5', IMAGES: 'bundle.tar', BUNDLE: '' },
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
    [
      { LOCK_DIGEST: 'sha256:0', MANIFEST: 'lists/mine.json' },
      /LOCK_DIGEST is given, but lists\/mine\.lock\.json is not in the build/,
    ],
    [
      { HIGRESS: '9.9.9' },
      /HIGRESS=9\.9\.9 is not a known release of Higress\. Known are: 2\.1\.11 2\.2\.4 2\.2\.4-rebuilt 2\.2\.5$/m,
    ],
    [{ HIGRESS: ', ,' }, /HIGRESS=, , names no release/],
    [{ HIGRESS: '2.2' }, /HIGRESS=2\.2 is not a known release/],
    [{ HIGRESS: '2.2.*' }, /HIGRESS=2\.2\.\* is not a known release/],
    [{ HIGRESS: '../x' }, /HIGRESS=\.\.\/x is not a known release/],
    [{ HIGRESS: '2.2.5,9.9.9' }, /HIGRESS=9\.9\.9 is not a known release/],
    [
      { HIGRESS: '2.2.5', MANIFEST: 'lists/mine.json' },
      /HIGRESS=2\.2\.5 and MANIFEST=lists\/mine\.json contradict each other/,
    ],
    [{ HIGRESS: '2.2.5', LOCK_DIGEST: 'sha256:0' }, /uses no lockfile\. Leave LOCK_DIGEST out/],
    [{ IMAGES: 'none.tar' }, /IMAGES=none\.tar is not in the build context\. .*\.dockerignore/],
    [{ IMAGES: '../outside.json' }, /IMAGES=\.\.\/outside\.json is outside of the build context/],
    [{ IMAGES: '/etc/passwd' }, /IMAGES=\/etc\/passwd is an absolute path/],
    [{ IMAGES: 'manifest.json' }, /IMAGES=manifest\.json is not a bundle: it is no uncompressed tar file/],
    [{ IMAGES: 'bundle.tgz' }, /IMAGES=bundle\.tgz is not a bundle: it is no uncompressed tar file/],
    [{ IMAGES: 'lists' }, /IMAGES=lists is not a bundle: the folder has no oci-layout\. .*plugin-mirror bundle/],
    [
      { IMAGES: 'parts.tar' },
      /IMAGES=parts\.tar is not in .* its parts are\. Name the first one: IMAGES=parts\.tar\.001/,
    ],
    [{ IMAGES: 'lost.tar.002' }, /IMAGES=lost\.tar\.002 is in the build context, but lost\.tar\.001 is not/],
    [{ BUNDLE: 'other.tar' }, /BUNDLE=other\.tar is not a bundle: it is no uncompressed tar file/],
    [{ BUNDLE: 'ca.pem.tar' }, /BUNDLE=ca\.pem\.tar is not a bundle/],
    [
      { HIGRESS: '2.2.5', IMAGES: 'bundle.tar', BUNDLE: 'bundle.tar' },
      /HIGRESS=2\.2\.5 and IMAGES=bundle\.tar contradict each other: .* an empty BUNDLE=/,
    ],
    [{ HIGRESS: '2.2.5', BUNDLE: 'bundle.tar' }, /HIGRESS=2\.2\.5 and BUNDLE=bundle\.tar contradict each other/],
    [{ BUNDLE: 'layout', LOCK_DIGEST: digest }, /BUNDLE=layout contains its own lockfile\. Leave LOCK_DIGEST out/],
    [{ LOCK_DIGEST: digest, MANIFEST: 'lists/plugins.txt' }, /lists\/plugins\.txt\.lock\.json is not in the build/],
  ] as const) {
    const { status, stderr } = check(folder, variables);
    assert.equal(status, 2, JSON.stringify(variables));
    assert.match(stderr, expected);
  }
});
