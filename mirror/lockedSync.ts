import { type Digest, formatReference } from '../registry/reference.ts';
import type { PublishedVersion } from '../tree/published.ts';
import { type LockChoice, readHeldVersions } from './lock/heldVersions.ts';
import { type LockEntry, LockUnwritable, writeLock } from './lock/lock.ts';
import type { PluginManifest, WantedVersion } from './manifest/wanted.ts';
import { type Held, isVouched } from './plan.ts';
import { type SyncReport, versionKey } from './report.ts';
import { sync } from './sync.ts';
import type { SyncOptions } from './syncOptions.ts';

/** `manifest` is the part of `list` to sync, and may name another registry. */
export interface LockedSyncOptions
  extends Omit<SyncOptions, 'locked' | 'before' | 'tags' | 'named' | 'unvouched'>,
    LockChoice {
  /** False: neither read nor write a lock. */
  readonly useLock: boolean;
}

/**
 * sync with the lock beside the manifest: what it holds is what is pulled, what it lacks is resolved and written into it.
 * @throws FrozenLockMissing, FrozenLockDiffers, the lock's own refusals, and what sync throws
 */
export async function lockedSync(options: LockedSyncOptions): Promise<SyncReport> {
  const { list, useLock } = options;
  const named = new Set([...list.versions, ...list.aliases].map(versionKey));
  if (!useLock) return sync({ ...options, named, unvouched: unvouchedIn(list, () => undefined) });
  const { path, exists, frozen, locked, before, agreeing } = await readHeldVersions(options);
  const report = await sync({ ...options, named, tags: !frozen, locked, before, unvouched: unvouchedIn(list, before) });
  const entries = renewed(list, report.published, agreeing);
  // A first run that settled nothing has nothing to hold anybody to; one that was stopped before it settled anything, nothing to say.
  const isSilent = report.published.length === 0 && (report.interrupted || (!exists && entries.length === 0));
  if (frozen || isSilent) return report;
  try {
    await writeLock(path, { entries });
    return report;
  } catch (error) {
    if (error instanceof LockUnwritable) return { ...report, problems: [...report.problems, error] };
    throw error;
  }
}

/** An alias is its target's bytes, and what is asked of that one is asked of it. */
function unvouchedIn(
  list: PluginManifest,
  before: (wanted: WantedVersion) => Held | undefined,
): (metadata: PublishedVersion) => boolean {
  const governed = new Map(
    list.versions.filter(({ signatures }) => signatures !== undefined).map(wanted => [versionKey(wanted), wanted]),
  );
  const targets = new Map(list.aliases.map(alias => [versionKey(alias), `${alias.name}/${alias.target}`]));
  return metadata => {
    const key = versionKey(metadata);
    const wanted = governed.get(targets.get(key) ?? key);
    return wanted !== undefined && !isVouched(wanted, metadata, before(wanted));
  };
}

/** What this run settled, and of the rest what was locked before and still is what the manifest asks for. */
function renewed(
  list: PluginManifest,
  published: readonly PublishedVersion[],
  before: ReadonlyMap<string, LockEntry>,
): LockEntry[] {
  const settled = new Map(published.map(metadata => [versionKey(metadata), metadata]));
  return list.versions.flatMap(wanted => {
    const metadata = settled.get(versionKey(wanted));
    return (metadata === undefined ? before.get(versionKey(wanted)) : entryOf(wanted, metadata)) ?? [];
  });
}

function entryOf(
  { name, version, source, signatures }: WantedVersion,
  metadata: PublishedVersion,
): LockEntry | undefined {
  const { sha256, sizeBytes, digest, layer, platform, annotations, signature } = metadata;
  if (source.kind === 'file') return { kind: 'file', name, version, file: source.written, sha256, sizeBytes };
  if (layer === undefined) return undefined;
  return {
    kind: 'image',
    name,
    version,
    reference: formatReference(source.reference),
    digest: digest as Digest,
    layer: { ...layer, digest: layer.digest as Digest },
    sha256,
    sizeBytes,
    // Only what today's policy asked for was looked at in this run; any other mark is the tree's own word.
    ...(signatures === undefined || signature === undefined ? {} : { signature }),
    ...(platform === undefined ? {} : { platform }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
