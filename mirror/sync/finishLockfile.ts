import { Refusal } from '../../base/refusal.ts';
import { type Digest, formatReference } from '../../registry/reference.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { compareLockfile } from '../lockfile/compareManifest.ts';
import { FrozenLockUntrue } from '../lockfile/frozen.ts';
import { isSameEntry, type LockfileEntry, readLockfile, writeLockfile } from '../lockfile/lockfile.ts';
import { untrueLockfile } from '../lockfile/untrue.ts';
import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import type { SyncPlan } from '../plan/plan.ts';
import { type SyncReport, versionKey } from '../report.ts';

/** Writes the lockfile from a report, or compares a frozen one with it. Returns the lockfile's error, if it has one. */
export async function finishLockfile(
  { job: { manifest }, lockfile, versions, problems }: SyncPlan,
  report: SyncReport,
): Promise<Refusal | undefined> {
  const { published, interrupted } = report;
  if (!lockfile.used) return undefined;
  if (lockfile.frozen && versions.every(({ action }) => action === 'keep'))
    return problems.find(problem => problem instanceof FrozenLockUntrue);
  if (lockfile.frozen)
    return untrueLockfile(
      published.map(metadata => ({ key: versionKey(metadata), is: metadata })),
      lockfile,
    );
  try {
    // Another run, with another tree, may have written to the same lockfile while this one worked.
    const now = compareLockfile(manifest, (await readLockfile(lockfile.path)) ?? { entries: [] }).agreeing;
    const entries = renewed(
      manifest,
      published,
      lockfile.agreeing,
      new Map(now.map(({ wanted, locked }) => [versionKey(wanted), locked])),
    );
    // A stopped run that mirrored nothing leaves the lockfile as it is; so does a first run that has nothing to lock.
    const isSilent = published.length === 0 && (interrupted || (!lockfile.exists && entries.length === 0));
    if (!isSilent) await writeLockfile(lockfile.path, { entries });
    return undefined;
  } catch (error) {
    // The tree is whole by now, so the error is reported together with what was done.
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/**
 * The entries of what this run mirrored and, of other versions that the manifest names, those that the lockfile has now or had
 * before. An entry that this run found and left as it was gives way to what another run has written since.
 */
function renewed(
  manifest: PluginManifest,
  published: readonly PublishedVersion[],
  before: ReadonlyMap<string, LockfileEntry>,
  now: ReadonlyMap<string, LockfileEntry>,
): LockfileEntry[] {
  const mirrored = new Map(published.map(metadata => [versionKey(metadata), metadata]));
  return manifest.versions.flatMap(wanted => {
    const key = versionKey(wanted);
    const [metadata, known] = [mirrored.get(key), before.get(key)];
    const own = metadata === undefined ? known : entryOf(wanted, metadata);
    if (own === undefined) return now.get(key) ?? [];
    return isSameEntry(own, known) ? (now.get(key) ?? own) : own;
  });
}

function entryOf(
  { name, version, source, signatures }: WantedVersion,
  metadata: PublishedVersion,
): LockfileEntry | undefined {
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
    // This run has verified only what today's policy asks for; any other signature is the tree's own word.
    ...(signatures === undefined || signature === undefined ? {} : { signature }),
    ...(platform === undefined ? {} : { platform }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
