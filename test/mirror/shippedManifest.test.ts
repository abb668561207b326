import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newestRelease, readHigressData } from '../../mirror/coverage/requests/higressReleases.ts';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { formatReference } from '../../registry/reference.ts';
import { emittedSchemas } from '../../scripts/generate/emittedSchemas.ts';

const root = new URL('../../', import.meta.url);
const registry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';

/** The releases that the shipped manifest serves as a whole, oldest first: where two differ in a path, the later one counts. */
const SERVED = ['2.2.4', '2.2.4-recovered', '2.2.4-rebuilt', '2.2.5'];

/** Plugins that no release requests, but that users of Higress' own plugin server know under this name. */
const EXTRAS = new Map([
  ['jsonrpc-converter/2.0.1', 'plugins/jsonrpc-converter:2.0.1'],
  ['jsonrpc-converter/2.0.3', 'plugins/jsonrpc-converter:2.0.3'],
]);

/** Path → image, of one file of the room `higress`. */
function requestsOf(file: string): Map<string, string> {
  const { plugins } = JSON.parse(readFileSync(new URL(`higress/${file}.json`, root), 'utf8')) as {
    readonly plugins: Readonly<Record<string, { readonly version: string; readonly image?: string }>>;
  };
  return new Map(
    Object.entries(plugins).map(([name, { version, image = `plugins/${name}:${version}` }]) => [
      `${name}/${version}`,
      image,
    ]),
  );
}

describe('the manifest that ships', async () => {
  const manifest = await readPluginManifest(fileURLToPath(new URL('manifest.json', root)));

  it('has everything that the newest release requests, as outdated reports it', async () => {
    const data = await readHigressData();
    const { plugins, missing, release } = newestRelease(data, manifest) ?? assert.fail('no release');
    assert.deepEqual({ release, plugins, missing }, { release: data.releases[0]?.release, plugins: 52, missing: [] });
    const versions = manifest.versions.filter(({ name }) => name !== 'ai-proxy');
    const lacking = newestRelease(data, { versions, aliases: [] });
    assert.ok(lacking?.missing.some(({ name, version }) => name === 'ai-proxy' && version === '2.0.3'));
    assert.equal(newestRelease({ ...data, releases: [] }, manifest), undefined);
  });

  const images = new Map<string, string>();
  for (const { name, version, source } of manifest.versions)
    if (source.kind === 'image') images.set(`${name}/${version}`, formatReference(source.reference));
  for (const { name, version, target } of manifest.aliases)
    images.set(`${name}/${version}`, images.get(`${name}/${target}`) ?? 'nothing');

  for (const [file, count] of [
    ['console/2.2.4', 44],
    ['console/2.2.4-recovered', 52],
    ['console/2.2.4-rebuilt', 52],
    ['console/2.2.5', 52],
    ['controller', 1],
    ['all-in-one', 3],
  ] as const)
    it(`has every path that ${file}.json lists, from the image that it lists`, () => {
      const requests = requestsOf(file);
      assert.equal(requests.size, count);
      for (const [path, image] of requests) assert.equal(images.get(path), `${registry}/${image}`, path);
    });

  it('has nothing else', () => {
    const files = [...SERVED.map(release => `console/${release}`), 'controller', 'all-in-one'];
    const expected = new Map([...files.flatMap(file => [...requestsOf(file)]), ...EXTRAS]);
    // The nine C++ plugins have both: the tag, and the version that the older builds of Console 2.2.4 request.
    assert.equal(manifest.aliases.length, 9);
    assert.deepEqual([...images.keys()].sort(), [...expected.keys()].sort());
  });

  it('keeps the 1.0.0 of the all-in-one image at what the newest Console that requests it means', () => {
    const newestFirst = readdirSync(new URL('higress/console/', root))
      .map(file => file.replace('.json', ''))
      .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
    for (const [path, image] of requestsOf('all-in-one')) {
      const meant = newestFirst.map(release => requestsOf(`console/${release}`).get(path)).find(Boolean);
      assert.equal(image, meant, path);
    }
  });
});

describe('the data of Higress releases', () => {
  it('covers every release from 2.0.0 on', () => {
    const files = readdirSync(new URL('higress/console/', root)).sort();
    assert.equal(files.length, 25);
    for (const file of files) {
      const { release } = JSON.parse(readFileSync(new URL(`higress/console/${file}`, root), 'utf8'));
      assert.equal(file, `${release}.json`);
      assert.ok(requestsOf(`console/${release}`).size >= 39, file);
    }
  });
});

describe('the schema files', () => {
  for (const [file, text] of Object.entries(emittedSchemas()))
    it(`${file} is what the code emits (else: npm run schema)`, async () => {
      assert.equal(await readFile(new URL(file, root), 'utf8'), text);
    });
  it('describe every key of the manifest', () => {
    const schema = JSON.parse(emittedSchemas()['manifest.schema.json'] ?? '');
    const plugin = schema.properties.plugins.additionalProperties.anyOf.at(-1).properties;
    for (const [key, value] of [...Object.entries(schema.properties), ...Object.entries(plugin)])
      assert.ok((value as { description?: string }).description, key);
    assert.equal(schema.additionalProperties, false);
  });
});
