import { createHash } from 'node:crypto';
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
  const certificate = certificateIn(bundle);
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

function certificateIn({ verificationMaterial: { content } }: Bundle): Buffer | undefined {
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
