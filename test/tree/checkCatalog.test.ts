import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { catalogSchema } from '../../tree/catalog.ts';
import { catalogProblem } from '../../tree/checkCatalog.ts';

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
const sample = {
  schemaVersion: 1,
  tree: 't',
  plugins: [{ name: 'a', versions: [version, { ...version, abi: '0.2.1' }] }],
  later: 1,
};

/** Every place in a value. */
function places(value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return [path, ...keys.flatMap(key => places(Reflect.get(value, key), [...path, key]))];
}

function changed(value: unknown, [key, ...rest]: readonly (string | number)[], by: unknown): unknown {
  if (key === undefined) return by;
  const copy: object = Array.isArray(value) ? [...value] : { ...Object(value) };
  Reflect.set(copy, key, changed(Reflect.get(copy, key), rest, by));
  return copy;
}

test('the hand-written check and the schema agree about every catalog', () => {
  assert.equal(catalogProblem(sample), undefined);
  const others = fc.oneof(
    fc.constantFrom<unknown>(
      undefined,
      null,
      '',
      hash,
      hash.toUpperCase(),
      0,
      -1,
      1,
      1.5,
      2 ** 53,
      Number.NaN,
      true,
      [],
      {},
      [file],
    ),
    fc.anything(),
  );
  fc.assert(
    fc.property(fc.constantFrom(...places(sample)), others, (path, by) => {
      const value = changed(sample, path, by);
      assert.equal(catalogProblem(value) === undefined, catalogSchema.safeParse(value).success);
    }),
    { numRuns: 3000 },
  );
});

test('it names the place', () => {
  const at = (path: readonly (string | number)[], by: unknown) => catalogProblem(changed(sample, path, by));
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
});
