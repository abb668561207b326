import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readPluginManifest } from '../../mirror/manifest/readManifest.ts';
import { formatReference } from '../../registry/reference.ts';
import { emittedSchemas } from '../../scripts/generate/emittedSchemas.ts';
import { consolePlugins } from './consolePlugins.ts';

const root = new URL('../../', import.meta.url);
const registry = 'higress-registry.cn-hangzhou.cr.aliyuncs.com';

describe('the manifest that ships', async () => {
  const manifest = await readPluginManifest(fileURLToPath(new URL('manifest.json', root)));

  /** The image behind a path, through its alias if it is one. */
  const imageOf = (name: string, version: string): string | undefined => {
    const target = manifest.aliases.find(alias => alias.name === name && alias.version === version)?.target ?? version;
    const found = manifest.versions.find(each => each.name === name && each.version === target);
    return found?.source.kind === 'image' ? formatReference(found.source.reference) : undefined;
  };

  it('has every plugin that Console asks for, from the image that Console names', () => {
    assert.equal(consolePlugins.length, 52);
    for (const [name, version, image] of consolePlugins)
      assert.equal(imageOf(name, version), `${registry}/${image}`, `${name} ${version}`);
  });
  it('has the nine C++ plugins under their tag as well', () => {
    const differing = consolePlugins.filter(([, version, image]) => !image.endsWith(`:${version}`));
    assert.equal(differing.length, 9);
    for (const [name, , image] of differing) assert.equal(imageOf(name, '2.0.0'), `${registry}/${image}`);
  });
  it('has jsonrpc-converter under both names', () => {
    const image = `${registry}/plugins/jsonrpc-converter:2.0.1`;
    assert.equal(imageOf('json-converter', '2.0.1'), image);
    assert.equal(imageOf('jsonrpc-converter', '2.0.1'), image);
  });
  it('has the MCP server that Higress Controller asks for', () => {
    assert.equal(imageOf('mcp-server', '1.0.0'), `${registry}/mcp-server/all-in-one:1.0.0`);
  });
  it('has nothing else', () => {
    assert.equal(manifest.versions.length, 54);
    assert.equal(manifest.aliases.length, 9);
  });
});

describe('the schema files', () => {
  for (const [file, text] of Object.entries(emittedSchemas()))
    it(`${file} is what the code says (else: npm run schema)`, async () => {
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
