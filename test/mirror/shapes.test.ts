import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { isWrittenLock, lockedAnnotationKeys } from '../../mirror/lockfile/format.ts';
import { lockSchema } from '../../mirror/lockfile/schema.ts';
import { manifestSchema } from '../../mirror/manifest/schema.ts';
import { isPlainlyFit } from '../../mirror/manifest/shape.ts';
import { arbitraryJson, changed, places } from '../support/arbitraryJson.ts';

const hash = 'ab'.repeat(32);
const digest = `sha256:${hash}`;
const file = { file: './main.wasm', sha256: hash, sizeBytes: 8 };
const image = {
  reference: 'r.io/plugins/a:1',
  digest,
  platform: 'linux/amd64',
  layer: { digest: `sha512:${hash}${hash}`, mediaType: 'm', sizeBytes: 10 },
  sha256: hash,
  sizeBytes: 8,
  signature: { policy: hash, signer: 's', digest },
  annotations: Object.fromEntries(lockedAnnotationKeys.map(key => [key, 'x'])),
};
const lock = { $schema: 's', lockVersion: 1, plugins: { a: { '1': image }, l: { '1': file, '2': file } } };
const manifest = {
  $schema: './manifest.schema.json',
  registry: 'r.io',
  plugins: {
    a: '1',
    b: ['1', '2'],
    c: { versions: ['1'], image: 'x/c', file: './c.wasm', tags: { '1': 'v1' }, aliases: { x: '1' } },
  },
  mirrors: { 'r.io': ['h/higress', 'i'] },
};

const keys = ['surprise', 'signatures', 'platform', 'file', 'image', 'tags', 'constructor', 'toString', '0'];
const texts = ['\n', hash, hash.toUpperCase(), digest];
const by = arbitraryJson(...texts, image, file, ['1'], { '1': 'x' }, { versions: ['1'] }, { key: 'k' });

/** A sample with something else in one or two of its places, old ones or new ones. */
function near(sample: unknown): fc.Arbitrary<unknown> {
  const old = fc.constantFrom(...places(sample));
  const place = fc.oneof(
    old,
    fc.tuple(old, fc.constantFrom(...keys)).map(([path, key]) => [...path, key]),
  );
  const change = fc.tuple(place, by);
  return fc
    .array(change, { minLength: 1, maxLength: 2 })
    .map(changes => changes.reduce((value: unknown, [path, to]) => changed(value, path, to), sample));
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

test('a lock passes for one as written where its schema takes it, and nowhere else', () => {
  assert.ok(isWrittenLock(lock));
  fc.assert(
    fc.property(near(lock), value => assert.equal(isWrittenLock(value), lockSchema.safeParse(value).success)),
    { numRuns: 20_000 },
  );
});

test('a manifest is plainly fit where its schema takes it and it has no signatures, and nowhere else', () => {
  assert.ok(isPlainlyFit(manifest));
  fc.assert(
    fc.property(near(manifest), value => {
      const { success } = manifestSchema.safeParse(value);
      if (isObject(value) && 'signatures' in value) assert.ok(!isPlainlyFit(value) || success);
      else assert.equal(isPlainlyFit(value), success);
    }),
    { numRuns: 20_000 },
  );
});

test('the manifest that ships is plainly fit', async () => {
  assert.ok(isPlainlyFit(JSON.parse(await readFile(new URL('../../manifest.json', import.meta.url), 'utf8'))));
});
