import { ImageTypeUnsupported, RegistryAllFailed, RegistryNotFound } from '../errors.ts';
import type { Descriptor } from '../image.ts';
import { type Digest, formatReference, isDigest, isTag, type Reference } from '../reference.ts';
import type { Registry } from '../registry.ts';
import { parseManifest } from './parseManifest.ts';

/** Signatures of signatures are rare, and a hostile registry could chain them without end. */
const REFERRER_DEPTH = 3;
/** Layers that must not be distributed are fetched by their `urls`, not from registries (image-spec, layer.md). */
export const NOT_DISTRIBUTED = /nondistributable|foreign/;

export interface GatheredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly artifactType?: string;
  /** Its `subject`: the manifest that it refers to. */
  readonly subject?: Digest;
}

/** A manifest that travels with an image: by a tag of its own (cosign's signatures), or as a referrer. */
export interface Attachment {
  readonly manifest: GatheredManifest;
  readonly tag?: string;
  readonly subject?: Digest;
}

/** All that a registry has of an image, except the bytes of its blobs. */
export interface GatheredImage {
  /** With its digest. */
  readonly reference: Reference & { readonly digest: Digest };
  readonly root: GatheredManifest;
  /** The root, the children of indexes that exist, and the attachments; each once. */
  readonly manifests: readonly GatheredManifest[];
  /** Configs and layers of all manifests, each once. */
  readonly blobs: readonly Descriptor[];
  readonly attachments: readonly Attachment[];
}

/** The part of a registry that gatherImage needs. */
export type ImageSource = Pick<Registry, 'fetchManifest' | 'fetchImage' | 'listReferrers'>;

/**
 * Reads all manifests of an image: an index with the children that exist, and, with `attachments`, signatures under cosign's
 * tags and all referrers. Every manifest is verified; blobs are not read.
 * @throws the refusals of registry/errors.ts, the signal's reason
 */
export async function gatherImage(
  registry: ImageSource,
  reference: Reference & { readonly digest: Digest },
  options: { readonly attachments: boolean },
  signal: AbortSignal,
): Promise<GatheredImage> {
  const manifests = new Map<Digest, GatheredManifest>();
  const blobs = new Map<Digest, Descriptor>();
  const at = { registry: reference.registry, repository: reference.repository };
  /** Adds a manifest with all that it names. Returns the digests that it added: its own and those of its children. */
  const add = async (digest: Digest): Promise<Digest[]> => {
    if (manifests.has(digest)) return [];
    const bytes = await registry.fetchManifest({ ...at, digest }, signal);
    const parsed = parseManifest(bytes, '', formatReference({ ...at, digest }));
    const subject = subjectOf(bytes);
    if (parsed.kind === 'index') {
      manifests.set(digest, { digest, bytes, mediaType: parsed.index.mediaType, ...subject });
      const children: Digest[] = [];
      for (const child of parsed.index.manifests)
        children.push(...((await ifExists(() => add(child.digest), signal)) ?? []));
      return [digest, ...children];
    }
    const { mediaType, artifactType, config, layers } = parsed.manifest;
    manifests.set(digest, {
      digest,
      bytes,
      mediaType,
      ...subject,
      ...artifactTypeOf(artifactType, config, subject.subject),
    });
    for (const blob of [config, ...layers])
      if (!NOT_DISTRIBUTED.test(blob.mediaType) && !blobs.has(blob.digest)) blobs.set(blob.digest, blob);
    return [digest];
  };
  const own = await add(reference.digest);
  const attachments: Attachment[] = [];
  const attach = async (digest: Digest, how: Omit<Attachment, 'manifest'>): Promise<Digest[]> => {
    const added = (await ifExists(() => add(digest), signal)) ?? [];
    const manifest = manifests.get(digest);
    if (manifest !== undefined) attachments.push({ manifest, ...how });
    return added;
  };
  const referrersOf = async (digest: Digest, listed: readonly Descriptor[], depth: number): Promise<void> => {
    for (const referrer of listed)
      if (!attachments.some(it => it.manifest.digest === referrer.digest))
        for (const added of await attach(referrer.digest, { subject: digest }))
          if (depth < REFERRER_DEPTH)
            await referrersOf(added, await registry.listReferrers(at, added, signal), depth + 1);
  };
  if (options.attachments) {
    const signatureAt = async (digest: Digest): Promise<{ tag: string; digest: Digest } | undefined> => {
      const tag = `${digest.replace(':', '-')}.sig`;
      if (!isTag(tag)) return undefined;
      const image = await ifExists(() => registry.fetchImage({ ...at, tag }, signal), signal);
      return image && { tag, digest: image.digest };
    };
    const found = await Promise.all(
      own.map(digest => Promise.all([digest, signatureAt(digest), registry.listReferrers(at, digest, signal)])),
    );
    for (const [digest, signature, listed] of found) {
      if (signature !== undefined) await attach(signature.digest, { tag: signature.tag });
      await referrersOf(digest, listed, 1);
    }
  }
  return {
    reference,
    root: manifests.get(reference.digest) as GatheredManifest,
    manifests: [...manifests.values()],
    blobs: [...blobs.values()],
    attachments,
  };
}

/** image-spec, manifest.md, `subject`. */
function subjectOf(bytes: Buffer): { readonly subject?: Digest } {
  const { subject } = JSON.parse(bytes.toString('utf8')) as { subject?: { digest?: unknown } | null };
  const digest = subject?.digest;
  return typeof digest === 'string' && isDigest(digest) ? { subject: digest } : {};
}

/** distribution-spec, Listing Referrers: without an artifactType, that of the config counts. */
function artifactTypeOf(
  artifactType: string | undefined,
  config: Descriptor,
  subject: Digest | undefined,
): { readonly artifactType?: string } {
  const type = artifactType ?? (subject === undefined ? undefined : config.mediaType);
  return type === undefined ? {} : { artifactType: type };
}

/** Returns undefined for what the registry does not have, and for documents that are not manifests. */
async function ifExists<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    const last =
      error instanceof RegistryAllFailed && error.cause instanceof AggregateError ? error.cause.errors : [error];
    if (last.at(-1) instanceof RegistryNotFound || error instanceof ImageTypeUnsupported) return undefined;
    throw error;
  }
}
