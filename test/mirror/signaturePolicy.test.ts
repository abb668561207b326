import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Problem } from '../../mirror/json/problem.ts';
import { ManifestInvalid } from '../../mirror/manifest/errors.ts';
import { type PluginManifest, parsePluginManifest } from '../../mirror/manifest/readManifest.ts';
import { fingerprintOf, type SignaturePolicy } from '../../mirror/signatures/policy.ts';
import { FakeSigstore, IDENTITY, ISSUER } from './fakeSigstore.ts';
import { publicPem } from './signing.ts';

let folder: string;
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey;
const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).privateKey;
const keys: Readonly<Record<string, KeyObject>> = {
  p256: ec('P-256'),
  p384: ec('P-384'),
  p521: ec('P-521'),
  ed25519: generateKeyPairSync('ed25519').privateKey,
  rsa: rsa(2048),
  short: rsa(1024),
  k256: ec('secp256k1'),
  x25519: generateKeyPairSync('x25519').privateKey,
};
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signature-policy-'));
  for (const [name, key] of Object.entries(keys)) await writeFile(join(folder, `${name}.pub`), publicPem(key));
  const second = publicPem(keys.p384 as KeyObject).replace(/^M/m, 'N');
  await writeFile(join(folder, 'second.pub'), publicPem(keys.p256 as KeyObject) + second);
  await writeFile(join(folder, 'cut.pub'), publicPem(keys.p256 as KeyObject) + second.slice(0, 100));
  await writeFile(join(folder, 'private.pem'), String(keys.p256?.export({ type: 'pkcs8', format: 'pem' })));
  await writeFile(join(folder, 'garbage.pub'), '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n');
  await writeFile(join(folder, 'not.pub'), '\0asm');
  await writeFile(join(folder, 'wide.pub'), Buffer.from(`\ufeff${publicPem(keys.p256 as KeyObject)}`, 'utf16le'));
  await writeFile(join(folder, 'large.pub'), Buffer.alloc(70_000, 'a'));
  await mkdir(join(folder, 'folder'));
  await writeFile(join(folder, 'root.json'), JSON.stringify(new FakeSigstore().trustedRoot()));
  await writeFile(join(folder, 'other.json'), '{}');
  await writeFile(join(folder, 'main.wasm'), '\0asm');
});
after(() => rm(folder, { recursive: true, force: true }));

function parse(signatures: unknown, plugins: unknown = { p: '1', q: { image: 'h.io/team/q', versions: ['1', '2'] } }) {
  const text = JSON.stringify({ registry: 'r.io', plugins, signatures }, null, 2);
  return parsePluginManifest(text, { file: join(folder, 'manifest.json') });
}

function policies(manifest: PluginManifest): (string | undefined)[] {
  return manifest.versions.map(({ signatures }) => signatures?.path);
}

async function problems(signatures: unknown, plugins?: unknown): Promise<readonly Problem[]> {
  try {
    await parse(signatures, plugins);
  } catch (error) {
    assert.ok(error instanceof ManifestInvalid, String(error));
    return error.problems;
  }
  throw new assert.AssertionError({ message: `accepted: ${JSON.stringify(signatures)}` });
}

const keyless = { identity: IDENTITY, issuer: ISSUER, trustedRoot: 'root.json' };

describe('signatures in a manifest', () => {
  it('without "signatures" no version has a policy', async () => {
    const text = '{"plugins":{"p":"1"}}';
    const [version] = (await parsePluginManifest(text, { file: join(folder, 'manifest.json') })).versions;
    assert.equal(version && 'signatures' in version, false);
  });

  for (const name of ['p256', 'p384', 'p521', 'ed25519', 'rsa'])
    it(`a key of ${name} applies to every image`, async () => {
      const manifest = await parse({ key: `./${name}.pub` });
      assert.deepEqual(policies(manifest), ['signatures', 'signatures', 'signatures']);
    });

  it('an identity, exactly or by pattern', async () => {
    const [exact] = (await parse(keyless)).versions;
    assert.ok(exact?.signatures?.kind === 'keyless');
    assert.deepEqual(exact.signatures.identity, { exact: IDENTITY });
    const { identity: _, ...rest } = keyless;
    const [pattern] = (await parse({ ...rest, identityPattern: 'a|b' })).versions;
    assert.ok(pattern?.signatures?.kind === 'keyless');
    assert.deepEqual(pattern.signatures.identity, { pattern: 'a|b' });
  });

  it('the first policy that matches an image applies to it', async () => {
    const list = [
      { images: 'h.io/**', key: 'p256.pub' },
      { images: ['r.io/plugins/*'], unsigned: true },
    ];
    assert.deepEqual(policies(await parse(list)), [undefined, 'signatures[0]', 'signatures[0]']);
    assert.deepEqual(policies(await parse([{ images: 'h.io/*', unsigned: true }, { key: 'p256.pub' }])), [
      'signatures[1]',
      'signatures[1]',
      'signatures[1]',
    ]);
  });

  it('local files need no policy', async () => {
    const plugins = { p: '1', l: { file: './main.wasm', versions: ['1'] } };
    assert.deepEqual(policies(await parse([{ images: 'r.io/**', key: 'p256.pub' }], plugins)), [
      'signatures[0]',
      undefined,
    ]);
  });

  it('an image without a policy is a problem, reported once', async () => {
    const found = await problems([{ images: 'r.io/**', key: 'p256.pub' }]);
    assert.deepEqual(
      found.map(({ place }) => place),
      ['signatures'],
    );
    assert.match(found[0]?.found ?? '', /h\.io\/team\/q/);
    assert.match(found[0]?.hint ?? '', /unsigned/);
  });

  it('equal policies have equal fingerprints', async () => {
    const of = async (signatures: unknown): Promise<string> => {
      const [version] = (await parse(signatures)).versions;
      assert.ok(version?.signatures);
      return fingerprintOf(version.signatures as SignaturePolicy);
    };
    await writeFile(join(folder, 'copy.pub'), `# a comment\n${publicPem(keys.p256 as KeyObject)}`);
    assert.equal(await of({ key: 'p256.pub' }), await of([{ images: '**', key: './copy.pub' }]));
    await writeFile(join(folder, 'both.pub'), [keys.p384, keys.p256].map(key => publicPem(key as KeyObject)).join(''));
    await writeFile(
      join(folder, 'turned.pub'),
      [keys.p256, keys.p384].map(key => publicPem(key as KeyObject)).join(''),
    );
    assert.equal(await of({ key: 'both.pub' }), await of({ key: 'turned.pub' }));
    const all = [
      { key: 'both.pub' },
      { key: 'p256.pub' },
      { key: 'p384.pub' },
      { key: 'p256.pub', trustedRoot: 'root.json' },
      keyless,
      { ...keyless, issuer: 'https://example.com' },
      { ...keyless, identity: 'x' },
      { identityPattern: IDENTITY, issuer: ISSUER, trustedRoot: 'root.json' },
    ];
    assert.equal(new Set(await Promise.all(all.map(of))).size, all.length);
  });

  const cases: readonly [string, unknown, string, RegExp][] = [
    ['no signer', {}, 'signatures', /no signer/],
    ['no signer in a list', [{ images: '**' }], 'signatures[0]', /no signer/],
    ['an empty list', [], 'signatures', /at least one policy/],
    ['a text', 'cosign.pub', 'signatures', /a policy, or a list/],
    ['null', null, 'signatures', /a policy, or a list/],
    ['an unknown key', { keys: 'p256.pub' }, 'signatures.keys', /Did you mean "key"/],
    ['an unknown key in a list', [{ key: 'p256.pub', image: 'x' }], 'signatures[0].image', /Did you mean "images"/],
    ['two kinds', { key: 'p256.pub', identity: 'x' }, 'signatures.identity', /together with "key"/],
    ['both identities', { ...keyless, identityPattern: 'x' }, 'signatures.identityPattern', /together with "identity"/],
    ['unsigned and a key', { unsigned: true, key: 'p256.pub' }, 'signatures.key', /together with "unsigned"/],
    ['unsigned: false', { unsigned: false }, 'signatures.unsigned', /expected true/],
    ['an issuer with a key', { key: 'p256.pub', issuer: 'x' }, 'signatures.issuer', /"identity" only/],
    ['no issuer', { identity: 'x', trustedRoot: 'root.json' }, 'signatures.identity', /without "issuer"/],
    ['no root', { identity: 'x', issuer: 'x' }, 'signatures.identity', /none is downloaded/],
    ['an empty identity', { ...keyless, identity: '' }, 'signatures.identity', /the identity/],
    [
      'a broken pattern',
      { identityPattern: '(', issuer: 'x', trustedRoot: 'root.json' },
      'signatures.identityPattern',
      /regular expression/,
    ],
    [
      'a pattern that breaks out of its brackets',
      { identityPattern: 'a)|(b', issuer: 'x', trustedRoot: 'root.json' },
      'signatures.identityPattern',
      /regular expression/,
    ],
    ['a missing key', { key: './no.pub' }, 'signatures.key', /does not exist.*\n?.*Looked for/s],
    ['a folder', { key: './folder' }, 'signatures.key', /not a file/],
    ['a large file', { key: './large.pub' }, 'signatures.key', /70000 bytes/],
    ['no PEM', { key: './not.pub' }, 'signatures.key', /not PEM/],
    ['a private key', { key: './private.pem' }, 'signatures.key', /private key.*secret/s],
    ['UTF-16', { key: './wide.pub' }, 'signatures.key', /UTF-16.*ascii/s],
    ['garbage in PEM', { key: './garbage.pub' }, 'signatures.key', /cannot be read: its content is cut off/],
    ['garbage after a key', { key: './second.pub' }, 'signatures.key', /cannot be read.*block 2 of the file/s],
    ['a second key that is cut off', { key: './cut.pub' }, 'signatures.key', /cannot be read.*block 2 of the file/s],
    ['a short RSA key', { key: './short.pub' }, 'signatures.key', /1024 bits/],
    ['a strange curve', { key: './k256.pub' }, 'signatures.key', /secp256k1/],
    ['a key that cannot sign', { key: './x25519.pub' }, 'signatures.key', /x25519/],
    ['a root that is none', { ...keyless, trustedRoot: 'other.json' }, 'signatures.trustedRoot', /other JSON/],
    ['a root without JSON', { ...keyless, trustedRoot: 'not.pub' }, 'signatures.trustedRoot', /not JSON/],
    ['no globs', [{ images: [], key: 'p256.pub' }, { unsigned: true }], 'signatures[0].images', /at least one glob/],
    [
      'a glob that could take very long to match',
      [{ images: ['x/*', '[a]*a*a*a*c'], unsigned: true }, { unsigned: true }],
      'signatures[0].images',
      /"\[a\]\*a\*a\*a\*c".*at most 3 of/s,
    ],
    ['a policy after the last', [{ unsigned: true }, { key: 'p256.pub' }], 'signatures[1]', /applies to all images/],
  ];
  for (const [what, signatures, place, told] of cases)
    it(`refuses ${what}`, async () => {
      const found = await problems(signatures);
      const own = found.find(problem => problem.place === place);
      assert.ok(own, JSON.stringify(found));
      assert.match(`found ${own.found}, expected ${own.expected}\n${own.hint ?? ''}`, told);
      assert.ok((own.line ?? 0) > 1, 'with its line');
    });
});
