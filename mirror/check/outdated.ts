import pMap from 'p-map';
import semver from 'semver';
import { addTo } from '../../base/groups.ts';
import { asError } from '../../base/refusal.ts';
import { formatReference, type Reference } from '../../registry/reference.ts';
import type { TagList } from '../../registry/registry.ts';
import type { VersionId } from '../../tree/names.ts';
import { listVersions, readVersion } from '../../tree/version/inspectVersion.ts';
import { readLockfile } from '../lockfile/lockfile.ts';
import type { PluginManifest } from '../manifest/wanted.ts';
import type { SyncJob } from '../plan/job.ts';
import type { Session } from '../session.ts';

/** One repository. Each of the versions is the highest of its kind; absent if there is none. */
export interface OutdatedRow {
  readonly name: string;
  /** `HOST/REPOSITORY`. */
  readonly repository: string;
  readonly current?: string;
  readonly wanted?: string;
  readonly locked?: string;
  readonly latest?: string;
  /** True if `latest` is higher than everything the manifest names. */
  readonly outdated: boolean;
  /** True if the tree or the lockfile has a lower version than the manifest names: a sync is due. */
  readonly behind: boolean;
  /** Its tags could not be listed. */
  readonly error?: Error;
  /** Registry hosts that did not answer and may have more tags; absent if all answered. */
  readonly unheard?: TagList['unheard'];
}

/**
 * Finds newer versions in the registry and its mirrors. Only tags that are semantic versions count, with or without a leading
 * `v`. @param preReleases count pre-releases (semver.org, 9) as newer versions, too @throws the lockfile's refusals
 */
export async function findOutdated(
  { manifest, selection, lockfile: { path }, tree, limits }: SyncJob,
  preReleases: boolean,
  session: Session,
): Promise<OutdatedRow[]> {
  const lockfile = await readLockfile(path);
  const known: Known = {
    manifest,
    current: byName(await ownVersions(tree.dir, limits.files)),
    locked: byName(lockfile?.entries ?? []),
    preReleases,
  };
  const { signal } = session;
  return pMap(repositoriesOf(selection), repository => findRow(repository, known, session), {
    concurrency: limits.versions,
    signal,
  });
}

interface Known {
  readonly manifest: PluginManifest;
  /** Versions in the tree, by plugin name. */
  readonly current: ReadonlyMap<string, readonly string[]>;
  /** Versions in the lockfile, by plugin name. */
  readonly locked: ReadonlyMap<string, readonly string[]>;
  readonly preReleases: boolean;
}

/** Without aliases: an alias is a second path of a version, not another version. */
async function ownVersions(treeDir: string, concurrency: number): Promise<VersionId[]> {
  const own = async ({ name, version }: VersionId) => {
    const metadata = await readVersion(treeDir, name, version).catch(() => undefined);
    return metadata?.aliasOf === undefined ? [{ name, version }] : [];
  };
  const versions = await listVersions(treeDir, { onUnreadable: () => undefined });
  return (await pMap(versions, own, { concurrency })).flat();
}

function byName(versions: readonly VersionId[]): Map<string, string[]> {
  const map = new Map<string, string[]>();
  for (const { name, version } of versions) addTo(map, name, version);
  return map;
}

interface Repository {
  readonly name: string;
  readonly reference: Reference;
  readonly versions: readonly string[];
}

function repositoriesOf({ versions }: Pick<PluginManifest, 'versions'>): Repository[] {
  const found = new Map<string, { name: string; reference: Reference; versions: string[] }>();
  for (const { name, version, source } of versions) {
    if (source.kind !== 'image') continue;
    const { registry, repository } = source.reference;
    const key = `${name} ${registry}/${repository}`;
    const known = found.get(key) ?? { name, reference: source.reference, versions: [] };
    known.versions.push(version);
    found.set(key, known);
  }
  return [...found.values()];
}

async function findRow(
  { name, reference, versions }: Repository,
  { manifest, current, locked, preReleases }: Known,
  { registry, signal }: Session,
): Promise<OutdatedRow> {
  const repository = formatReference({ registry: reference.registry, repository: reference.repository });
  const wanted = highestOwn(versions);
  // A version that the manifest named before is still in the tree and the lockfile. It belongs to this repository's row unless
  // the manifest names it from another repository, or as an alias.
  const others = new Set([
    ...manifest.versions.filter(it => it.name === name && !versions.includes(it.version)).map(it => it.version),
    ...manifest.aliases.filter(it => it.name === name).map(it => it.version),
  ]);
  const mine = (all: readonly string[] | undefined) => highestOwn(all?.filter(version => !others.has(version)) ?? []);
  const known = optional({ current: mine(current.get(name)), wanted, locked: mine(locked.get(name)) });
  const behind = [known.current, known.locked].some(
    it =>
      it !== undefined && wanted !== undefined && it !== wanted && (semver.valid(it) === null || isHigher(wanted, it)),
  );
  try {
    const { tags, unheard } = await (await registry.get()).listTags(reference, signal);
    const latest = highest(tags, preReleases);
    // A version that is no semver cannot be compared with a newer one.
    const outdated = latest !== undefined && (wanted === undefined || isHigher(latest, wanted));
    return {
      name,
      repository,
      ...known,
      ...optional({ latest }),
      outdated,
      behind,
      ...(unheard.length === 0 ? {} : { unheard }),
    };
  } catch (error) {
    signal.throwIfAborted();
    return {
      name,
      repository,
      ...known,
      outdated: false,
      behind,
      error: asError(error),
    };
  }
}

/** The highest of a plugin's own versions; the first of them if none is a semantic version. */
function highestOwn(versions: readonly string[]): string | undefined {
  return highest(versions, true) ?? versions[0];
}

function highest(versions: readonly string[], preReleases: boolean): string | undefined {
  // A registry may list a hundred thousand tags: each is parsed once, and they are not sorted.
  let highestVersion: semver.SemVer | undefined;
  let found: string | undefined;
  for (const version of versions) {
    const parsed = semver.parse(version);
    if (parsed === null || (!preReleases && parsed.prerelease.length > 0)) continue;
    if (highestVersion !== undefined && parsed.compare(highestVersion) <= 0) continue;
    highestVersion = parsed;
    found = version;
  }
  return found;
}

/** False if one of them is no semantic version. */
function isHigher(version: string, than: string): boolean {
  return semver.valid(version) !== null && semver.valid(than) !== null && semver.gt(version, than);
}

function optional<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
