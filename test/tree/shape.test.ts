import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as v from 'valibot';
import { either, list, only, record, text } from '../../base/shape.ts';
import { looseObject, record as recordOf } from '../../base/strictSchema.ts';
import { catalogProblem } from '../../tree/catalog.ts';
import { parsePublished } from '../../tree/version/published.ts';
import { arbitraryJson, changed, places } from '../support/arbitraryJson.ts';
import { times } from '../support/slow.ts';

// The shapes of the tree's files, written a second time as schemas of a library.
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const sizeBytes = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const catalogSchema = looseObject({
  schemaVersion: v.literal(1),
  tree: v.string(),
  plugins: v.array(
    looseObject({
      name: v.string(),
      versions: v.array(
        looseObject({
          version: v.string(),
          aliasOf: v.optional(v.string()),
          path: v.string(),
          reference: v.string(),
          digest: v.string(),
          pinned: v.boolean(),
          sha256,
          sizeBytes,
          abi: v.nullable(v.string()),
          created: v.optional(v.string()),
          files: v.array(looseObject({ name: v.string(), sizeBytes, sha256 })),
        }),
      ),
    }),
  ),
});
const publishedSchema = looseObject({
  schemaVersion: v.literal(1),
  name: v.string(),
  version: v.string(),
  aliasOf: v.optional(v.string()),
  reference: v.string(),
  digest: v.string(),
  platform: v.optional(v.string()),
  layer: v.optional(looseObject({ digest: v.string(), mediaType: v.string(), sizeBytes })),
  sha256,
  md5: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  sizeBytes,
  abi: v.nullable(v.string()),
  created: v.optional(v.string()),
  annotations: v.optional(recordOf(v.string(), v.string(), 'annotations')),
  signature: v.optional(looseObject({ policy: sha256, signer: v.string(), digest: v.string() })),
  files: recordOf(v.string(), looseObject({ sha256, sizeBytes }), 'files'),
});

const hash = 'ab'.repeat(32);
const file = { name: 'plugin.wasm', sizeBytes: 8, sha256: hash };
const version = {
  version: '1.0.0',
  aliasOf: '2.0.0',
  path: 'a/1.0.0/plugin.wasm',
  reference: 'r',
  digest: `sha256:${hash}`,
  pinned: true,
  sha256: hash,
  sizeBytes: 8,
  abi: null,
  created: '2026-01-01T00:00:00Z',
  files: [file, { ...file, name: 'plugin.wasm.gz' }],
};
const catalog = {
  schemaVersion: 1,
  tree: 't',
  plugins: [{ name: 'a', versions: [version, { ...version, abi: '0.2.1' }] }],
  later: 1,
};
const published = {
  schemaVersion: 1,
  name: 'a',
  version: '1.0.0',
  aliasOf: '2.0.0',
  reference: 'r',
  digest: 'd',
  platform: 'linux/amd64',
  layer: { digest: 'd', mediaType: 'm', sizeBytes: 1 },
  sha256: hash,
  md5: hash.slice(32),
  sizeBytes: 8,
  abi: '0.2.1',
  created: 'c',
  annotations: { a: 'b', c: 'd' },
  signature: { policy: hash, signer: 's', digest: 'd' },
  files: { 'README.md': { sha256: hash, sizeBytes: 3 } },
};
const others = arbitraryJson(hash, hash.toUpperCase(), hash.slice(32), [file], { a: file }, { a: 'b' });

for (const [what, sample, schema, isFit] of [
  ['catalog', catalog, catalogSchema, (value: unknown) => catalogProblem(value) === undefined],
  ['metadata', published, publishedSchema, (value: unknown) => typeof parsePublished(value) !== 'string'],
] as const)
  test(`the check of a ${what} and a schema that says the same agree about every one`, () => {
    assert.ok(isFit(sample));
    fc.assert(
      fc.property(fc.constantFrom(...places(sample)), others, (path, by) => {
        const value = changed(sample, path, by);
        assert.equal(isFit(value), v.is(schema, value));
      }),
      { numRuns: times(1000, 3000) },
    );
  });

test('it names the place', () => {
  const at = (path: readonly (string | number)[], by: unknown) => catalogProblem(changed(catalog, path, by));
  assert.equal(at([], []), ': expected an object');
  assert.equal(at(['plugins'], {}), 'plugins: expected a list');
  assert.equal(
    at(['plugins', 0, 'versions', 1, 'files', 1, 'sha256'], 'x'),
    'plugins.0.versions.1.files.1.sha256: expected a sha256 in lower-case hex',
  );
  assert.equal(
    at(['plugins', 0, 'versions', 0, 'sizeBytes'], -1),
    'plugins.0.versions.0.sizeBytes: expected a size in bytes',
  );
  assert.equal(parsePublished(null), 'the whole: expected an object');
  assert.equal(parsePublished({ ...published, md5: hash }), 'md5: expected an md5 in lower-case hex');
});

test('a record checks keys of every name, a list may require items, and of several checks one is enough', () => {
  assert.equal(record(text)(JSON.parse('{"__proto__":1}')), '__proto__: expected a string');
  assert.equal(list(text, 1)([]), ': expected a list of at least 1');
  assert.equal(either(only(1), list(text))(1), undefined);
  assert.equal(either(only(1), list(text))([2]), '0: expected a string');
});
