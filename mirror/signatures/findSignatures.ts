import { buffer } from 'node:stream/consumers';
import { RegistryAllFailed, RegistryNotFound } from '../../registry/errors.ts';
import type { Descriptor, Image } from '../../registry/image.ts';
import { type Digest, isTag, type Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { type FoundSignature, NoSignature } from './foundSignature.ts';
import { isBundleType, readBundle, SIGN_PREDICATE } from './readBundle.ts';
import { readSimpleSigning, SIMPLE_SIGNING } from './readSimpleSigning.ts';

/** A signature has a few kilobytes; an image with more than this many beside it is being played with. */
const MOST_BYTES = 1024 * 1024;
const MOST_SIGNATURES = 100;

const SIGNATURE_ARTIFACT = 'application/vnd.dev.cosign.artifact.sig.v1+json';
const PREDICATE_TYPE = 'dev.sigstore.bundle.predicateType';

export interface Place {
  /** The image, as it was asked for. */
  readonly reference: Reference;
  readonly image: Image;
  readonly registry: Registry;
  readonly signal: AbortSignal;
}

/**
 * What stands beside an image and could be its signature, cheapest first: the tag `sha256-….sig` of the image's digest
 * (one request), then its referrers, then both for the manifest that was chosen from an index. Lazy: who has found what
 * he needs asks no further. What cannot be read is handed out as NoSignature.
 * @throws the registry's refusals, unless they only say that there is nothing
 */
export async function* findSignatures(place: Place): AsyncGenerator<FoundSignature | NoSignature> {
  let count = 0;
  for (const digest of new Set([place.image.digest, place.image.manifestDigest]))
    for (const manifests of [taggedManifest, referringManifests])
      for await (const layer of layersOf(manifests(place, digest), place)) {
        if (++count > MOST_SIGNATURES) {
          yield new NoSignature(`more than ${MOST_SIGNATURES} signatures, of which the rest was not read`);
          return;
        }
        yield layer instanceof NoSignature ? layer : await readLayer(layer, place);
      }
}

/** Cosign's tag scheme: the digest with `-` for `:`, and `.sig` behind it. */
async function* taggedManifest({ reference }: Place, digest: Digest): AsyncGenerator<Reference> {
  const tag = `${digest.replace(':', '-')}.sig`;
  if (isTag(tag)) yield { registry: reference.registry, repository: reference.repository, tag };
}

/** Referrers of other kinds (SBOMs, provenance) are passed over where they say what they are. */
async function* referringManifests({ reference, registry, signal }: Place, digest: Digest): AsyncGenerator<Reference> {
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
  { registry, signal }: Place,
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
  { reference, image, registry, signal }: Place,
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

/** With mirrors it is enough that one of the places was there to say no: in an air gap the last one never is. */
function isMissing(error: unknown): boolean {
  if (error instanceof RegistryNotFound) return true;
  if (!(error instanceof RegistryAllFailed) || !(error.cause instanceof AggregateError)) return false;
  return error.cause.errors.some(each => each instanceof RegistryNotFound);
}

function noSignature(cause: unknown, what: string): NoSignature {
  return new NoSignature(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
}
