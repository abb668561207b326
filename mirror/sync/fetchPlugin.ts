import { stat } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { parseBoundedJson } from '../../base/boundedJson.ts';
import { type Image, platformText } from '../../registry/image.ts';
import type { Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import { asTreeRefusal, TreeDiskFull } from '../../tree/errors.ts';
import { bytesIn, diskFullError, inodesUsedUpError } from '../../tree/freeSpace.ts';
import type { PublishingTree } from '../../tree/publish/publishingTree.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { adoptFile, type ExtractedPlugin, extractPlugin } from '../extract/extractPlugin.ts';
import { openedLayers } from '../extract/layers/openedLayers.ts';
import { LockBytesDiffer } from '../lockfile/errors.ts';
import { isLockedModule, type LockedModule } from '../lockfile/lockedVersions.ts';
import { originOf } from '../manifest/origin.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import type { FetchStep, ResolvedImage } from '../plan/plan.ts';
import type { Session } from '../session.ts';

export interface Fetched {
  readonly metadata: PublishedVersion;
  readonly warnings: readonly string[];
}

/** Fetches, extracts, checks and publishes one version from an image. Afterwards the tree has it whole, or as it was. */
export async function fetchPlugin(
  { wanted, module }: FetchStep,
  { reference, image, signature }: ResolvedImage,
  tree: PublishingTree,
  session: Session,
): Promise<Fetched> {
  const { signal } = session;
  const registry = await session.registry.get();
  const created = await whenCreated(image, reference, registry, signal);
  const room = { neededBytes: module?.sizeBytes, leastBytes: sizeOf(image) };
  return stageAndPublish(tree, room, async dir => {
    const plugin = await extractPlugin({
      subject: `${wanted.name} ${wanted.version}`,
      manifest: image.manifest,
      openLayer: layer => registry.openBlob(reference, layer, signal),
      dir,
      signal,
    });
    const { digest, mediaType, size } = plugin.layer;
    requireLocked(wanted, module, { ...plugin, layer: { digest, mediaType, sizeBytes: size } });
    const metadata: PublishedVersion = {
      ...describe(wanted, plugin),
      reference: originOf(wanted),
      digest: image.digest,
      layer: { digest, mediaType, sizeBytes: size },
      ...(image.platform === undefined ? {} : { platform: platformText(image.platform) }),
      ...(created === undefined ? {} : { created }),
      ...(image.manifest.annotations === undefined ? {} : { annotations: image.manifest.annotations }),
      ...(signature === undefined ? {} : { signature }),
    };
    return { metadata, warnings: plugin.warnings };
  });
}

/** Copies, checks and publishes one version from a local file. */
export async function adoptLocal(
  wanted: WantedVersion,
  file: { readonly path: string; readonly written: string },
  tree: PublishingTree,
  signal: AbortSignal,
): Promise<Fetched> {
  const { size } = await stat(file.path).catch(() => ({ size: 0 }));
  return stageAndPublish(tree, { neededBytes: size, leastBytes: 0 }, async dir => {
    const plugin = await adoptFile({ subject: `${wanted.name} ${wanted.version}`, path: file.path, dir, signal });
    const metadata = {
      ...describe(wanted, plugin),
      reference: originOf(wanted),
      digest: `sha256:${plugin.sha256}`,
    };
    return { metadata, warnings: plugin.warnings };
  });
}

interface StagingRoom {
  /** Bytes of plugin.wasm, if the lockfile or a local file says so. */
  readonly neededBytes: number | undefined;
  /** Bytes of the layers as the registry stores them, mostly compressed: plugin.wasm has at least so many. */
  readonly leastBytes: number;
}

async function stageAndPublish(
  tree: PublishingTree,
  room: StagingRoom,
  fill: (dir: string) => Promise<Fetched>,
): Promise<Fetched> {
  const staged = await tree.stage();
  try {
    const fetched = await fill(staged.dir);
    await tree.publish(staged, fetched.metadata);
    return fetched;
  } catch (error) {
    // Where the lock was lost, its next holder has removed the staged files, and that is the cause of the error.
    await tree.requireLock();
    const refusal = asTreeRefusal(error, staged.dir);
    const isFull = refusal instanceof TreeDiskFull && refusal.expected === undefined;
    // Both are measured before the staged files are deleted, which makes room again.
    const noFiles = isFull ? await inodesUsedUpError(tree.treeDir, refusal.cause) : undefined;
    const writtenBytes = isFull ? await bytesIn(staged.dir) : 0;
    await tree.discard(staged);
    if (!isFull) throw refusal;
    const neededBytes = room.neededBytes ?? Math.max(room.leastBytes, writtenBytes);
    const isLeast = room.neededBytes === undefined;
    throw noFiles ?? (await diskFullError(tree.treeDir, neededBytes, { cause: refusal.cause, isLeast }));
  }
}

function sizeOf({ manifest }: Image): number {
  return openedLayers(manifest).reduce((sum, layer) => sum + layer.size, 0);
}

function requireLocked(
  { name, version }: WantedVersion,
  locked: LockedModule | undefined,
  found: Pick<PublishedVersion, 'sha256' | 'sizeBytes' | 'layer'>,
): void {
  if (locked === undefined || isLockedModule(locked, found)) return;
  const words = (sha256: string, sizeBytes: number, layer: string) =>
    `sha256 ${sha256}, ${sizeBytes} bytes, out of the layer ${layer}`;
  throw new LockBytesDiffer(
    name,
    version,
    words(locked.sha256, locked.sizeBytes, locked.layerDigest),
    words(found.sha256, found.sizeBytes, found.layer?.digest ?? 'of another image'),
  );
}

function describe(wanted: WantedVersion, plugin: Omit<ExtractedPlugin, 'layer'>) {
  const { sha256, md5, sizeBytes, abi, files } = plugin;
  return { schemaVersion: 1 as const, name: wanted.name, version: wanted.version, sha256, md5, sizeBytes, abi, files };
}

// Image configs that have a creation time (OCI image-spec, config.md; Docker's has the same).
const CONFIGS = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];
const CONFIG_LIMIT_BYTES = 1024 * 1024;

/** When the image was made (RFC 3339): its annotation, else its config's `created`; undefined if neither is a date. */
async function whenCreated(
  image: Image,
  reference: Reference,
  registry: Registry,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { annotations, config } = image.manifest;
  const annotated = annotations?.['org.opencontainers.image.created'];
  if (annotated !== undefined) return dateOf(annotated);
  if (!CONFIGS.includes(config.mediaType) || config.size > CONFIG_LIMIT_BYTES || config.size < 3) return undefined;
  const bytes = await buffer(await registry.openBlob(reference, config, signal));
  try {
    const parsed: unknown = parseBoundedJson(bytes.toString('utf8'));
    const created = typeof parsed === 'object' && parsed !== null && 'created' in parsed ? parsed.created : undefined;
    return typeof created === 'string' ? dateOf(created) : undefined;
  } catch {
    return undefined; // not an image config after all, and the date decides nothing
  }
}

/** An RFC 3339 date that file systems and HTTP can represent: after 1970 and before the year 10000. */
function dateOf(text: string): string | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/.test(text)) return undefined;
  const time = Date.parse(text);
  return time > 0 && time < 253_402_300_800_000 ? text : undefined;
}
