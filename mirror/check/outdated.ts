import pMap from 'p-map';
import semver from 'semver';
import { formatReference, type Reference } from '../../registry/reference.ts';
import type { Registry, TagList } from '../../registry/registry.ts';
import type { PluginManifest } from '../manifest/wanted.ts';

export interface OutdatedOptions {
  readonly manifest: PluginManifest;
  readonly registry: () => Promise<Registry>;
  /** Versions of a plugin that stand in the tree, by name. */
  readonly current: ReadonlyMap<string, readonly string[]>;
  /** Versions of a plugin that the lock holds, by name. */
  readonly locked: ReadonlyMap<string, readonly string[]>;
  /** Take pre-releases (semver.org, 9) for newer versions too. */
  readonly preReleases: boolean;
  readonly concurrency: number;
  readonly signal: AbortSignal;
}

/** One repository's state. Each of the versions is the highest of its kind; absent if there is none. */
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
  /** True if the tree or the lock has something lower than the manifest names: a sync is due. */
  readonly behind: boolean;
  /** Its tags could not be listed. */
  readonly error?: Error;
  /** Places that could know more, and did not answer while another did; absent if there are none. */
  readonly unheard?: TagList['unheard'];
}

/** What newer versions the registry and its mirrors have: tags that are semantic versions (a leading `v` allowed), highest first by semver. */
export async function findOutdated(options: OutdatedOptions): Promise<OutdatedRow[]> {
  const { concurrency, signal } = options;
  return pMap(repositoriesOf(options.manifest), repository => ask(repository, options), { concurrency, signal });
}

interface Repository {
  readonly name: string;
  readonly reference: Reference;
  readonly versions: readonly string[];
}

function repositoriesOf({ versions }: PluginManifest): Repository[] {
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

async function ask({ name, reference, versions }: Repository, options: OutdatedOptions): Promise<OutdatedRow> {
  const { signal, preReleases } = options;
  const repository = formatReference({ registry: reference.registry, repository: reference.repository });
  const wanted = highestOwn(versions);
  // What the list named before a bump still stands in the tree and the lock, and is what this repository's row is about,
  // unless the list names it from another repository, or as an alias.
  const others = new Set([
    ...options.manifest.versions.filter(it => it.name === name && !versions.includes(it.version)).map(it => it.version),
    ...options.manifest.aliases.filter(it => it.name === name).map(it => it.version),
  ]);
  const mine = (all: readonly string[] | undefined) => highestOwn(all?.filter(version => !others.has(version)) ?? []);
  const known = optional({ current: mine(options.current.get(name)), wanted, locked: mine(options.locked.get(name)) });
  const behind = [known.current, known.locked].some(
    it =>
      it !== undefined && wanted !== undefined && it !== wanted && (semver.valid(it) === null || isHigher(wanted, it)),
  );
  try {
    const { tags, unheard } = await (await options.registry()).listTags(reference, signal);
    const latest = highest(tags, preReleases);
    // Of a version that is no semver nobody can say what is newer.
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
      error: error instanceof Error ? error : new Error(String(error)),
    };
  }
}

/** The highest of a plugin's own versions; the first of them where none is a semantic version. */
function highestOwn(versions: readonly string[]): string | undefined {
  return highest(versions, true) ?? versions[0];
}

function highest(versions: readonly string[], preReleases: boolean): string | undefined {
  return versions
    .filter(version => semver.valid(version) !== null && (preReleases || semver.prerelease(version) === null))
    .sort(semver.rcompare)[0];
}

/** False where one of them is no semantic version. */
function isHigher(version: string, than: string): boolean {
  return semver.valid(version) !== null && semver.valid(than) !== null && semver.gt(version, than);
}

function optional<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
