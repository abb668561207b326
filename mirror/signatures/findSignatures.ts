import { buffer } from 'node:stream/consumers';
import { RegistryAllFailed, RegistryNotFound } from '../../registry/errors.ts';
import type { Descriptor, Image } from '../../registry/image.ts';
import { type Digest, isTag, type Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { type FoundSignature, NoSignature } from './foundSignature.ts';
import { isBundleType, readBundle, readSimpleSigning, SIGN_PREDICATE, SIMPLE_SIGNING } from './readSignature.ts';

/** A signature has a few kilobytes, and an image a few signatures. */
const MOST_BYTES = 1024 * 1024;
const MOST_SIGNATURES = 100;

const SIGNATURE_ARTIFACT = 'application/vnd.dev.cosign.artifact.sig.v1+json';
const PREDICATE_TYPE = 'dev.sigstore.bundle.predicateType';

export interface SignedImage {
  /** The reference under which the image was requested. */
  readonly reference: Reference;
  readonly image: Image;
  readonly registry: Registry;
  readonly signal: AbortSignal;
}

/**
 * Yields the possible signatures of an image, cheapest first: the tag `sha256-….sig` of the image's digest (one request), then
 * its referrers, then both for the manifest that was chosen from an index. Requests are sent only as far as the caller
 * iterates. A signature that cannot be read is yielded as NoSignature.
 * @throws the registry's errors, except "not found"
 */
export async function* findSignatures(signed: SignedImage): AsyncGenerator<FoundSignature | NoSignature> {
  let count = 0;
  for (const digest of new Set([signed.image.digest, signed.image.manifestDigest]))
    for (const manifests of [taggedManifest, referringManifests])
      for await (const layer of layersOf(manifests(signed, digest), signed)) {
        if (++count > MOST_SIGNATURES) {
          yield new NoSignature(`more than ${MOST_SIGNATURES} signatures, the rest of which was not read`);
          return;
        }
        yield layer instanceof NoSignature ? layer : await readLayer(layer, signed);
      }
}

/** cosign's tag: the digest with `-` instead of `:`, then `.sig`. */
async function* taggedManifest({ reference }: SignedImage, digest: Digest): AsyncGenerator<Reference> {
  const tag = `${digest.replace(':', '-')}.sig`;
  if (isTag(tag)) yield { registry: reference.registry, repository: reference.repository, tag };
}

/** Skips referrers that declare another kind (SBOMs, provenance). */
async function* referringManifests(
  { reference, registry, signal }: SignedImage,
  digest: Digest,
): AsyncGenerator<Reference> {
  const { registry: host, repository } = reference;
  for (const referrer of await registry.listReferrers({ registry: host, repository }, digest, signal))
    if (mayBeSignature(referrer)) yield { registry: host, repository, digest: referrer.digest };
}

function mayBeSignature({ artifactType, annotations }: Descriptor): boolean {
  const predicate = annotations?.[PREDICATE_TYPE];
  if (predicate !== undefined && predicate !== SIGN_PREDICATE) return false;
  return artifactType === undefined || artifactType === SIGNATURE_ARTIFACT || isBundleType(artifactType);
}

async function* layersOf(
  manifests: AsyncIterable<Reference>,
  { registry, signal }: SignedImage,
): AsyncGenerator<Descriptor | NoSignature> {
  for await (const reference of manifests)
    try {
      const { manifest } = await registry.fetchImage(reference, signal);
      yield* manifest.layers.filter(layer => layer.mediaType === SIMPLE_SIGNING || isBundleType(layer.mediaType));
    } catch (error) {
      signal.throwIfAborted();
      if (reference.tag !== undefined && isMissing(error)) continue;
      yield noSignature(error, 'a manifest that cannot be read');
    }
}

async function readLayer(
  layer: Descriptor,
  { reference, image, registry, signal }: SignedImage,
): Promise<FoundSignature | NoSignature> {
  if (layer.size > MOST_BYTES) return new NoSignature(`a signature of ${layer.size} bytes`);
  try {
    const bytes = await buffer(await registry.openBlob(reference, layer, signal));
    if (layer.mediaType === SIMPLE_SIGNING) return readSimpleSigning(bytes, layer.annotations);
    return await readBundle(bytes, async digest => {
      const own = [image.digest, image.manifestDigest].find(each => each === digest);
      return own === undefined ? undefined : registry.fetchManifest({ ...reference, digest: own }, signal);
    });
  } catch (error) {
    signal.throwIfAborted();
    return error instanceof NoSignature ? error : noSignature(error, 'a signature that cannot be read');
  }
}

/** With mirrors, one "not found" is enough: without egress the registry itself can never answer. */
function isMissing(error: unknown): boolean {
  if (error instanceof RegistryNotFound) return true;
  if (!(error instanceof RegistryAllFailed) || !(error.cause instanceof AggregateError)) return false;
  return error.cause.errors.some(each => each instanceof RegistryNotFound);
}

function noSignature(cause: unknown, what: string): NoSignature {
  return new NoSignature(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
}
