import { createHash, X509Certificate } from 'node:crypto';
import { type Bundle, bundleFromJSON } from '@sigstore/bundle';
import { toSignedEntity } from '@sigstore/verify';
import * as v from 'valibot';
import { parseBoundedJson } from '../../base/boundedJson.ts';
import { looseObject, record } from '../../base/strictSchema.ts';
import { type FoundSignature, NoSignature, signedContent } from './foundSignature.ts';

/** The predicate of cosign 3's signatures. Other predicates (provenance, scans) are attestations, not signatures. */
export const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
const IN_TOTO = 'application/vnd.in-toto+json';

const hexDigest = v.pipe(v.string(), v.regex(/^[0-9a-f]+$/));
const statementSchema = looseObject({
  _type: v.picklist(['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1']),
  predicateType: v.string(),
  subject: v.array(looseObject({ digest: record(v.string(), hexDigest, 'not an object') })),
});

/** True for Sigstore's bundles of any version (sigstore/protobuf-specs, sigstore_bundle.proto, media_type). */
export function isBundleType(mediaType: string): boolean {
  return /^application\/vnd\.dev\.sigstore\.bundle(?:\.v\d+(?:\.\d+)?\+json|\+json;version=\d)/.test(mediaType);
}

/**
 * Reads a Sigstore bundle: a DSSE envelope with an in-toto statement, as cosign 3 makes it, or a signature over the bytes of
 * the manifest. @param manifestOf returns these bytes @throws NoSignature, and any error of `manifestOf`
 */
export async function readBundle(
  bytes: Buffer,
  manifestOf: (digest: string) => Promise<Buffer | undefined>,
): Promise<FoundSignature> {
  const { bundle, entity } = parse(bytes);
  const certificate = certificateOf(bundle);
  const found = (digests: readonly string[], signed: Buffer, signature: Buffer, logged: Buffer): FoundSignature => ({
    digests,
    entity: { ...entity, signature: signedContent(signed, signature, logged) },
    ...(certificate === undefined ? {} : { certificate }),
  });
  if (bundle.content.$case === 'dsseEnvelope') {
    const { payload, payloadType, signatures } = bundle.content.dsseEnvelope;
    const [signature] = signatures;
    if (payloadType !== IN_TOTO || signature === undefined)
      throw new NoSignature(`an envelope with a payload of type ${JSON.stringify(payloadType.slice(0, 80))}`);
    return found(digestsIn(payload), encodeForSigning(payloadType, payload), signature.sig, sha256(payload));
  }
  const { messageDigest, signature } = bundle.content.messageSignature;
  const digest = `sha256:${messageDigest.digest.toString('hex')}`;
  const manifest = await manifestOf(digest);
  if (manifest === undefined) throw new NoSignature(`a signature of another digest (${digest})`);
  return found([digest], manifest, signature, sha256(manifest));
}

function parse(bytes: Buffer) {
  try {
    const bundle = bundleFromJSON(parseBoundedJson(bytes.toString('utf8')));
    return { bundle, entity: toSignedEntity(bundle) };
  } catch (error) {
    throw new NoSignature('a bundle that cannot be read', { cause: error });
  }
}

function digestsIn(payload: Buffer): string[] {
  let statement: v.InferOutput<typeof statementSchema>;
  try {
    statement = v.parse(statementSchema, parseBoundedJson(payload.toString('utf8')));
  } catch (error) {
    throw new NoSignature('an envelope without an in-toto statement', { cause: error });
  }
  if (statement.predicateType !== SIGN_PREDICATE)
    throw new NoSignature(`an attestation (${statement.predicateType.slice(0, 200)}), which is not a signature`);
  return statement.subject.flatMap(({ digest }) =>
    Object.entries(digest).map(([algorithm, hash]) => `${algorithm}:${hash}`),
  );
}

function certificateOf({ verificationMaterial: { content } }: Bundle): Buffer | undefined {
  if (content.$case === 'certificate') return content.certificate.rawBytes;
  return content.$case === 'x509CertificateChain' ? content.x509CertificateChain.certificates[0]?.rawBytes : undefined;
}

/** DSSE's pre-authentication encoding (secure-systems-lab/dsse, protocol.md). */
function encodeForSigning(type: string, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload]);
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** The media type of cosign's first signature format: the payload is the blob, everything else is in the layer's annotations. */
export const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';

const annotationOf = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  rekor: 'dev.sigstore.cosign/bundle',
  timestamp: 'dev.sigstore.cosign/rfc3161timestamp',
} as const;

const payloadSchema = looseObject({
  critical: looseObject({
    image: looseObject({ 'docker-manifest-digest': v.string() }),
    type: v.literal('cosign container image signature'),
  }),
});
const base64 = v.pipe(v.string(), v.base64());
const whole = v.pipe(v.number(), v.safeInteger());
const rekorSchema = looseObject({
  SignedEntryTimestamp: base64,
  Payload: looseObject({
    body: base64,
    integratedTime: whole,
    logIndex: whole,
    logID: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  }),
});
const entrySchema = looseObject({ kind: v.string(), apiVersion: v.string() });
const timestampSchema = looseObject({ SignedRFC3161Timestamp: base64 });

/**
 * Reads one layer of cosign's first format (cosign, specs/SIGNATURE_SPEC.md) and converts it to a Sigstore bundle, so that one
 * verifier does for all formats. The certificate chain in the annotations is ignored: only the trusted root's authorities count.
 * @throws NoSignature
 */
export function readSimpleSigning(payload: Buffer, annotations: Readonly<Record<string, string>> = {}): FoundSignature {
  const signature = Buffer.from(annotations[annotationOf.signature] ?? '', 'base64');
  if (signature.length === 0) throw new NoSignature('a payload without a signature');
  const { critical } = read(payloadSchema, payload.toString('utf8'), 'payload');
  const certificate = certificateIn(annotations[annotationOf.certificate]);
  const logged = createHash('sha256').update(payload).digest();
  const bundle = bundleOf(annotations, signature, logged, certificate);
  return {
    digests: [critical.image['docker-manifest-digest']],
    entity: { ...toSignedEntity(bundle), signature: signedContent(payload, signature, logged) },
    ...(certificate === undefined ? {} : { certificate }),
  };
}

function bundleOf(
  annotations: Readonly<Record<string, string>>,
  signature: Buffer,
  logged: Buffer,
  certificate: Buffer | undefined,
) {
  const timestamp = annotations[annotationOf.timestamp];
  const stamps = timestamp
    ? [{ signedTimestamp: read(timestampSchema, timestamp, 'timestamp').SignedRFC3161Timestamp }]
    : [];
  try {
    return bundleFromJSON({
      // The oldest version: it accepts a log's promise without a proof of inclusion.
      mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
      messageSignature: {
        messageDigest: { algorithm: 'SHA2_256', digest: logged.toString('base64') },
        signature: signature.toString('base64'),
      },
      verificationMaterial: {
        ...(certificate === undefined
          ? { publicKey: { hint: '' } }
          : { x509CertificateChain: { certificates: [{ rawBytes: certificate.toString('base64') }] } }),
        tlogEntries: entriesIn(annotations[annotationOf.rekor]),
        timestampVerificationData: { rfc3161Timestamps: stamps },
      },
    });
  } catch (error) {
    if (error instanceof NoSignature) throw error;
    throw new NoSignature('a signature whose annotations are not cosign’s', { cause: error });
  }
}

/** Rekor's response as cosign stores it: the entry, and the log's promise to include it (the signed entry timestamp). */
function entriesIn(text: string | undefined): object[] {
  if (!text) return [];
  const { SignedEntryTimestamp, Payload } = read(rekorSchema, text, 'log entry');
  const { kind, apiVersion } = read(entrySchema, Buffer.from(Payload.body, 'base64').toString('utf8'), 'log entry');
  return [
    {
      logIndex: String(Payload.logIndex),
      logId: { keyId: Buffer.from(Payload.logID, 'hex').toString('base64') },
      kindVersion: { kind, version: apiVersion },
      integratedTime: String(Payload.integratedTime),
      inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
      canonicalizedBody: Payload.body,
    },
  ];
}

function certificateIn(text: string | undefined): Buffer | undefined {
  if (!text) return undefined;
  try {
    return new X509Certificate(text).raw;
  } catch (error) {
    throw new NoSignature('a signature whose certificate cannot be read', { cause: error });
  }
}

function read<T extends v.GenericSchema>(schema: T, text: string, what: string): v.InferOutput<T> {
  try {
    return v.parse(schema, parseBoundedJson(text));
  } catch (error) {
    throw new NoSignature(`a signature whose ${what} is not cosign's`, { cause: error });
  }
}
