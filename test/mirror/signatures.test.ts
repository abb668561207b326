import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, describe, it } from 'node:test';
import { SignatureInvalid, SignatureMissing, SignaturePolicyUnusable } from '../../mirror/signatures/foundSignature.ts';
import type { KeylessPolicy, KeyPolicy, SignaturePolicy, SignatureProof } from '../../mirror/signatures/policy.ts';
import { verifySignatures } from '../../mirror/signatures/verifySignatures.ts';
import { openRegistry } from '../../registry/openRegistry.ts';
import type { Reference } from '../../registry/reference.ts';
import { status } from '../support/faults.ts';
import { type Digest, digestOf, imageFormC, indexOf, type LayerInput, type TestImage } from '../support/images.ts';
import { buildModule } from '../support/module.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { slowUnless } from '../support/slow.ts';
import { FakeSigstore, IDENTITY, ISSUER } from './fakeSigstore.ts';
import {
  bundleImage,
  envelopeBundle,
  type Keyless,
  keylessLayer,
  messageBundle,
  payloadFor,
  publicPem,
  SIGN,
  signatureImage,
  sigTag,
  simpleLayer,
} from './signing.ts';

const repository = 'team/plugin';
const image = imageFormC({ wasm: buildModule({ sizeBytes: 2000 }) });
const other = imageFormC({ wasm: buildModule({ sizeBytes: 2001 }) });
const index = indexOf([{ platform: 'linux/amd64', image }], { attestations: true });
const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { privateKey: stranger } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const minute = 60_000;

let registry: TestRegistry;
let reference: Reference;
before(async () => {
  registry = await startRegistry();
});
after(() => registry.close());
let serial = 0;
beforeEach(() => {
  registry.script([]);
  registry.reset();
  reference = { registry: registry.host, repository: `${repository}${serial++}`, tag: '1' };
});

function put(one: TestImage, tag: string | null = null): void {
  registry.push(reference.repository, tag, one);
}

/** The image with these layers at its `.sig` tag. */
function putSigned(layers: readonly LayerInput[], subject: TestImage = image): void {
  put(subject, '1');
  put(signatureImage(layers), sigTag(subject.digest));
}

function byKey(by: KeyObject | string = key, trustedRoot?: object): KeyPolicy {
  const text = typeof by === 'string' ? by : publicPem(by);
  const root =
    trustedRoot === undefined
      ? {}
      : { trustedRoot: { written: './trusted_root.json', text: JSON.stringify(trustedRoot) } };
  return { kind: 'key', path: 'signatures', key: { written: './cosign.pub', text }, ...root };
}

async function verify(policy: SignaturePolicy): Promise<SignatureProof> {
  const opened = await openRegistry({ retries: 0 });
  try {
    const found = await opened.fetchImage(reference);
    return await verifySignatures(policy, found, reference, opened, new AbortController().signal);
  } finally {
    await opened.close();
  }
}

async function invalid(policy: SignaturePolicy, why: RegExp): Promise<void> {
  await assert.rejects(verify(policy), error => {
    assert.ok(error instanceof SignatureInvalid, String(error));
    assert.match(error.found ?? '', why);
    assert.ok(error.hint && error.expected);
    return true;
  });
}

describe('signatures that cosign itself made', () => {
  interface Recorded {
    readonly imageManifest: string;
    readonly indexManifest: string;
    readonly keys: Readonly<Record<string, string>>;
    readonly signatures: Readonly<
      Record<string, { key: string; manifests: { target: string; manifest: string; blobs: string[] }[] }>
    >;
  }
  const recorded = JSON.parse(readFileSync(new URL('./cosignSignatures.json', import.meta.url), 'utf8')) as Recorded;
  const stored = (text: string, blobs: readonly string[] = []): TestImage => {
    const manifest = Buffer.from(text);
    const { mediaType } = JSON.parse(text) as { mediaType: string };
    const bodies = blobs.map(blob => Buffer.from(blob));
    return { manifest, mediaType, digest: digestOf(manifest), blobs: new Map(bodies.map(it => [digestOf(it), it])) };
  };
  const signed = stored(recorded.imageManifest);
  const signedIndex = stored(recorded.indexManifest);

  for (const [name, { key: keyName, manifests }] of Object.entries(recorded.signatures)) {
    const prepare = () => {
      put(signed, '1');
      put(signedIndex, 'index');
      if (/index/.test(name)) reference = { ...reference, tag: 'index' };
      // Recorded where the registry has no referrers API: cosign kept the list under a tag.
      if (/tagged/.test(name)) registry.script([{ kind: 'referrers', fault: status(404) }]);
      for (const { target, manifest, blobs } of manifests)
        put(stored(manifest, blobs), target.startsWith('sha256:') ? null : target);
    };
    if (keyName === 'ed25519') {
      it(`${name}: found and refused, as it is prehashed`, async () => {
        prepare();
        await assert.rejects(verify(byKey(recorded.keys[keyName] ?? '')), (error: unknown) => {
          assert.ok(error instanceof SignaturePolicyUnusable, String(error));
          assert.equal(error.code, 'SIGNATURE_POLICY');
          assert.match(error.message, /cosign\.pub.*Ed25519/);
          assert.match(error.hint ?? '', /ECDSA/);
          return true;
        });
      });
    } else
      it(`${name}: found and accepted`, async () => {
        prepare();
        const proof = await verify(byKey(recorded.keys[keyName] ?? ''));
        assert.equal(proof.digest, /index/.test(name) ? signedIndex.digest : signed.digest);
        assert.match(proof.signer, /^key sha256:[0-9a-f]{64}$/);
        assert.match(proof.policy, /^[0-9a-f]{64}$/);
      });
    it(
      `${name}: refused for every other key`,
      slowUnless(/ (?:tag|bundle)$/.test(name) && !name.startsWith('p384')),
      async () => {
        prepare();
        await invalid(byKey(stranger), /signature verification failed/);
        for (const [otherName, pem] of Object.entries(recorded.keys))
          if (otherName !== keyName) await invalid(byKey(pem), /signature verification failed/);
      },
    );
  }
});

describe('signatures by a key', () => {
  it('a file with several keys accepts a signature by any of them, and names the key', async () => {
    const { privateKey: old } = generateKeyPairSync('ed25519');
    putSigned([simpleLayer(key, payloadFor(image.digest))]);
    const { signer } = await verify(byKey(key));
    for (const text of [
      publicPem(old) + publicPem(key),
      `# both\r\n${publicPem(key).trimEnd()}\r\n${publicPem(stranger)}`,
    ])
      assert.equal((await verify(byKey(text))).signer, signer);
    await assert.rejects(verify(byKey(publicPem(old) + publicPem(stranger))), SignatureInvalid);
  });

  it('a plain Ed25519 signature is accepted, next to one that may be prehashed as well', async () => {
    const { privateKey: plain } = generateKeyPairSync('ed25519');
    const { privateKey: wrong } = generateKeyPairSync('ed25519');
    putSigned([simpleLayer(plain, payloadFor(image.digest))]);
    assert.equal((await verify(byKey(plain))).digest, image.digest);
    await assert.rejects(verify(byKey(wrong)), SignaturePolicyUnusable);
    putSigned([simpleLayer(wrong, payloadFor(image.digest)), simpleLayer(plain, payloadFor(image.digest))]);
    assert.equal((await verify(byKey(plain))).digest, image.digest);
  });
  it('a missing signature is SIGNATURE_MISSING, after every lookup', async () => {
    put(index, '1');
    await assert.rejects(verify(byKey()), (error: unknown) => {
      assert.ok(error instanceof SignatureMissing);
      assert.equal(error.code, 'SIGNATURE_MISSING');
      assert.match(error.expected ?? '', /cosign\.pub/);
      return true;
    });
    const asked = registry.requests.map(({ path }) => path.replace(`/v2/${reference.repository}/`, ''));
    assert.deepEqual(
      asked.filter(path => path !== 'manifests/1'),
      [
        `manifests/${image.digest}`,
        `manifests/${sigTag(index.digest)}`,
        `referrers/${index.digest}`,
        `manifests/${sigTag(image.digest)}`,
        `referrers/${image.digest}`,
      ],
    );
  });

  it('one request finds a signature at cosign’s default tag', async () => {
    putSigned([simpleLayer(key, payloadFor(image.digest))]);
    await verify(byKey());
    assert.equal(registry.count('referrers'), 0);
    assert.equal(registry.count('manifest'), 2);
  });

  it('a signature of the manifest chosen from an index is accepted', async () => {
    put(index, '1');
    put(signatureImage([simpleLayer(key, payloadFor(image.digest))]), sigTag(image.digest));
    const { digest } = await verify(byKey());
    assert.equal(digest, image.digest);
  });

  it('a bundle with a signature over the bytes of the manifest is accepted', async () => {
    put(image, '1');
    put(bundleImage(messageBundle(key, image.manifest), image));
    assert.equal((await verify(byKey())).digest, image.digest);
    await invalid(byKey(stranger), /verification failed/);
  });

  it('one valid signature of several is enough, in any order', async () => {
    putSigned([
      simpleLayer(stranger, payloadFor(image.digest)),
      simpleLayer(key, payloadFor(other.digest)),
      { mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json', body: Buffer.from('\0garbage') },
      simpleLayer(key, payloadFor(image.digest)),
    ]);
    await verify(byKey());
    registry.reset();
    reference = { ...reference, repository: `${reference.repository}x` };
    putSigned([simpleLayer(stranger, payloadFor(image.digest))]);
    put(bundleImage(envelopeBundle(stranger, image.digest), image));
    put(bundleImage(envelopeBundle(key, image.digest), image, SIGN));
    await verify(byKey());
  });

  it('log entries are ignored without a trusted root', async () => {
    const sigstore = new FakeSigstore();
    putSigned([
      keylessLayer(
        { sigstore, signer: { key, certificate: sigstore.certify().certificate } },
        payloadFor(image.digest),
      ),
    ]);
    await verify(byKey());
  });

  const wrong: readonly [string, readonly LayerInput[], RegExp][] = [
    ['of a stranger', [simpleLayer(stranger, payloadFor(image.digest))], /verification failed/],
    ['of another image, copied over', [simpleLayer(key, payloadFor(other.digest))], /another image/],
    [
      'with a payload that was changed afterwards',
      [simpleLayer(key, payloadFor(other.digest), payloadFor(image.digest))],
      /verification failed/,
    ],
    [
      'that is no signature but cosign’s neighbour',
      [simpleLayer(key, payloadFor(image.digest, 'atomic container signature'))],
      /payload is not cosign/,
    ],
    ['of no digest', [simpleLayer(key, Buffer.from('{"critical":{}}'))], /payload is not cosign/],
    ['of no JSON', [simpleLayer(key, Buffer.from('\xff\xfe'))], /payload is not cosign/],
    [
      'without a signature',
      [{ ...simpleLayer(key, payloadFor(image.digest)), annotations: {} }],
      /without a signature/,
    ],
    [
      'that is no base64',
      [
        {
          ...simpleLayer(key, payloadFor(image.digest)),
          annotations: { 'dev.cosignproject.cosign/signature': '%%%%AAAA' },
        },
      ],
      /verification failed|without a signature/,
    ],
    [
      'with a certificate that is none',
      [
        {
          ...simpleLayer(key, payloadFor(image.digest)),
          annotations: { 'dev.cosignproject.cosign/signature': 'AAAA', 'dev.sigstore.cosign/certificate': 'x' },
        },
      ],
      /certificate cannot be read/,
    ],
    [
      'with a log entry of garbage',
      [
        {
          ...simpleLayer(key, payloadFor(image.digest)),
          annotations: { 'dev.cosignproject.cosign/signature': 'AAAA', 'dev.sigstore.cosign/bundle': '{"Payload":7}' },
        },
      ],
      /log entry is not cosign/,
    ],
    [
      'that is too large to be one',
      [{ ...simpleLayer(key, payloadFor(image.digest)), body: Buffer.alloc(2 * 1024 * 1024) }],
      /2097152 bytes/,
    ],
  ];
  for (const [what, layers, why] of wrong)
    it(`a signature ${what} is refused`, async () => {
      putSigned(layers);
      await invalid(byKey(), why);
    });

  it('a large blob is not requested', async () => {
    putSigned([{ mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json', body: Buffer.alloc(2 * 1024 * 1024) }]);
    await invalid(byKey(), /bytes/);
    assert.equal(registry.count('blob'), 0);
  });

  it('a blob of another size than declared is refused', async () => {
    const layer = simpleLayer(key, payloadFor(image.digest));
    putSigned([{ ...layer, body: Buffer.alloc(4 * 1024 * 1024), size: 300, digest: digestOf(layer.body) }]);
    await assert.rejects(verify(byKey()));
  });

  it('at most a hundred signatures are read', async () => {
    putSigned(Array.from({ length: 300 }, () => simpleLayer(stranger, payloadFor(image.digest))));
    await invalid(byKey(), /more than 100 signatures/);
  });

  it('an attestation by the right key is not a signature', async () => {
    put(image, '1');
    put(bundleImage(envelopeBundle(key, image.digest, 'https://slsa.dev/provenance/v1'), image));
    await invalid(byKey(), /attestation \(https:\/\/slsa.dev\/provenance\/v1\)/);
  });

  it('a referrer that declares another kind is not fetched', async () => {
    put(image, '1');
    const predicate = 'https://slsa.dev/provenance/v1';
    put(bundleImage(envelopeBundle(key, image.digest, predicate), image, predicate));
    await assert.rejects(verify(byKey()), SignatureMissing);
    assert.equal(registry.count('blob'), 0);
  });

  const bundles: readonly [string, object | Buffer, RegExp][] = [
    ['of garbage', Buffer.from('\0\0'), /bundle that cannot be read/],
    ['of nothing', {}, /bundle that cannot be read/],
    ['that is a list', [], /bundle that cannot be read/],
    ['about another image', envelopeBundle(key, other.digest), /another image/],
    ['over other bytes', messageBundle(key, other.manifest), /another digest/],
    ['by a stranger', envelopeBundle(stranger, image.digest), /verification failed/],
  ];
  for (const [what, bundle, why] of bundles)
    it(`a bundle ${what} is refused`, async () => {
      put(image, '1');
      put(bundleImage(bundle, image));
      await invalid(byKey(), why);
    });

  it('a signature tag on another kind of image is not a signature', async () => {
    put(image, '1');
    put(image, sigTag(image.digest));
    await assert.rejects(verify(byKey()), SignatureMissing);
    put(indexOf([]), sigTag(image.digest));
    await invalid(byKey(), /manifest that cannot be read/);
  });

  it('an error of the registry is reported as such', async () => {
    putSigned([simpleLayer(key, payloadFor(image.digest))]);
    registry.script([{ path: /\.sig$/, fault: status(503) }]);
    await assert.rejects(verify(byKey()), { code: 'REGISTRY_UNAVAILABLE' });
    registry.script([{ kind: 'blob', fault: status(403) }]);
    await assert.rejects(verify(byKey()), { code: 'REGISTRY_DENIED' });
    registry.script([
      { kind: 'manifest', path: /\.sig$/, fault: status(404) },
      { kind: 'referrers', fault: status(500) },
    ]);
    await assert.rejects(verify(byKey()), { code: 'REGISTRY_UNAVAILABLE' });
  });

  it('a mirror without signatures does not hide those of the registry', async () => {
    const mirror = await startRegistry();
    try {
      mirror.push(reference.repository, '1', image);
      put(image, '1');
      put(bundleImage(envelopeBundle(key, image.digest), image));
      const opened = await openRegistry({ retries: 0, mirrors: { [registry.host]: [mirror.host] } });
      try {
        const found = await opened.fetchImage(reference);
        const { signal } = new AbortController();
        await verifySignatures(byKey(), found, reference, opened, signal);
        registry.remove(reference.repository, image.digest);
        await registry.down();
        await assert.rejects(
          verifySignatures(byKey(), found, { ...reference, repository: 'none/of-it' }, opened, signal),
          {
            code: /SIGNATURE_MISSING|REGISTRY_ALL_FAILED/,
          },
        );
      } finally {
        await opened.close();
        await registry.up();
      }
    } finally {
      await mirror.close();
    }
  });

  it('an abort rejects with its reason', async () => {
    putSigned([simpleLayer(key, payloadFor(image.digest))]);
    const opened = await openRegistry({ retries: 0 });
    try {
      const found = await opened.fetchImage(reference);
      const reason = new Error('enough');
      await assert.rejects(verifySignatures(byKey(), found, reference, opened, AbortSignal.abort(reason)), reason);
    } finally {
      await opened.close();
    }
  });
});

describe('signatures without a key', () => {
  const sigstore = new FakeSigstore();
  const keyless = (options: Partial<KeylessPolicy> = {}, root: object = sigstore.trustedRoot()): KeylessPolicy => ({
    kind: 'keyless',
    path: 'signatures[0]',
    identity: { exact: IDENTITY },
    issuer: ISSUER,
    trustedRoot: { written: './trusted_root.json', text: JSON.stringify(root) },
    ...options,
  });
  const forms: Readonly<Record<string, (by: Keyless, digest?: Digest) => void>> = {
    'at the tag': (by, digest = image.digest) => putSigned([keylessLayer(by, payloadFor(digest))]),
    'in a bundle': (by, digest = image.digest) => {
      put(image, '1');
      put(bundleImage(envelopeBundle(by, digest), image));
    },
  };

  for (const [form, sign] of Object.entries(forms)) {
    it(`${form}: accepted, with the signer’s name`, async () => {
      sign({ sigstore, signer: sigstore.certify() });
      const { signer, digest } = await verify(keyless());
      assert.equal(signer, `${IDENTITY} by ${ISSUER}`);
      assert.equal(digest, image.digest);
    });

    it(`${form}: accepted years later, by the time in the log`, slowUnless(form === 'in a bundle'), async () => {
      const at = new Date(Date.now() - 300 * minute);
      const signer = sigstore.certify({
        notBefore: new Date(at.getTime() - minute),
        notAfter: new Date(at.getTime() + 9 * minute),
      });
      sign({ sigstore, signer, at });
      await verify(keyless());
    });

    it(`${form}: a pattern must match the whole identity`, async () => {
      sign({ sigstore, signer: sigstore.certify() });
      await verify(keyless({ identity: { pattern: 'https://github\\.com/team/.*' } }));
      await verify(keyless({ identity: { pattern: 'nobody|https://github\\.com/team/plugins/.*' } }));
      await invalid(keyless({ identity: { pattern: 'https://github\\.com/team/' } }), /must match the whole/);
      await invalid(keyless({ identity: { pattern: 'x|team/.*' } }), /must match the whole/);
    });

    const wrong: readonly [string, () => Keyless, Partial<KeylessPolicy>, RegExp][] = [
      [
        'another identity',
        () => ({ sigstore, signer: sigstore.certify({ identity: `${IDENTITY}x` }) }),
        {},
        /a signature by "https:/,
      ],
      [
        'another issuer',
        () => ({ sigstore, signer: sigstore.certify({ issuer: `${ISSUER}.evil.example` }) }),
        {},
        /confirmed by the issuer "https:.*evil/,
      ],
      [
        'a certificate of another authority',
        () => {
          const strange = new FakeSigstore();
          return { sigstore, signer: strange.certify() };
        },
        {},
        /certificate chain/,
      ],
      [
        'a log that nobody trusts',
        () => ({ sigstore: new FakeSigstore(), signer: sigstore.certify() }),
        {},
        /could not be verified|promise|checkpoint/,
      ],
      ['no log entry', () => ({ sigstore, signer: sigstore.certify(), at: 'unlogged' }), {}, /expected 1 timestamps/],
      [
        'a certificate that had expired when it was made',
        () => ({
          sigstore,
          signer: sigstore.certify({
            notBefore: new Date(Date.now() - 60 * minute),
            notAfter: new Date(Date.now() - 50 * minute),
          }),
        }),
        {},
        /certificate chain.*expired/,
      ],
      [
        'an expired certificate and no log entry',
        () => ({
          sigstore,
          signer: sigstore.certify({
            notBefore: new Date(Date.now() - 60 * minute),
            notAfter: new Date(Date.now() - 50 * minute),
          }),
          at: 'unlogged',
        }),
        {},
        /expected 1 timestamps/,
      ],
      [
        'a certificate in no certificate log',
        () => ({ sigstore, signer: sigstore.certify({ unlogged: true }) }),
        {},
        /SCT/,
      ],
      [
        'a certificate that is not for signing code',
        () => ({ sigstore, signer: sigstore.certify({ usage: 'clientAuth' }) }),
        {},
        /not for code signing/,
      ],
      [
        'another key than its certificate has',
        () => ({ sigstore, signer: { key, certificate: sigstore.certify().certificate } }),
        {},
        /verification failed/,
      ],
    ];
    for (const [what, by, policy, why] of wrong)
      it(`${form}: refused with ${what}`, slowUnless(form === 'in a bundle'), async () => {
        sign(by());
        await invalid(keyless(policy), why);
      });

    it(`${form}: refused for another image`, async () => {
      sign({ sigstore, signer: sigstore.certify() }, other.digest);
      await invalid(keyless(), /another image/);
    });

    it(`${form}: the log entry of another signature proves nothing`, async () => {
      const signer = sigstore.certify();
      const by = { sigstore, signer };
      const strange: Keyless = { sigstore: Object.assign(Object.create(sigstore), { entry: () => entry }), signer };
      const entry = sigstore.entry(
        JSON.parse(
          '{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"00"}},"signature":{"content":"AAAA"}}}',
        ),
      );
      sign({ ...by, ...strange });
      await invalid(keyless(), /mismatch|unsupported|kind/);
    });
  }

  it('a signature by a key has no identity', async () => {
    putSigned([simpleLayer(key, payloadFor(image.digest))]);
    await invalid(keyless(), /without a certificate/);
    put(bundleImage(envelopeBundle(key, image.digest), image));
    await invalid(keyless(), /without a certificate/);
  });

  it('a key policy with a trusted root requires an entry in its log', async () => {
    const { certificate } = sigstore.certify();
    putSigned([keylessLayer({ sigstore, signer: { key, certificate } }, payloadFor(image.digest))]);
    await verify(byKey(key, sigstore.trustedRoot()));
    await invalid(byKey(key, new FakeSigstore().trustedRoot()), /could not be verified/);
    putSigned([simpleLayer(key, payloadFor(image.digest))]);
    await invalid(byKey(key, sigstore.trustedRoot()), /tlog/);
  });

  it('an invalid trusted root is SIGNATURE_POLICY', async () => {
    putSigned([simpleLayer(key, payloadFor(image.digest))]);
    const root = sigstore.trustedRoot();
    for (const broken of [
      { certificateAuthorities: [] },
      { ...root, certificateAuthorities: [] },
      { ...root, tlogs: [] },
      { ...root, certificateAuthorities: [{ certChain: { certificates: [{ rawBytes: 'AAAA' }] } }] },
      { certificateAuthorities: 'x', tlogs: 7 },
    ])
      await assert.rejects(verify(keyless({}, broken)), (error: unknown) => {
        assert.ok(error instanceof SignaturePolicyUnusable, String(error));
        assert.equal(error.code, 'SIGNATURE_POLICY');
        assert.equal(error.subject, './trusted_root.json');
        return true;
      });
  });
});
