import { formatReference } from '../../registry/reference.ts';
import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import type { LockEntry, LockFile } from './lockfile.ts';

export {
  LockBytesDiffer,
  LockConflict,
  LockedImageGone,
  LockInvalid,
  LockNewer,
  LockUnreadable,
  LockUnwritable,
} from './errors.ts';
export type { LockEntry, LockFile } from './lockfile.ts';
export { isSameEntry, lockPathFor, readLock, writeLock } from './lockfile.ts';

/** How a manifest and a lock stand to each other; all lists in the order of the manifest, `removed` in the lock's. */
export interface LockComparison {
  readonly agreeing: readonly { readonly wanted: WantedVersion; readonly locked: LockEntry }[];
  /** In the manifest, not in the lock. */
  readonly added: readonly WantedVersion[];
  /** In the lock, not in the manifest. */
  readonly removed: readonly LockEntry[];
  /** In both, but from another place. `words` says how, e.g. `ai-proxy 2.0.1: locked as A, the manifest asks for B`. */
  readonly changed: readonly { readonly wanted: WantedVersion; readonly locked: LockEntry; readonly words: string }[];
}

/**
 * Compares what is wanted with what is locked; pure. Of a local file only the path is compared: whether its bytes are
 * the locked ones is seen when they are read. Compare before withRegistry: a lock has the manifest's own references.
 */
export function compareLock(manifest: PluginManifest, lock: LockFile): LockComparison {
  const locks = new Map(lock.entries.map(entry => [keyOf(entry), entry]));
  const wanted = new Set(manifest.versions.map(keyOf));
  const agreeing: { wanted: WantedVersion; locked: LockEntry }[] = [];
  const added: WantedVersion[] = [];
  const changed: { wanted: WantedVersion; locked: LockEntry; words: string }[] = [];
  for (const version of manifest.versions) {
    const locked = locks.get(keyOf(version));
    if (locked === undefined) added.push(version);
    else {
      const words = differenceOf(version, locked);
      if (words === undefined) agreeing.push({ wanted: version, locked });
      else changed.push({ wanted: version, locked, words });
    }
  }
  return { agreeing, added, removed: lock.entries.filter(entry => !wanted.has(keyOf(entry))), changed };
}

// A name has no slash.
function keyOf({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name}/${version}`;
}

function differenceOf(wanted: WantedVersion, locked: LockEntry): string | undefined {
  const was = locked.kind === 'file' ? `file ${locked.file}` : locked.reference;
  const is = wanted.source.kind === 'file' ? `file ${wanted.source.written}` : formatReference(wanted.source.reference);
  if (was !== is) return `${wanted.name} ${wanted.version}: locked as ${was}, the manifest asks for ${is}`;
  const pin = wanted.source.kind === 'image' ? wanted.source.reference.digest : undefined;
  if (pin === undefined || locked.kind === 'file' || locked.digest === pin) return undefined;
  return `${wanted.name} ${wanted.version}: locked at ${locked.digest}, the manifest pins ${pin}`;
}
