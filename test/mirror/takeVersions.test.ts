import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeVersions } from '../../mirror/check/takeVersions.ts';
import { parsePluginManifest } from '../../mirror/manifest/readManifest.ts';

const MANIFEST = `{
  "plugins": {
    "one": "1.0.0",   
    "pinned": "1.0.0@sha256:${'a'.repeat(64)}",
    "newest-first": ["2.0.1", "2.0.0", "1.0.0"],
    "oldest-first": ["1.0.0", "2.0.0"],
    "on-lines": [
      "2.0.1",
      "2.0.0"
    ],
\t"tagged": {
\t\t"image": "harbor.example.com/team/tagged",
\t\t"tags": { "1.2.3": "v1.2.3" },
\t\t"versions": ["1.2.3"],
\t\t"aliases": { "1.0.0": "1.2.3" }
\t},
    "elsewhere": { "versions": ["1.0.0"], "tags": { "1.0.0": "mcp-server/all-in-one:1.0.0" } },
    "renamed": { "versions": ["1.0.0"], "tags": { "1.0.0": "stable" } },
    "fixed": { "image": "plugins/fixed@sha256:${'b'.repeat(64)}", "versions": ["1.0.0"] },
    "aliased": { "versions": ["1.0.0"], "aliases": { "2.0.0": "1.0.0" } }
  }, "registry": "registry.example.com"
}
`;

const newer = (name: string, wanted: string, latest: string) => ({ name, wanted, latest });
const ALL = [
  newer('one', '1.0.0', '1.1.0'),
  newer('pinned', '1.0.0', '1.1.0'),
  newer('newest-first', '2.0.1', '2.1.0'),
  newer('oldest-first', '2.0.0', '2.1.0'),
  newer('on-lines', '2.0.1', '2.1.0'),
  newer('tagged', '1.2.3', 'v1.2.4'),
  newer('elsewhere', '1.0.0', '1.0.1'),
];

const EXPECTED = MANIFEST.replace('"one": "1.0.0"', '"one": ["1.1.0", "1.0.0"]')
  .replace(/"pinned": ("1\.0\.0@[^"]*")/, '"pinned": ["1.1.0", $1]')
  .replace('["2.0.1", "2.0.0"', '["2.1.0", "2.0.1", "2.0.0"')
  .replace('["1.0.0", "2.0.0"]', '["1.0.0", "2.0.0", "2.1.0"]')
  .replace('      "2.0.1",\n', '      "2.1.0",\n      "2.0.1",\n')
  .replace('{ "1.2.3": "v1.2.3" }', '{ "1.2.4": "v1.2.4", "1.2.3": "v1.2.3" }')
  .replace('"versions": ["1.2.3"]', '"versions": ["1.2.4", "1.2.3"]')
  .replace(
    '{ "versions": ["1.0.0"], "tags": { "1.0.0": "mcp-server/all-in-one:1.0.0" } }',
    '{ "versions": ["1.0.1", "1.0.0"], "tags": { "1.0.1": "mcp-server/all-in-one:1.0.1", "1.0.0": "mcp-server/all-in-one:1.0.0" } }',
  );

test('newer versions are added in every form of a plugin, and the rest of the text stays as it is', async () => {
  for (const convert of [(text: string) => text, (text: string) => `\ufeff${text.replaceAll('\n', '\r\n')}`]) {
    const { text, taken, left } = takeVersions(convert(MANIFEST), ALL);
    assert.equal(text, convert(EXPECTED));
    assert.deepEqual(left, []);
    assert.deepEqual(
      taken.map(({ name, version, was }) => `${name} ${was} ${version}`),
      ALL.map(({ name, wanted, latest }) => `${name} ${wanted} ${latest.replace('v', '')}`),
    );
    const { versions } = await parsePluginManifest(text, { file: 'manifest.json' });
    const tagged = versions.find(({ name, version }) => name === 'tagged' && version === '1.2.4');
    assert.ok(tagged?.source.kind === 'image');
    assert.equal(tagged.source.reference.tag, 'v1.2.4');
  }
});

test('a version whose place does not follow from the manifest is left, with the reason', () => {
  const left = (name: string, wanted: string, latest: string) => {
    const result = takeVersions(MANIFEST, [newer(name, wanted, latest)]);
    assert.equal(result.text, MANIFEST);
    return result.left[0]?.reason ?? '';
  };
  assert.match(left('renamed', '1.0.0', '1.1.0'), /its tags do not follow from its versions/);
  assert.match(left('fixed', '1.0.0', '1.1.0'), /pinned by a digest/);
  assert.match(left('aliased', '1.0.0', '2.0.0'), /2\.0\.0 is in the manifest already/);
  assert.match(left('unknown', '1.0.0', '2.0.0'), /does not name the plugin/);
});
