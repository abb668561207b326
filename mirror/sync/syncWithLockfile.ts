import { Refusal } from '../../base/refusal.ts';
import { type Digest, formatReference } from '../../registry/reference.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import {
  compareLock,
  isSameEntry,
  type LockComparison,
  type LockEntry,
  readLock,
  writeLock,
} from '../lockfile/compareManifest.ts';
import type { Held } from '../lockfile/held.ts';
import { type HeldVersions, type LockChoice, readHeldVersions } from '../lockfile/lockedVersions.ts';
import { untrueLock } from '../lockfile/untrue.ts';
import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import { isVouched } from '../plan/plan.ts';
import { type SyncReport, versionKey } from '../report.ts';
import { sync } from './sync.ts';
import type { SyncedReport, SyncOptions } from './syncOptions.ts';

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
  let held = await readHeldVersions(options);
  const ofLock = ({ locked, before }: HeldVersions) => ({ locked, before, unvouched: unvouchedIn(list, before) });
  const report = await sync({
    ...options,
    named,
    tags: !held.frozen,
    ...ofLock(held),
    renewed: async () => {
      held = await readHeldVersions(options);
      return ofLock(held);
    },
  });
  const published = report.published.map(metadata => ({ key: versionKey(metadata), is: metadata }));
  const problem = held.frozen ? untrueLock(published, held) : await renewLock(list, report, held);
  return problem === undefined ? report : { ...report, problems: [...report.problems, problem] };
}

/** Writes what this run settled beside what others have written meanwhile: another run, with another tree, may have the same lock. */
async function renewLock(
  list: PluginManifest,
  report: SyncedReport,
  { path, exists, agreeing }: HeldVersions,
): Promise<Refusal | undefined> {
  try {
    const now = new Map(compareLock(list, (await readLock(path)) ?? { entries: [] }).agreeing.map(keyed));
    const entries = renewed(list, report.published, agreeing, now);
    // A first run that settled nothing has nothing to hold anybody to; one that was stopped before it settled anything, nothing to say.
    const isSilent = report.published.length === 0 && (report.interrupted || (!exists && entries.length === 0));
    if (!isSilent) await writeLock(path, { entries });
    return undefined;
  } catch (error) {
    // The tree is whole by now; what is wrong with the lock is told beside it.
    if (error instanceof Refusal) return error;
    throw error;
  }
}

function keyed({ wanted, locked }: LockComparison['agreeing'][number]): [string, LockEntry] {
  return [versionKey(wanted), locked];
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

/**
 * What this run settled anew, and of the rest what the lock says now and said before, as far as the manifest still asks for
 * it. What this run left as it found it in the lock is no answer to what somebody else has put there since.
 */
function renewed(
  list: PluginManifest,
  published: readonly PublishedVersion[],
  before: ReadonlyMap<string, LockEntry>,
  now: ReadonlyMap<string, LockEntry>,
): LockEntry[] {
  const settled = new Map(published.map(metadata => [versionKey(metadata), metadata]));
  return list.versions.flatMap(wanted => {
    const key = versionKey(wanted);
    const [metadata, known] = [settled.get(key), before.get(key)];
    const own = metadata === undefined ? known : entryOf(wanted, metadata);
    if (own === undefined) return now.get(key) ?? [];
    return isSameEntry(own, known) ? (now.get(key) ?? own) : own;
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
