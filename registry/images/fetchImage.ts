import type { Engine } from '../engine.ts';
import { ImageManifestInvalid, RegistryDigestMismatch } from '../errors.ts';
import type { Places } from '../fallback/mirrors.ts';
import { type Descriptor, type Image, parsePlatform } from '../image.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import { choosePlatform, findPlatform } from './choosePlatform.ts';
import { digestOf } from './digestOf.ts';
import { isIndexType, type ParsedManifest, parseManifest } from './parseManifest.ts';

/** Indexes in indexes are rare and shallow; a deep or wide one is a trap that costs a request per entry. */
const INDEX_DEPTH = 3;
const NESTED_INDEXES = 16;
/** Distribution-spec, Pushing manifests: registries should take manifests up to this size. */
const MANIFEST_BYTES = 4 * 1024 * 1024;

export interface ImageSource {
  readonly engine: Engine;
  readonly places: Places;
  readonly platform: string | undefined;
  /** Exactly this image of an index, as platformText has it, whatever `platform` says. */
  readonly held?: string | undefined;
}

interface Fetched {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly parsed: ParsedManifest;
}

/** The image behind a reference: manifests are hashed and read, an index is followed to the image for the platform. */
export async function fetchImage(source: ImageSource, reference: Reference, signal: AbortSignal): Promise<Image> {
  const platform = source.platform === undefined ? undefined : parsePlatform(source.platform);
  const subject = formatReference(reference);
  const { digest, parsed } = await fetchManifest(source, reference, undefined, signal);
  // A plugin runs on every platform, so a single image is right whatever was asked for.
  if (parsed.kind === 'image') return { digest, manifestDigest: digest, manifest: parsed.manifest };
  const budget = { left: NESTED_INDEXES };
  const entries = await flatten(source, reference, parsed.index.manifests, 1, budget, signal);
  const { held } = source;
  const chosen = held === undefined ? choosePlatform(entries, platform, subject) : findPlatform(entries, held, subject);
  const image = await fetchManifest(source, { ...reference, digest: chosen.digest }, chosen.size, signal);
  if (image.parsed.kind !== 'image') throw misleading(subject, `${chosen.digest} is an index, announced as an image`);
  return {
    digest,
    manifestDigest: image.digest,
    manifest: image.parsed.manifest,
    ...(chosen.platform === undefined ? {} : { platform: chosen.platform }),
  };
}

/** The entries of an index, those of indexes within it in their place. */
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
    if (depth >= INDEX_DEPTH) throw misleading(subject, `indexes more than ${INDEX_DEPTH} deep`);
    if (--budget.left < 0) throw misleading(subject, `more than ${NESTED_INDEXES} indexes in indexes`);
    const { parsed } = await fetchManifest(source, { ...reference, digest: entry.digest }, entry.size, signal);
    if (parsed.kind !== 'index') throw misleading(subject, `${entry.digest} is an image, announced as an index`);
    const within = await flatten(source, reference, parsed.index.manifests, depth + 1, budget, signal);
    const { platform } = entry;
    flat.push(...within.map(it => (it.platform === undefined && platform !== undefined ? { ...it, platform } : it)));
  }
  return flat;
}

/** One manifest or index, verified against the digest asked for and the one announced, from the first place that has it right. */
export async function fetchManifest(
  { engine, places }: ImageSource,
  reference: Reference,
  size: number | undefined,
  signal: AbortSignal,
): Promise<Fetched> {
  return places.ask(reference, signal, async (at, retries) => {
    const subject = formatReference(at);
    const raw = await engine.fetchManifest(at, signal, retries);
    if (raw.bytes.length > MANIFEST_BYTES) throw misleading(subject, `a manifest of ${raw.bytes.length} bytes`);
    const expected = reference.digest ?? raw.digest;
    const found = digestOf(raw.bytes, expected);
    if (found !== expected || digestOf(raw.bytes, raw.digest) !== raw.digest)
      throw mismatch(subject, found === expected ? raw.digest : expected, found);
    if (size !== undefined && raw.bytes.length !== size)
      throw mismatch(subject, `${size} bytes`, `${raw.bytes.length} bytes`);
    return { bytes: raw.bytes, digest: expected, parsed: parseManifest(raw.bytes, raw.mediaType, subject) };
  });
}

function mismatch(subject: string, expected: string, found: string): RegistryDigestMismatch {
  return new RegistryDigestMismatch(`The manifest of ${subject} is not the one asked for`, {
    subject,
    expected,
    found,
    hint: 'Something between here and the registry changes the bytes, or the registry is damaged. Ask again, or ask another mirror.',
  });
}

function misleading(subject: string, found: string): ImageManifestInvalid {
  return new ImageManifestInvalid(`${subject} cannot be followed to an image: ${found}`, {
    subject,
    expected: `an index at most ${INDEX_DEPTH} deep whose entries are what it says they are`,
    found,
    hint: 'Push the image again as a plain image or one index of images.',
  });
}
