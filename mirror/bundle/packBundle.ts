import type { Readable } from 'node:stream';
import pMap from 'p-map';
import { asError } from '../../base/refusal.ts';
import { IMAGE_NAME, type LayoutEntry, REF_NAME, SUBJECT } from '../../layout/layoutIndex.ts';
import type { BlobSource, LayoutContent } from '../../layout/writeLayout.ts';
import { type GatheredImage, type GatheredManifest, gatherImage } from '../../registry/images/gatherImage.ts';
import { type Digest, formatReference, type Reference } from '../../registry/reference.ts';
import type { CacheProof, Registry } from '../../registry/registry.ts';
import { readLockedVersions } from '../lockfile/lockedVersions.ts';
import type { LockfileEntry } from '../lockfile/lockfile.ts';
import { originOf } from '../manifest/origin.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import type { SyncJob } from '../plan/job.ts';
import { type Outcome, versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import type { Base } from './base.ts';
import { makeDocument } from './document.ts';
import { localImage } from './localImage.ts';

export interface PackOptions {
  /** The globs of --only. */
  readonly only: readonly string[];
  /** Take signatures and other referrers along. */
  readonly attachments: boolean;
  /** What the receiver has: blobs of these images stay out. Default: nothing. */
  readonly base?: Base;
  /** The version of this program. */
  readonly version: string;
}

export interface PackedBlob extends BlobSource {
  /** @param proof when a blob of the cache is hashed. Default: `first` */
  open(signal: AbortSignal, proof?: CacheProof): Promise<Readable | Buffer>;
}

interface PackedContent extends LayoutContent {
  readonly blobs: readonly PackedBlob[];
}

export interface PackedBundle {
  readonly content: PackedContent;
  readonly images: number;
  /** Signatures and other referrers. */
  readonly attachments: number;
  /** Versions whose blobs stay out, since the base has them. */
  readonly left: number;
  /** Bytes of all blobs. */
  readonly sizeBytes: number;
}

/** The image that a version becomes: its manifests, and where its blobs come from. */
interface PackedImage {
  readonly wanted: WantedVersion;
  readonly name: Reference;
  readonly root: LayoutEntry;
  readonly blobs: readonly PackedBlob[];
  readonly attached: readonly { readonly entry: LayoutEntry; readonly tag?: string }[];
  readonly attachedBlobs: readonly PackedBlob[];
  /** As a tree's metadata and the lockfile have it. */
  readonly digest: string;
}

/**
 * Collects the images that the lockfile names, and everything else of a bundle, without reading a blob: blobs are read when
 * the bundle is written.
 * @returns the content; or the versions that failed, and then nothing can be written
 * @throws FrozenLockMissing, FrozenLockDiffers, and the lockfile's refusals
 */
export async function packBundle(
  job: SyncJob,
  options: PackOptions,
  session: Session,
): Promise<PackedBundle | { readonly failed: readonly Outcome[] }> {
  const { signal } = session;
  const lockfile = await readLockedVersions(
    { ...job, lockfile: { ...job.lockfile, mode: 'frozen', partial: options.only.length > 0 } },
    signal,
  );
  const { versions } = job.selection;
  session.onEvent({ type: 'asking', versions: versions.length });
  const names = new Map(job.manifest.versions.map(wanted => [versionKey(wanted), wanted]));
  const failed: Outcome[] = [];
  const images = await pMap(
    versions,
    async wanted => {
      const entry = lockfile.agreeing.get(versionKey(wanted));
      try {
        if (entry === undefined) throw new Error(`${versionKey(wanted)} is not in the lockfile`);
        return await packVersion(wanted, names.get(versionKey(wanted)) ?? wanted, entry, options, session);
      } catch (error) {
        signal.throwIfAborted();
        const { name, version } = wanted;
        failed.push({
          name,
          version,
          status: 'failed',
          reference: originOf(wanted),
          error: asError(error),
          warnings: [],
        });
        return undefined;
      }
    },
    { concurrency: job.limits.questions, signal },
  );
  if (failed.length > 0) return { failed };
  return combine(
    job,
    images.filter(image => image !== undefined),
    options,
  );
}

async function packVersion(
  wanted: WantedVersion,
  { source: named }: WantedVersion,
  entry: LockfileEntry,
  { attachments }: PackOptions,
  { registry, signal }: Session,
): Promise<PackedImage> {
  if (wanted.source.kind === 'file' || named.kind === 'file' || entry.kind === 'file') return packLocal(wanted, entry);
  const opened = await registry.get();
  const reference = { ...wanted.source.reference, digest: entry.digest };
  const image = await gatherImage(opened, reference, { attachments }, signal);
  const attachedDigests = new Set(image.attachments.map(({ manifest }) => manifest.digest));
  const own = image.manifests.filter(({ digest }) => !attachedDigests.has(digest));
  const ownBlobs = blobsNamedBy(own);
  const sources = image.blobs.map(blob => sourceOf(opened, image, blob));
  return {
    wanted,
    name: named.reference,
    root: entryOf(image.root),
    blobs: [...own.map(manifestSource), ...sources.filter(({ digest }) => ownBlobs.has(digest))],
    attached: image.attachments.map(({ manifest, tag, subject }) => ({
      entry: entryOf(manifest, subject),
      ...(tag === undefined ? {} : { tag }),
    })),
    attachedBlobs: [
      ...image.manifests.filter(({ digest }) => attachedDigests.has(digest)).map(manifestSource),
      ...sources.filter(({ digest }) => !ownBlobs.has(digest)),
    ],
    digest: entry.digest,
  };
}

function blobsNamedBy(manifests: readonly GatheredManifest[]): Set<string> {
  const named = manifests.flatMap(({ bytes }) => {
    const { config, layers = [] } = JSON.parse(bytes.toString('utf8')) as {
      config?: { digest: string };
      layers?: { digest: string }[];
    };
    return [...(config === undefined ? [] : [config.digest]), ...layers.map(({ digest }) => digest)];
  });
  return new Set(named);
}

function sourceOf(registry: Registry, { reference }: GatheredImage, blob: GatheredImage['blobs'][number]): PackedBlob {
  const { digest, size } = blob;
  return { digest, size, isVerified: true, open: (signal, proof) => registry.openBlob(reference, blob, signal, proof) };
}

function manifestSource({ digest, bytes }: GatheredManifest): BlobSource {
  return { digest, size: bytes.length, isVerified: true, open: async () => bytes };
}

function entryOf({ digest, mediaType, bytes, artifactType }: GatheredManifest, subject?: Digest): LayoutEntry {
  return {
    mediaType,
    digest,
    size: bytes.length,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(subject === undefined ? {} : { annotations: { [SUBJECT]: subject } }),
  };
}

function packLocal(wanted: WantedVersion, entry: LockfileEntry): PackedImage {
  const { name, manifest, blobs } = localImage(wanted, entry);
  return {
    wanted,
    name,
    root: entryOf(manifest),
    blobs: [manifestSource(manifest), ...blobs],
    attached: [],
    attachedBlobs: [],
    digest: `sha256:${entry.sha256}`,
  };
}

async function combine(job: SyncJob, images: readonly PackedImage[], options: PackOptions): Promise<PackedBundle> {
  const { base, only, version } = options;
  // A local module is always in the bundle: the manifest names it as a file.
  const isLeft = ({ digest, wanted }: PackedImage): boolean =>
    wanted.source.kind === 'image' && base?.has(digest) === true;
  const left = images.filter(isLeft);
  const requires = [...new Set(left.map(({ digest }) => digest))].sort();
  const document = await makeDocument(job, { schemaVersion: 1, version, only: [...only].sort(), requires });
  const blobs = new Map<Digest, PackedBlob>();
  const add = (sources: readonly PackedBlob[]): void => {
    for (const source of sources) if (!blobs.has(source.digest)) blobs.set(source.digest, source);
  };
  add(document.blobs);
  for (const image of images) {
    if (!isLeft(image)) add(image.blobs);
    const isKnown = isLeft(image) && image.attached.every(({ entry }) => base?.has(entry.digest));
    if (!isKnown) add(image.attachedBlobs);
  }
  const entries = new Map<string, LayoutEntry>();
  const attached = new Set<string>();
  for (const { name, root, attached: own } of images) {
    addNamed(entries, root, name);
    for (const { entry, tag } of own) {
      attached.add(entry.digest);
      if (tag !== undefined) addNamed(entries, entry, { registry: name.registry, repository: name.repository, tag });
      else if (!entries.has(entry.digest)) entries.set(entry.digest, entry);
    }
  }
  entries.set(document.entry.digest, document.entry);
  const content = { index: { entries: [...entries.values()], annotations: {} }, blobs: [...blobs.values()] };
  const sizeBytes = content.blobs.reduce((sum, { size }) => sum + size, 0);
  return { content, images: images.length, attachments: attached.size, left: left.length, sizeBytes };
}

/** Adds `HOST/REPOSITORY:TAG`, or `HOST/REPOSITORY@DIGEST` where there is no tag or where the tag names another image. */
function addNamed(entries: Map<string, LayoutEntry>, entry: LayoutEntry, name: Reference): void {
  const { registry, repository, tag } = name;
  const tagged = tag === undefined ? undefined : formatReference({ registry, repository, tag });
  const isFree = tagged !== undefined && (entries.get(tagged)?.digest ?? entry.digest) === entry.digest;
  const text = isFree ? tagged : formatReference({ registry, repository, digest: entry.digest as Digest });
  entries.set(text, { ...entry, annotations: { [REF_NAME]: text, [IMAGE_NAME]: text } });
}
