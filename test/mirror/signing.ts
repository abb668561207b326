import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { type Digest, imageOf, type LayerInput, MEDIA, type TestImage } from '../support/images.ts';
import { type FakeSigstore, pemOf, type Signer } from './fakeSigstore.ts';

// Signatures as cosign makes them, in both formats, with every part open to being wrong.

export const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
export const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
export const SIGN = 'https://sigstore.dev/cosign/sign/v1';

export interface Keyless {
  readonly sigstore: FakeSigstore;
  readonly signer: Signer;
  /** When the log says that it took the entry. `unlogged`: there is none. Default: now. */
  readonly at?: Date | 'unlogged';
}

export function payloadFor(digest: string, type = 'cosign container image signature'): Buffer {
  const critical = { identity: { 'docker-reference': 'x/y' }, image: { 'docker-manifest-digest': digest }, type };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

/** One layer of the first format; `sent` is what is pushed in the payload's place. */
export function simpleLayer(key: KeyObject, payload: Buffer, sent = payload): LayerInput {
  const signature = sign(hashFor(key), payload, key).toString('base64');
  return { mediaType: SIMPLE_SIGNING, body: sent, annotations: { 'dev.cosignproject.cosign/signature': signature } };
}

export function keylessLayer({ sigstore, signer, at }: Keyless, payload: Buffer): LayerInput {
  const layer = simpleLayer(signer.key, payload);
  const signature = layer.annotations?.['dev.cosignproject.cosign/signature'] ?? '';
  const annotations: Record<string, string> = {
    ...layer.annotations,
    'dev.sigstore.cosign/certificate': pemOf(signer.certificate),
  };
  if (at !== 'unlogged') {
    const entry = sigstore.entry(
      {
        apiVersion: '0.0.1',
        kind: 'hashedrekord',
        spec: {
          data: { hash: { algorithm: 'sha256', value: createHash('sha256').update(payload).digest('hex') } },
          signature: { content: signature, publicKey: { content: base64(pemOf(signer.certificate)) } },
        },
      } as { apiVersion: string; kind: string },
      at,
    );
    annotations['dev.sigstore.cosign/bundle'] = JSON.stringify({
      SignedEntryTimestamp: entry.inclusionPromise.signedEntryTimestamp,
      Payload: {
        body: entry.canonicalizedBody,
        integratedTime: Number(entry.integratedTime),
        logIndex: Number(entry.logIndex),
        logID: Buffer.from(entry.logId.keyId, 'base64').toString('hex'),
      },
    });
  }
  return { ...layer, annotations };
}

/** The image at the tag `sha256-….sig`, or a referrer of a subject. */
export function signatureImage(layers: readonly LayerInput[], subject?: TestImage): TestImage {
  return imageOf({
    config: { mediaType: MEDIA.ociConfig, body: Buffer.from('{}') },
    layers,
    ...(subject === undefined
      ? {}
      : { artifactType: 'application/vnd.dev.cosign.artifact.sig.v1+json', subject: describe(subject) }),
  });
}

export function bundleImage(bundle: object | Buffer, subject: TestImage, predicate?: string): TestImage {
  return imageOf({
    artifactType: BUNDLE,
    layers: [{ mediaType: BUNDLE, body: Buffer.isBuffer(bundle) ? bundle : Buffer.from(JSON.stringify(bundle)) }],
    subject: describe(subject),
    ...(predicate === undefined ? {} : { annotations: { 'dev.sigstore.bundle.predicateType': predicate } }),
  });
}

/** A statement in an envelope, signed by a bare key or by a certificate's. */
export function envelopeBundle(by: KeyObject | Keyless, digest: string, predicateType = SIGN): object {
  const [, hash = ''] = digest.split(':');
  const statement = { _type: 'https://in-toto.io/Statement/v1', subject: [{ digest: { sha256: hash } }] };
  const payload = Buffer.from(JSON.stringify({ ...statement, predicateType, predicate: {} }));
  const type = 'application/vnd.in-toto+json';
  const encoded = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
  const key = 'sigstore' in by ? by.signer.key : by;
  const signature = sign(hashFor(key), encoded, key).toString('base64');
  const envelope = { payload: payload.toString('base64'), payloadType: type, signatures: [{ sig: signature }] };
  const hashed = { algorithm: 'sha256', value: createHash('sha256').update(payload).digest('hex') };
  const envelopeHash = {
    algorithm: 'sha256',
    value: createHash('sha256').update(JSON.stringify(envelope)).digest('hex'),
  };
  const signatures = [{ signature, verifier: base64(verifierOf(by)) }];
  const body = { apiVersion: '0.0.1', kind: 'dsse', spec: { envelopeHash, payloadHash: hashed, signatures } };
  return { mediaType: BUNDLE, verificationMaterial: materialOf(by, body), dsseEnvelope: envelope };
}

/** A signature over the manifest's own bytes. */
export function messageBundle(by: KeyObject | Keyless, manifest: Buffer): object {
  const key = 'sigstore' in by ? by.signer.key : by;
  const signature = sign(hashFor(key), manifest, key).toString('base64');
  const digest = createHash('sha256').update(manifest).digest();
  const data = { hash: { algorithm: 'sha256', value: digest.toString('hex') } };
  const signedBy = { content: signature, publicKey: { content: base64(verifierOf(by)) } };
  const body = { apiVersion: '0.0.1', kind: 'hashedrekord', spec: { data, signature: signedBy } };
  const messageDigest = { algorithm: 'SHA2_256', digest: digest.toString('base64') };
  return {
    mediaType: BUNDLE,
    verificationMaterial: materialOf(by, body),
    messageSignature: { messageDigest, signature },
  };
}

export function sigTag(digest: Digest): string {
  return `${digest.replace(':', '-')}.sig`;
}

export function publicPem(key: KeyObject): string {
  return String(createPublicKey(key).export({ type: 'spki', format: 'pem' }));
}

function materialOf(by: KeyObject | Keyless, body: { apiVersion: string; kind: string }): object {
  if (!('sigstore' in by)) return { publicKey: { hint: '' } };
  const entries = by.at === 'unlogged' ? [] : [by.sigstore.entry(body, by.at)];
  return { certificate: { rawBytes: by.signer.certificate.toString('base64') }, tlogEntries: entries };
}

function verifierOf(by: KeyObject | Keyless): string {
  return 'sigstore' in by ? pemOf(by.signer.certificate) : publicPem(by);
}

function describe(subject: TestImage): { mediaType: string; digest: Digest; size: number } {
  return { mediaType: subject.mediaType, digest: subject.digest, size: subject.manifest.length };
}

function hashFor(key: KeyObject): 'sha256' | null {
  return key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
