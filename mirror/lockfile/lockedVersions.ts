import { stat } from 'node:fs/promises';
import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import { type Published, versionKey } from '../report.ts';
import { compareLockfile, type LockfileComparison } from './compareManifest.ts';
import { requireAgreement, requireLockfile } from './frozen.ts';
import type { LockedVersion } from './locked.ts';
import type { LockfileEntry } from './lockfile.ts';
import { readLockfile } from './lockfile.ts';

export interface LockfileUse {
  /** Absolute. */
  readonly path: string;
  /**
   * - `off`: the lockfile is neither read nor written
   * - `renewed`: locked digests are mirrored, other tags are resolved and written to the lockfile
   * - `frozen`: exactly the locked digests are mirrored; a lockfile that differs from the manifest is refused
   * - `frozen in CI`: as `frozen`, chosen because CI is set and not by an option
   */
  readonly mode: 'off' | 'renewed' | 'frozen' | 'frozen in CI';
  /** Resolve the tags of these plugins again, or of all. */
  readonly update: boolean | readonly string[];
  /** The lockfile may lack versions that `--only` leaves out, although it is frozen: that of a bundle. Default false. */
  readonly partial?: boolean;
}

/** The parts of a job that decide what its lockfile is compared with. */
interface LockfileQuestion {
  readonly manifest: PluginManifest;
  readonly selection: { readonly platform?: string; readonly includes: (it: Published) => boolean };
  readonly lockfile: LockfileUse;
}

/** A lockfile that has been read and compared with the manifest. */
export interface LockedVersions {
  readonly path: string;
  readonly exists: boolean;
  /** False if this run neither reads nor writes the lockfile. */
  readonly used: boolean;
  /** True if only locked digests may be mirrored. */
  readonly frozen: boolean;
  readonly comparison: LockfileComparison;
  /** By version key, the entries that are still what the manifest asks for. */
  readonly agreeing: ReadonlyMap<string, LockfileEntry>;
  /** The image that a version is bound to; undefined if it is not locked, or if an update of it was asked for. */
  readonly locked: (wanted: WantedVersion) => LockedVersion | undefined;
  /** The entry of a version, even if an update of it was asked for. */
  readonly before: (wanted: WantedVersion) => LockedVersion | undefined;
  /** Identifies the file that was read; changes when the file is replaced or edited. */
  readonly stamp: string;
}

/** Reads the lockfile of a run. @throws FrozenLockMissing, FrozenLockDiffers, and the refusals of readLockfile */
export async function readLockedVersions(question: LockfileQuestion, signal: AbortSignal): Promise<LockedVersions> {
  const { manifest, selection, lockfile: use } = question;
  const { path } = use;
  const used = use.mode !== 'off';
  const frozen = use.mode === 'frozen' || use.mode === 'frozen in CI';
  // Before the reading: a file that is replaced in between is read once more, not once too few.
  const stamp = await stampOf(path);
  const read = used ? await readLockfile(path) : undefined;
  const lockfile = frozen ? requireLockfile(read, path, use.mode === 'frozen in CI') : (read ?? { entries: [] });
  const comparison = ofPlatform(compareLockfile(manifest, lockfile), selection.platform);
  const added = use.partial ? comparison.added.filter(selection.includes) : comparison.added;
  if (frozen) await requireAgreement({ ...comparison, added }, path, signal);
  const agreeing = new Map(comparison.agreeing.map(({ wanted, locked }) => [versionKey(wanted), locked]));
  const updates = (name: string) => (typeof use.update === 'boolean' ? use.update : use.update.includes(name));
  const before = (wanted: WantedVersion) => lockedBy(agreeing.get(versionKey(wanted)));
  const locked = (wanted: WantedVersion) => (updates(wanted.name) ? undefined : before(wanted));
  return { path, exists: read !== undefined, used, frozen, comparison, agreeing, locked, before, stamp };
}

/** Reads the lockfile again if another run has renewed it since. Errors as readLockedVersions. */
export async function rereadLockedVersions(
  known: LockedVersions,
  question: LockfileQuestion,
  signal: AbortSignal,
): Promise<LockedVersions> {
  if (!known.used || known.stamp === (await stampOf(known.path))) return known;
  return readLockedVersions(question, signal);
}

async function stampOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found === undefined ? 'none' : [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join(' ');
}

function lockedBy(entry: LockfileEntry | undefined): LockedVersion | undefined {
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

/** An entry that is locked for another platform than the one asked for does not agree. */
function ofPlatform(comparison: LockfileComparison, platform: string | undefined): LockfileComparison {
  if (platform === undefined) return comparison;
  const others = comparison.agreeing.flatMap(({ wanted, locked }) => {
    const has = locked.kind === 'image' ? locked.platform : undefined;
    if (has === undefined || has === platform || has.startsWith(`${platform}/`)) return [];
    return [{ wanted, locked, words: `${wanted.name} ${wanted.version}: locked for ${has}, asked for is ${platform}` }];
  });
  const differing = new Set(others.map(({ wanted }) => wanted));
  const agreeing = comparison.agreeing.filter(({ wanted }) => !differing.has(wanted));
  return { ...comparison, agreeing, changed: [...comparison.changed, ...others] };
}
