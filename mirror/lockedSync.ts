import { type Digest, formatReference } from '../registry/reference.ts';
import type { PublishedVersion } from '../tree/published.ts';
import { requireAgreement, requireLock } from './frozen.ts';
import { compareLock, type LockComparison, type LockEntry, lockPathFor, readLock, writeLock } from './lock.ts';
import type { Held } from './plan.ts';
import { type SyncReport, versionKey } from './report.ts';
import { type SyncOptions, sync } from './sync.ts';
import type { PluginManifest, WantedVersion } from './wanted.ts';

export interface LockedSyncOptions extends Omit<SyncOptions, 'locked' | 'tags' | 'named'> {
  /** The whole list as the user wrote it; `manifest` is the part of it to sync, and may name another registry. */
  readonly list: PluginManifest;
  /** True: take exactly what the lock holds, or refuse. `if-locked`: the same where there is a lock. */
  readonly frozen: boolean | 'if-locked';
  /** Resolve the tags of these plugins anew, or of all. */
  readonly update: boolean | readonly string[];
  /** False: neither read nor write a lock. */
  readonly useLock: boolean;
}

/**
 * sync with the lock beside the manifest: what it holds is what is pulled, what it lacks is resolved and written into it.
 * @throws FrozenLockMissing, FrozenLockDiffers, the lock's own refusals, and what sync throws
 */
export async function lockedSync(options: LockedSyncOptions): Promise<SyncReport> {
  const { list, useLock, signal } = options;
  const named = new Set([...list.versions, ...list.aliases].map(versionKey));
  if (!useLock) return sync({ ...options, named });
  const path = lockPathFor(list.file);
  const lock = await readLock(path);
  const frozen = options.frozen === true || (options.frozen === 'if-locked' && lock !== undefined);
  const comparison = compareLock(list, frozen ? requireLock(lock, path) : (lock ?? { entries: [] }));
  if (frozen) await requireAgreement(comparison, path, signal);
  const held = heldIn(comparison, options.update);
  const report = await sync({
    ...options,
    named,
    tags: !frozen,
    locked: wanted => heldOf(held.get(versionKey(wanted))),
  });
  if (!frozen) await writeLock(path, { entries: renewed(list, report.published, held) });
  return report;
}

function heldOf(entry: LockEntry | undefined): Held | undefined {
  return entry?.kind === 'image' ? { digest: entry.digest, sha256: entry.sha256 } : undefined;
}

/** The entries that still bind, by version key: the version is in the manifest as it was, and nobody asked to update it. */
function heldIn({ agreeing }: LockComparison, update: boolean | readonly string[]): Map<string, LockEntry> {
  const renew = (name: string) => (typeof update === 'boolean' ? update : update.includes(name));
  return new Map(
    agreeing.filter(({ wanted }) => !renew(wanted.name)).map(({ wanted, locked }) => [versionKey(wanted), locked]),
  );
}

/** What this run settled, and of the rest what bound before. */
function renewed(
  list: PluginManifest,
  published: readonly PublishedVersion[],
  held: ReadonlyMap<string, LockEntry>,
): LockEntry[] {
  const settled = new Map(published.map(metadata => [versionKey(metadata), metadata]));
  return list.versions.flatMap(wanted => {
    const metadata = settled.get(versionKey(wanted));
    return (metadata === undefined ? held.get(versionKey(wanted)) : entryOf(wanted, metadata)) ?? [];
  });
}

function entryOf({ name, version, source }: WantedVersion, metadata: PublishedVersion): LockEntry | undefined {
  const { sha256, sizeBytes, digest, layer, platform, annotations } = metadata;
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
    ...(platform === undefined ? {} : { platform }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
