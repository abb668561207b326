import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';
import { compareLock, type LockComparison, type LockEntry, lockPathFor, readLock } from './compareManifest.ts';
import { requireAgreement, requireLock } from './frozen.ts';
import type { Held } from './held.ts';

export interface LockChoice {
  /** The whole list as the user wrote it. */
  readonly list: PluginManifest;
  /** True: take exactly what the lock holds, or refuse. `in CI`: the same, and nobody has asked for it in words. */
  readonly frozen: boolean | 'in CI';
  /** Resolve the tags of these plugins anew, or of all. */
  readonly update: boolean | readonly string[];
  /** Which image of an index is asked for; one that is locked for another platform does not agree. */
  readonly platform?: string;
  readonly signal: AbortSignal;
}

/** A lock, read and held against the list. */
export interface HeldVersions {
  readonly path: string;
  readonly exists: boolean;
  readonly frozen: boolean;
  readonly comparison: LockComparison;
  /** Entries that are still what the list asks for, by version key. */
  readonly agreeing: ReadonlyMap<string, LockEntry>;
  /** What binds a version; undefined if the lock has nothing on it, or an update was asked for. */
  readonly locked: (wanted: WantedVersion) => Held | undefined;
  /** What the lock has on a version, where an update was asked for, too. */
  readonly before: (wanted: WantedVersion) => Held | undefined;
}

/** Reads the lock beside the list. @throws FrozenLockMissing, FrozenLockDiffers, and the lock's own refusals */
export async function readHeldVersions({
  list,
  frozen: choice,
  update,
  platform,
  signal,
}: LockChoice): Promise<HeldVersions> {
  const path = lockPathFor(list.file);
  const lock = await readLock(path);
  const frozen = choice !== false;
  const compared = compareLock(list, frozen ? requireLock(lock, path, choice === 'in CI') : (lock ?? { entries: [] }));
  const comparison = ofPlatform(compared, platform);
  if (frozen) await requireAgreement(comparison, path, signal);
  const agreeing = new Map(comparison.agreeing.map(({ wanted, locked }) => [versionKey(wanted), locked]));
  const renews = (name: string) => (typeof update === 'boolean' ? update : update.includes(name));
  const before = (wanted: WantedVersion) => heldBy(agreeing.get(versionKey(wanted)));
  const locked = (wanted: WantedVersion) => (renews(wanted.name) ? undefined : before(wanted));
  return { path, exists: lock !== undefined, frozen, comparison, agreeing, locked, before };
}

function heldBy(entry: LockEntry | undefined): Held | undefined {
  if (entry === undefined) return undefined;
  if (entry.kind === 'file') return { digest: `sha256:${entry.sha256}` };
  const { digest, sha256, sizeBytes, layer, platform, signature } = entry;
  const module = { sha256, sizeBytes, layerDigest: layer.digest };
  return {
    digest,
    module,
    ...(platform === undefined ? {} : { platform }),
    ...(signature === undefined ? {} : { signature }),
  };
}

function ofPlatform(comparison: LockComparison, platform: string | undefined): LockComparison {
  if (platform === undefined) return comparison;
  const others = comparison.agreeing.flatMap(({ wanted, locked }) => {
    const held = locked.kind === 'image' ? locked.platform : undefined;
    if (held === undefined || held === platform || held.startsWith(`${platform}/`)) return [];
    return [
      { wanted, locked, words: `${wanted.name} ${wanted.version}: locked for ${held}, asked for is ${platform}` },
    ];
  });
  const differing = new Set(others.map(({ wanted }) => wanted));
  const agreeing = comparison.agreeing.filter(({ wanted }) => !differing.has(wanted));
  return { ...comparison, agreeing, changed: [...comparison.changed, ...others] };
}
