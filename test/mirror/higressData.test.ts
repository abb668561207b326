import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as v from 'valibot';
import { stringify } from 'yaml';
import { chooseReleases, higressRegistry, readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import { releaseSchema, releaseText } from '../../scripts/generate/higressRelease.ts';
import { sample } from '../support/slow.ts';

const folder = new URL('../../higress/console/', import.meta.url);
const PLUGINS = 'backend/sdk/src/main/resources/plugins';

interface Entry {
  readonly version: string;
  readonly image?: string;
  readonly category?: string;
  readonly gateway?: string;
  readonly digest?: string;
}

/** Writes a checkout of higress-console, whose plugins.properties has keys of its own. */
async function checkoutOf(t: TestContext, plugins: Readonly<Record<string, Entry>>): Promise<string> {
  const checkout = await mkdtemp(join(tmpdir(), 'plugin-mirror-console-'));
  t.after(() => rm(checkout, { recursive: true }));
  const lines = ['# AI', ''];
  for (const [name, { version, image = `plugins/${name}:${version}`, category, gateway = '' }] of Object.entries(
    plugins,
  )) {
    const key = `key-of-${name}`;
    await mkdir(join(checkout, PLUGINS, key), { recursive: true });
    const spec = { info: { name, version, category, gatewayMinVersion: gateway }, spec: { phase: 'default' } };
    await writeFile(join(checkout, PLUGINS, key, 'spec.yaml'), stringify(spec));
    lines.push(`${key}=oci://${higressRegistry}/${image}`);
  }
  await writeFile(join(checkout, PLUGINS, 'plugins.properties'), `${lines.join('\n')}\n`);
  return checkout;
}

test('the script writes each file of the data from a checkout of that release', async t => {
  const files = readdirSync(folder);
  assert.ok(files.length >= 25);
  for (const file of sample(files, 4)) {
    const text = await readFile(new URL(file, folder), 'utf8');
    const { release, plugins } = JSON.parse(text) as { release: string; plugins: Readonly<Record<string, Entry>> };
    assert.equal(file, `${release}.json`);
    const checkout = await checkoutOf(t, plugins);
    const snapshot = Object.entries(plugins).flatMap(
      ([name, { version, image = `plugins/${name}:${version}`, digest }]) =>
        digest === undefined ? [] : [{ logicalId: name, ociRef: `${higressRegistry}/${image}`, digest }],
    );
    await writeFile(join(checkout, 'snapshot.json'), JSON.stringify({ plugins: snapshot }));
    assert.equal(await releaseText(release, checkout, join(checkout, 'snapshot.json')), text, file);
  }
});

test('the data of every part of Higress follows the schema', async () => {
  const parts = ['../controller.json', '../all-in-one.json', ...readdirSync(folder)];
  for (const file of parts) {
    const { issues = [] } = v.safeParse(releaseSchema, JSON.parse(await readFile(new URL(file, folder), 'utf8')));
    assert.deepEqual(
      issues.map(issue => `${v.getDotPath(issue)}: ${issue.message}`),
      [],
      file,
    );
  }
});

test('the script names a plugin that it cannot read', async t => {
  const checkout = await checkoutOf(t, { a: { version: '1.0.0' } });
  const properties = join(checkout, PLUGINS, 'plugins.properties');
  await writeFile(properties, 'key-of-a=oci://docker.io/a:1\n');
  await assert.rejects(
    releaseText('9.9.9', checkout),
    /^Error: key-of-a: oci:\/\/docker\.io\/a:1 is in another registry/,
  );
  await writeFile(join(checkout, PLUGINS, 'key-of-a/spec.yaml'), 'info:\n  name: a\n');
  await writeFile(properties, `key-of-a=oci://${higressRegistry}/plugins/a:1.0.0\n`);
  await assert.rejects(releaseText('9.9.9', checkout), /^Error: key-of-a: .+ no info\.name or info\.version/);
});

test('the data has the category of every plugin, and the least gateway and the digest where they are known', async () => {
  const { releases } = await readHigressData();
  for (const { release, plugins } of releases)
    for (const { name, category } of plugins)
      assert.ok(category !== undefined || name === 'ai-endpoint-picker', `${release} ${name}`);
  const [recovered] = chooseReleases({ ...(await readHigressData()) }, ['2.2.4-recovered']);
  assert.deepEqual(
    recovered?.plugins.find(({ name }) => name === 'ai-context-limit'),
    {
      name: 'ai-context-limit',
      version: '1.0.0',
      image: 'plugins/ai-context-limit',
      tag: '1.0.0',
      category: 'ai',
      gateway: '2.2.4',
      digest: 'sha256:6325ca94b20a3f5ab5e9df4014b60daca8d86e7d0999e74abb2c1ddd29b36f83',
    },
  );
});
