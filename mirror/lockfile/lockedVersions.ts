import { stat } from 'node:fs/promises';
import { isForPlatform } from '../../registry/image.ts';
import { type Digest, formatReference } from '../../registry/reference.ts';
import type { VersionId } from '../../tree/names.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { hashLocal } from '../manifest/localFile.ts';
import type { PluginManifest, WantedVersion } from '../manifest/wanted.ts';
import { type SyncReport, versionKey } from '../report.ts';
import type { SignatureProof } from '../signatures/policy.ts';
import { lockDiffers, missingLockfile } from './errors.ts';
import { isSameEntry, type Lockfile, type LockfileEntry, readLockfile, writeLockfile } from './lockfile.ts';

/** The image that the lockfile, or the manifest itself, fixes for one version. */
export interface LockedVersion {
  /** The image's digest; of a local file, its sha256. */
  readonly digest: string;
  /** The plugin.wasm that was published from it; absent if only the manifest fixes the digest. */
  readonly module?: LockedModule;
  /** The platform of the image that was taken, if an index was followed. */
  readonly platform?: string;
  /** The signature that was verified when the version was published. */
  readonly signature?: SignatureProof;
}

/** A plugin.wasm as the lockfile records it: bare hex, bytes, and the layer that it came out of. */
export interface LockedModule {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly layerDigest: string;
}

/** True if the plugin.wasm that came out of an image is the locked one. */
export function isLockedModule(
  locked: LockedModule,
  { sha256, sizeBytes, layer }: Pick<PublishedVersion, 'sha256' | 'sizeBytes' | 'layer'>,
): boolean {
  return locked.sha256 === sha256 && locked.sizeBytes === sizeBytes && locked.layerDigest === layer?.digest;
}

export interface LockfileUse {
  /** Absolute. */
  readonly path: string;
  /** Its name in messages, if it is another. */
  readonly shown?: string;
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
interface LockedJob {
  readonly manifest: PluginManifest;
  readonly selection: { readonly platform?: string; readonly includes: (it: VersionId) => boolean };
  readonly lockfile: LockfileUse;
  readonly bundle?: unknown;
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
export async function readLockedVersions(job: LockedJob, signal: AbortSignal): Promise<LockedVersions> {
  const { path, shown = path, mode, update, partial } = job.lockfile;
  const used = mode !== 'off';
  const frozen = mode === 'frozen' || mode === 'frozen in CI';
  // Before the reading: a file that is replaced in between is read once more, not once too few.
  const stamp = await stampOf(path);
  const read = used ? await readLockfile(path) : undefined;
  if (frozen && read === undefined)
    throw missingLockfile(path, mode === 'frozen in CI' ? 'CI' : job.bundle === undefined ? 'frozen' : 'bundle');
  const comparison = ofPlatform(compareLockfile(job.manifest, read ?? { entries: [] }), job.selection.platform);
  if (frozen) {
    const added = partial ? comparison.added.filter(job.selection.includes) : comparison.added;
    // Every difference is reported in one error.
    const differences = [
      ...differencesIn({ ...comparison, added }),
      ...(await changedFiles(comparison.agreeing, signal)),
    ];
    if (differences.length > 0) throw lockDiffers(shown, differences, job.bundle !== undefined);
  }
  const agreeing = new Map(comparison.agreeing.map(({ wanted, locked }) => [versionKey(wanted), locked]));
  const updates = (name: string) => (typeof update === 'boolean' ? update : update.includes(name));
  const before = (wanted: WantedVersion) => lockedBy(agreeing.get(versionKey(wanted)));
  const locked = (wanted: WantedVersion) => (updates(wanted.name) ? undefined : before(wanted));
  return { path, exists: read !== undefined, used, frozen, comparison, agreeing, locked, before, stamp };
}

/** Reads the lockfile again if another run has renewed it since. Errors as readLockedVersions. */
export async function rereadLockedVersions(
  lockfile: LockedVersions,
  job: LockedJob,
  signal: AbortSignal,
): Promise<LockedVersions> {
  if (!lockfile.used || lockfile.stamp === (await stampOf(lockfile.path))) return lockfile;
  return readLockedVersions(job, signal);
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
    if (has === undefined || isForPlatform(has, platform)) return [];
    return [{ wanted, locked, words: `${wanted.name} ${wanted.version}: locked for ${has}, asked for is ${platform}` }];
  });
  const differing = new Set(others.map(({ wanted }) => wanted));
  const agreeing = comparison.agreeing.filter(({ wanted }) => !differing.has(wanted));
  return { ...comparison, agreeing, changed: [...comparison.changed, ...others] };
}

/** A manifest compared with a lockfile. The lists are in the manifest's order, `removed` is in the lockfile's. */
interface LockfileComparison {
  readonly agreeing: readonly { readonly wanted: WantedVersion; readonly locked: LockfileEntry }[];
  /** In the manifest, not in the lockfile. */
  readonly added: readonly WantedVersion[];
  /** In the lockfile, not in the manifest. */
  readonly removed: readonly LockfileEntry[];
  /** In both, with different references. `words` says how, e.g. `ai-proxy 2.0.1: locked as A, the manifest asks for B`. */
  readonly changed: readonly {
    readonly wanted: WantedVersion;
    readonly locked: LockfileEntry;
    readonly words: string;
  }[];
}

/**
 * Compares a manifest with a lockfile; pure. Of a local file only the path is compared: its bytes are compared when they are
 * read. The manifest must have its own references, not those of --registry.
 */
export function compareLockfile(manifest: PluginManifest, lockfile: Lockfile): LockfileComparison {
  const entries = new Map(lockfile.entries.map(entry => [versionKey(entry), entry]));
  const named = new Set(manifest.versions.map(versionKey));
  const agreeing: { wanted: WantedVersion; locked: LockfileEntry }[] = [];
  const added: WantedVersion[] = [];
  const changed: { wanted: WantedVersion; locked: LockfileEntry; words: string }[] = [];
  for (const wanted of manifest.versions) {
    const locked = entries.get(versionKey(wanted));
    if (locked === undefined) added.push(wanted);
    else {
      const words = differenceOf(wanted, locked);
      if (words === undefined) agreeing.push({ wanted, locked });
      else changed.push({ wanted, locked, words });
    }
  }
  return { agreeing, added, removed: lockfile.entries.filter(entry => !named.has(versionKey(entry))), changed };
}

function differenceOf(wanted: WantedVersion, locked: LockfileEntry): string | undefined {
  const was = locked.kind === 'file' ? `file ${locked.file}` : locked.reference;
  const is = wanted.source.kind === 'file' ? `file ${wanted.source.written}` : formatReference(wanted.source.reference);
  if (was !== is) return `${wanted.name} ${wanted.version}: locked as ${was}, the manifest asks for ${is}`;
  const pin = wanted.source.kind === 'image' ? wanted.source.reference.digest : undefined;
  if (pin === undefined || locked.kind === 'file' || locked.digest === pin) return undefined;
  return `${wanted.name} ${wanted.version}: locked at ${locked.digest}, the manifest pins ${pin}`;
}

/** Returns a line for each difference. */
export function differencesIn({ added, removed, changed }: Omit<LockfileComparison, 'agreeing'>): string[] {
  return [
    ...added.map(it => `${it.name} ${it.version} is in the manifest, not in the lockfile`),
    ...removed.map(it => `${it.name} ${it.version} is in the lockfile, not in the manifest`),
    ...changed.map(it => it.words),
  ];
}

async function changedFiles(agreeing: LockfileComparison['agreeing'], signal: AbortSignal): Promise<string[]> {
  const changed: string[] = [];
  for (const { wanted, locked } of agreeing) {
    if (wanted.source.kind !== 'file') continue;
    const digest = await hashLocal(wanted.source.path, `${wanted.name} ${wanted.version}`, signal);
    if (digest === `sha256:${locked.sha256}`) continue;
    changed.push(
      `${versionKey(wanted)}: ${wanted.source.written} is ${digest}, the lockfile has sha256:${locked.sha256}`,
    );
  }
  return changed;
}

/**
 * Writes the lockfile after a run. Another run, with another tree, may have written to it in the meantime. A stopped run that
 * mirrored nothing leaves it as it is; so does a first run that has nothing to lock.
 * @param requireTree throws if another run has taken the tree over @throws LockUnwritable, the refusals of readLockfile and `requireTree`
 */
export async function renewLockfile(
  { path, exists, agreeing }: LockedVersions,
  manifest: PluginManifest,
  { published, interrupted }: Pick<SyncReport, 'published' | 'interrupted'>,
  requireTree: () => Promise<void>,
): Promise<void> {
  const now = compareLockfile(manifest, (await readLockfile(path)) ?? { entries: [] }).agreeing;
  const entries = renewed(
    manifest,
    published,
    agreeing,
    new Map(now.map(({ wanted, locked }) => [versionKey(wanted), locked])),
  );
  if (published.length === 0 && (interrupted || (!exists && entries.length === 0))) return;
  await writeLockfile(path, { entries }, requireTree);
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
