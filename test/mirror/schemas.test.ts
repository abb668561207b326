import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it, test } from 'node:test';
import * as v from 'valibot';
import { lockedAnnotationKeys, lockfileSchema } from '../../mirror/lockfile/schema.ts';
import { manifestSchema } from '../../mirror/manifest/schema.ts';
import { changed, places } from '../support/arbitraryJson.ts';

type Path = readonly (string | number)[];

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
const lock = { $schema: 's', lockVersion: 1, plugins: { a: { '1': image }, constructor: { '1': file, '2': file } } };
const manifest = {
  $schema: './manifest.schema.json',
  registry: 'r.io',
  plugins: {
    a: '1',
    b: ['1', '2'],
    constructor: { versions: ['1'], image: 'x/c', file: './c.wasm', tags: { '1': 'v1' }, aliases: { x: '1' } },
  },
  mirrors: { 'r.io': ['h/higress', 'i'] },
  signatures: [
    { images: 'h/**', key: 'cosign.pub' },
    { images: ['i/**'], identity: 'a@b', issuer: 'https://i', trustedRoot: 'root.json' },
    { identityPattern: '.*', issuer: 'https://i', trustedRoot: 'root.json' },
    { unsigned: true },
  ],
};

/** Values that fit nowhere in either file. */
const wrong: readonly unknown[] = [null, 0.5, Number.NaN, false, [null], [[]], { surprise: 1 }];
/** Where an object may have any keys, so that only the value is wrong there. */
const dictionaries: readonly string[] = ['plugins', 'tags', 'aliases', 'mirrors'];

for (const [name, sample, schema] of [
  ['lock', lock, lockfileSchema],
  ['manifest', manifest, manifestSchema],
] as const)
  describe(`the schema of a ${name}`, () => {
    const refuses = (path: Path, value: unknown) => {
      const { issues } = v.safeParse(schema, changed(sample, path, value));
      assert.ok(issues, `accepted ${JSON.stringify(value)} at ${path.join('.')}`);
      assert.ok(!v.is(schema, changed(sample, path, value)));
      const paths = issues.map(issue => (issue.path ?? []).map(({ key }) => key));
      assert.ok(
        paths.some(each => path.every((key, at) => each[at] === key || at >= each.length)),
        `${path.join('.')} is not in ${JSON.stringify(paths)}`,
      );
    };
    it('accepts a document with every key', () => assert.ok(v.is(schema, sample)));
    it('refuses a value of a wrong type anywhere, and names its path', () => {
      for (const path of places(sample)) for (const value of wrong) refuses(path, value);
    });
    it('refuses an unknown key in every object that has a fixed set of keys', () => {
      for (const path of places(sample)) {
        const at = path.reduce<unknown>((value, key) => Reflect.get(Object(value), key), sample);
        if (typeof at !== 'object' || at === null || Array.isArray(at)) continue;
        if (dictionaries.includes(String(path.at(-1)))) continue;
        for (const key of ['surprise', 'toString', 'constructor', 'plugin'])
          if (!Object.hasOwn(at, key)) refuses([...path, key], 1);
      }
    });
  });

test('a lock needs exact hashes, digests, sizes and its version', () => {
  const entry = ['plugins', 'a', '1'];
  for (const [path, values] of [
    [['lockVersion'], [0, 2, '1', undefined]],
    [
      [...entry, 'digest'],
      ['', hash, `sha512:${hash}`, digest.toUpperCase(), ` ${digest}`, `${digest}\n`],
    ],
    [
      [...entry, 'layer', 'digest'],
      ['', hash],
    ],
    [
      [...entry, 'sha256'],
      ['', digest, hash.toUpperCase(), `${hash}0`, `${hash}\n`],
    ],
    [
      [...entry, 'sizeBytes'],
      [-1, 1.5, 2 ** 53, '1', undefined],
    ],
    [
      [...entry, 'signature', 'policy'],
      ['', digest, undefined],
    ],
    [[...entry, 'file'], ['./main.wasm']],
  ] as const)
    for (const value of values)
      assert.ok(!v.is(lockfileSchema, changed(lock, path, value)), `${path.join('.')}: ${value}`);
});

test('a manifest needs texts and lists that are not empty', () => {
  const plugin = ['plugins', 'constructor'];
  for (const [path, values] of [
    [
      ['plugins', 'b'],
      [[], {}],
    ],
    [
      [...plugin, 'versions'],
      [[], '1', undefined],
    ],
    [[...plugin, 'image'], ['']],
    [[...plugin, 'file'], ['']],
    [
      [...plugin, 'tags', '1'],
      ['', undefined],
    ],
    [['signatures'], [[], 'key']],
    [
      ['signatures', 0, 'images'],
      ['', [], ['']],
    ],
    [['signatures', 0, 'key'], ['']],
    [
      ['signatures', 3, 'unsigned'],
      [false, 'true'],
    ],
    [['mirrors', 'r.io'], ['h']],
  ] as const)
    for (const value of values)
      assert.ok(!v.is(manifestSchema, changed(manifest, path, value)), `${path.join('.')}: ${JSON.stringify(value)}`);
});

test('the manifest that ships matches its schema', async () => {
  assert.ok(v.is(manifestSchema, JSON.parse(await readFile(new URL('../../manifest.json', import.meta.url), 'utf8'))));
});
