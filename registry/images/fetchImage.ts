import { digestOf } from '../../base/digest.ts';
import type { Engine } from '../engine.ts';
import { ImageManifestInvalid, RegistryDigestMismatch } from '../errors.ts';
import type { Mirrors } from '../fallback/mirrors.ts';
import { type Descriptor, type Image, parsePlatform } from '../image.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import { choosePlatform, findPlatform } from './choosePlatform.ts';
import { isIndexType, type ParsedManifest, parseManifest } from './parseManifest.ts';

/** Nested indexes are rare and shallow; a hostile one could cost a request per entry. */
const INDEX_DEPTH = 3;
const NESTED_INDEXES = 16;
/** distribution-spec, Pushing manifests: registries should accept manifests up to this size. */
export const MANIFEST_BYTES = 4 * 1024 * 1024;

/** Keeps manifests between runs: what a digest names never changes. */
export interface ManifestStore {
  /** Returns the bytes, verified; undefined if they are missing. */
  read(digest: Digest): Promise<Buffer | undefined>;
  /** @param bytes verified */
  keep(digest: Digest, bytes: Buffer): Promise<void>;
}

export interface ImageSource {
  readonly engine: Engine;
  readonly mirrors: Mirrors;
  readonly platform: string | undefined;
  /** The image of an index to take, as a text of platformText; goes before `platform`. */
  readonly lockedPlatform?: string | undefined;
  /** Default: every manifest is requested. */
  readonly manifests?: ManifestStore | undefined;
}

interface Fetched {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly parsed: ParsedManifest;
}

/**
 * Fetches the image manifest of a reference; an index is followed to the image for the platform, at most three indexes deep.
 * Every manifest is verified. @throws ImageManifestInvalid, ImageTypeUnsupported, ImageNoPlatform, and the refusals of the hosts
 */
export async function fetchImage(source: ImageSource, reference: Reference, signal: AbortSignal): Promise<Image> {
  const platform = source.platform === undefined ? undefined : parsePlatform(source.platform);
  const subject = formatReference(reference);
  const { digest, parsed } = await fetchManifest(source, reference, undefined, signal);
  // A plugin runs on every platform, so a single image fits any request.
  if (parsed.kind === 'image') return { digest, manifestDigest: digest, manifest: parsed.manifest };
  const budget = { left: NESTED_INDEXES };
  const entries = await flatten(source, reference, parsed.index.manifests, 1, budget, signal);
  const { lockedPlatform } = source;
  const chosen =
    lockedPlatform === undefined
      ? choosePlatform(entries, platform, subject)
      : findPlatform(entries, lockedPlatform, subject);
  const image = await fetchManifest(source, { ...reference, digest: chosen.digest }, chosen.size, signal);
  if (image.parsed.kind !== 'image') throw indexError(subject, `${chosen.digest} is an index, announced as an image`);
  return {
    digest,
    manifestDigest: image.digest,
    manifest: image.parsed.manifest,
    ...(chosen.platform === undefined ? {} : { platform: chosen.platform }),
  };
}

/** Returns the entries of an index; a nested index is replaced by its entries. */
async function flatten(
  source: ImageSource,
  reference: Reference,
  entries: readonly Descriptor[],
  depth: number,
  budget: { left: number },
  signal: AbortSignal,
): Promise<Descriptor[]> {
  const flat: Descriptor[] = [];
  for (const entry of entries) {
    if (!isIndexType(entry.mediaType)) {
      flat.push(entry);
      continue;
    }
    const subject = formatReference(reference);
    if (depth >= INDEX_DEPTH) throw indexError(subject, `indexes more than ${INDEX_DEPTH} deep`);
    if (--budget.left < 0) throw indexError(subject, `more than ${NESTED_INDEXES} indexes in indexes`);
    const { parsed } = await fetchManifest(source, { ...reference, digest: entry.digest }, entry.size, signal);
    if (parsed.kind !== 'index') throw indexError(subject, `${entry.digest} is an image, announced as an index`);
    const within = await flatten(source, reference, parsed.index.manifests, depth + 1, budget, signal);
    const { platform } = entry;
    flat.push(...within.map(it => (it.platform === undefined && platform !== undefined ? { ...it, platform } : it)));
  }
  return flat;
}

/**
 * Returns one manifest or index: from the cache, if the reference has a digest, or from the first host that has the right
 * bytes. They are verified against the requested digest, the announced one and `size`. @throws as fetchImage
 */
export async function fetchManifest(
  { engine, mirrors, manifests }: ImageSource,
  reference: Reference,
  size: number | undefined,
  signal: AbortSignal,
): Promise<Fetched> {
  const { digest } = reference;
  const cached = digest === undefined ? undefined : await manifests?.read(digest);
  if (digest !== undefined && cached !== undefined && (size === undefined || cached.length === size))
    return { bytes: cached, digest, parsed: parseManifest(cached, '', formatReference(reference)) };
  const fetched = await requestManifest({ engine, mirrors }, reference, size, signal);
  if (manifests !== undefined && hasOwnType(fetched)) await manifests.keep(fetched.digest, fetched.bytes);
  return fetched;
}

async function requestManifest(
  { engine, mirrors }: Pick<ImageSource, 'engine' | 'mirrors'>,
  reference: Reference,
  size: number | undefined,
  signal: AbortSignal,
): Promise<Fetched> {
  return mirrors.first(reference, signal, async (at, retries) => {
    const subject = formatReference(at);
    const raw = await engine.fetchManifest(at, signal, retries);
    if (raw.bytes.length > MANIFEST_BYTES) throw indexError(subject, `a manifest of ${raw.bytes.length} bytes`);
    const expected = reference.digest ?? raw.digest;
    const found = digestOf(raw.bytes, expected);
    if (found !== expected || digestOf(raw.bytes, raw.digest) !== raw.digest)
      throw mismatchError(subject, found === expected ? raw.digest : expected, found);
    if (size !== undefined && raw.bytes.length !== size)
      throw mismatchError(subject, `${size} bytes`, `${raw.bytes.length} bytes`);
    return { bytes: raw.bytes, digest: expected, parsed: parseManifest(raw.bytes, raw.mediaType, subject) };
  });
}

/** Returns false if the type of a manifest was in a header alone: its bytes do not say it. */
function hasOwnType({ bytes, parsed }: Fetched): boolean {
  const alone = parseManifest(bytes, '', '');
  return typeOf(alone) === typeOf(parsed);
}

function typeOf(parsed: ParsedManifest): string {
  return parsed.kind === 'index' ? parsed.index.mediaType : parsed.manifest.mediaType;
}

function mismatchError(subject: string, expected: string, found: string): RegistryDigestMismatch {
  return new RegistryDigestMismatch(`The manifest of ${subject} is not the requested one`, {
    subject,
    expected,
    found,
    hint: 'Something between this machine and the registry changes the bytes, or the registry is damaged. Try again, or use another mirror.',
  });
}

function indexError(subject: string, found: string): ImageManifestInvalid {
  return new ImageManifestInvalid(`${subject} does not lead to an image: ${found}`, {
    subject,
    expected: `an index at most ${INDEX_DEPTH} deep whose entries have the types it announces`,
    found,
    hint: 'Push the image again as a plain image or one index of images.',
  });
}
