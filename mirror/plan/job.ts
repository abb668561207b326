import type { Digest } from '../../base/digest.ts';
import { globMatcher } from '../../base/globs.ts';
import { nearest } from '../../base/nearest.ts';
import { Refusal } from '../../base/refusal.ts';
import type { VersionId } from '../../tree/names.ts';
import type { Coding } from '../../tree/version/codings.ts';
import type { LockfileUse } from '../lockfile/lockedVersions.ts';
import { lockfilePath } from '../lockfile/lockfile.ts';
import { withRegistry } from '../manifest/readManifest.ts';
import type { PluginManifest, WantedAlias, WantedVersion } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';

/** The request for a run. Each part has one name here and keeps it in the plan and in the report. */
export interface SyncJob {
  /** The whole manifest, with the references that the user wrote. */
  readonly manifest: PluginManifest;
  readonly selection: Selection;
  readonly lockfile: LockfileUse;
  readonly tree: TreeUse;
  readonly limits: SyncLimits;
  /** The bundle that the run reads instead of registries. All that the run takes from it is verified before it publishes. */
  readonly bundle?: BundleUse;
}

export interface BundleUse {
  /** As the user wrote it. */
  readonly path: string;
  /** Of a delta: digests of versions that must be in the tree already. */
  readonly requires: ReadonlySet<string>;
  /** Digests that its index names and that it should contain, and does not. */
  readonly lacking: readonly Digest[];
}

/** A delta is used where its base was not loaded or pushed before. */
export class BundleBaseMissing extends Refusal {
  readonly code = 'BUNDLE_BASE_MISSING';
}

/** The part of a manifest that a run mirrors (`--only`), from the registry that it asks (`--registry`). */
interface Selection {
  /** In the manifest's order, with the references that the registry is asked for. */
  readonly versions: readonly WantedVersion[];
  readonly aliases: readonly WantedAlias[];
  /** True if `--only` matches a version, whether the manifest names it or not. Pruning removes no other version. */
  readonly includes: (it: VersionId) => boolean;
  /** The image of an index to take: `os/architecture[/variant]`. Default: registry/ chooses. */
  readonly platform?: string;
}

interface TreeUse {
  /** The folder as the user wrote it. */
  readonly dir: string;
  /** Where this machine keeps the stamps of the tree's files. Default: nowhere, and every file is hashed. */
  readonly stampsFile?: string | undefined;
  /** Hash every published byte even where the stamps say that nothing changed. */
  readonly rehash: boolean;
  /** Remove versions that the manifest does not name. */
  readonly prune: boolean;
  /** The compressed forms of plugin.wasm that each version has. */
  readonly codings: readonly Coding[];
  /** How long to wait, in milliseconds, for another run that holds the tree's writer lock. 0: refuse. */
  readonly waitMs: number;
}

/** How many of each may be in work at the same time. */
interface SyncLimits {
  /** Versions being published. Twice the blobs in flight, since some versions are being extracted or made durable. */
  readonly versions: number;
  /** Requests for manifests and digests. They are small, so this is four times the blobs in flight. */
  readonly questions: number;
  /** Versions of the tree being looked at. */
  readonly files: number;
}

/** @param blobs how many blobs may be in flight (`--concurrency`) */
export function limitsOf(blobs: number): SyncLimits {
  return { versions: blobs * 2, questions: blobs * 4, files: 8 };
}

export class SelectionEmpty extends Refusal {
  readonly code = 'SELECTION_EMPTY';
}

export interface SelectionOptions {
  /**
   * Globs, each matched against `NAME` and against `NAME/VERSION`; an alias brings its target along. `!GLOB` removes
   * from what the others match, or from everything if there are no others; their order does not matter. Default: everything.
   */
  readonly only?: readonly string[] | undefined;
  /** Take every image from `HOST[/PREFIX]`. Default: from the registries that the manifest names. */
  readonly registry?: string | undefined;
  /** The image of an index to take: `os/architecture[/variant]`. */
  readonly platform?: string | undefined;
  /** Versions in the tree, for a run that prunes: a glob may mean only them. Default: none. */
  readonly inTree?: readonly VersionId[];
}

/**
 * The part of a manifest that a run mirrors.
 * @throws SelectionInvalid if a glob could take very long to match
 * @throws SelectionEmpty if a glob matches nothing, which is mostly a typing error, or if nothing is left
 * @throws ReferenceInvalid if `registry` is not one
 */
export function selectVersions(manifest: PluginManifest, options: SelectionOptions = {}): Selection {
  const { only = [], registry, platform, inTree = [] } = options;
  const { versions, aliases } = matching(manifest, only, inTree);
  const part = { ...manifest, versions, aliases };
  return {
    versions: registry === undefined ? versions : withRegistry(part, registry).versions,
    aliases,
    includes: readGlobs(only).matches,
    ...(platform === undefined ? {} : { platform }),
  };
}

/** Returns a job of this manifest; without options, of a command that looks at the tree and changes nothing. */
export function makeJob(manifest: PluginManifest, options: JobOptions): SyncJob {
  const { dir, stampsFile, rehash = false, prune = false, codings = [], waitMs = 0 } = options;
  const { lock, mode = 'renewed', update = false, partial = false, concurrency, bundle } = options;
  const isOfBundle = lock === undefined && manifest.shown !== undefined && bundle !== undefined;
  const shown = isOfBundle ? { shown: `the lockfile in ${bundle.path}` } : {};
  return {
    manifest,
    selection: selectVersions(manifest, options),
    lockfile: { path: lockfilePath(manifest.file, lock), ...shown, mode, update, partial },
    tree: { dir, stampsFile, rehash, prune, codings, waitMs },
    limits: limitsOf(concurrency),
    ...(bundle === undefined ? {} : { bundle }),
  };
}

export interface JobOptions extends SelectionOptions, Partial<Omit<LockfileUse, 'path' | 'shown'>> {
  readonly dir: string;
  readonly stampsFile?: string | undefined;
  readonly rehash?: boolean | undefined;
  readonly prune?: boolean | undefined;
  readonly codings?: TreeUse['codings'];
  readonly waitMs?: number;
  /** The path of the lockfile. Default: next to the manifest. */
  readonly lock?: string | undefined;
  readonly concurrency: number;
  readonly bundle?: BundleUse | undefined;
}

function matching(
  manifest: PluginManifest,
  globs: readonly string[],
  inTree: readonly VersionId[],
): Pick<PluginManifest, 'versions' | 'aliases'> {
  if (globs.length === 0) return manifest;
  const everything = [...manifest.versions, ...manifest.aliases, ...inTree];
  for (const glob of globs) if (!everything.some(readGlob(glob).matches)) throw nothingMatches(manifest, glob);
  const { matches, isExcluded } = readGlobs(globs);
  const targets = new Set(manifest.aliases.filter(matches).map(alias => `${alias.name}/${alias.target}`));
  const versions = manifest.versions.filter(it => matches(it) || (targets.has(versionKey(it)) && !isExcluded(it)));
  if (versions.length === 0 && !inTree.some(matches)) throw nothingLeft(manifest, globs);
  const chosen = new Set(versions.map(versionKey));
  return { versions, aliases: manifest.aliases.filter(it => chosen.has(`${it.name}/${it.target}`)) };
}

/** Reads the globs of `only`. Without any, everything matches. @throws SelectionInvalid */
export function readGlobs(globs: readonly string[]): {
  readonly matches: (it: VersionId) => boolean;
  /** True if a `!GLOB` matches it. */
  readonly isExcluded: (it: VersionId) => boolean;
} {
  const read = globs.map(readGlob);
  const including = read.filter(({ excludes }) => !excludes);
  const excluding = read.filter(({ excludes }) => excludes);
  const isExcluded = (it: VersionId) => excluding.some(({ matches }) => matches(it));
  return {
    matches: it => (including.length === 0 || including.some(({ matches }) => matches(it))) && !isExcluded(it),
    isExcluded,
  };
}

/**
 * The matcher would negate `!GLOB` for NAME and for NAME/VERSION each, and one of the two nearly always matches; so the sign is
 * read here. `!(a|b)` is not a negation but a pattern for one part of a path.
 */
function readGlob(glob: string): { readonly excludes: boolean; readonly matches: (it: VersionId) => boolean } {
  const signs = /^(?:!(?!\())*/.exec(glob)?.[0].length ?? 0;
  const pattern = glob.slice(signs);
  const fits = pattern === '' ? () => false : globMatcher(pattern);
  return { excludes: signs % 2 === 1, matches: it => fits(it.name) || fits(versionKey(it)) };
}

/** `--update NAME…`: the manifest and `--only` must have a plugin of every name. @throws SelectionEmpty */
export function requireNamed(manifest: PluginManifest, { versions }: Selection, names: readonly string[]): void {
  for (const name of names) {
    if (!manifest.versions.some(it => it.name === name))
      throw new SelectionEmpty(`--update ${name}: ${manifest.file} has no plugin of that name`, {
        subject: name,
        expected: 'the name of a plugin',
        found: pluginsOf(manifest),
        hint: `${didYouMean(manifest, name)}Name a plugin of the manifest, or none to update them all.`,
      });
    if (!versions.some(it => it.name === name))
      throw new SelectionEmpty(`--update ${name}: --only leaves this plugin out, so nothing would be updated`, {
        subject: name,
        expected: 'a plugin that --only matches, too',
        found: pluginsOf({ versions }),
        hint: `Leave --only out, or add ${name} to it.`,
      });
  }
}

function pluginsOf({ versions }: Pick<Selection, 'versions'>): string {
  const names = [...new Set(versions.map(it => it.name))];
  return `${names.length} plugins: ${names.slice(0, 8).join(', ')}${names.length > 8 ? ', …' : ''}`;
}

/** Returns `Did you mean NAME? `, or nothing. */
function didYouMean({ versions }: PluginManifest, name: string): string {
  const meant = nearest(
    name,
    versions.map(each => each.name),
  );
  return meant === undefined ? '' : `Did you mean ${meant}? `;
}

function nothingMatches(manifest: PluginManifest, glob: string): SelectionEmpty {
  const meant = didYouMean(manifest, glob.replace(/\/.*$/, ''));
  return new SelectionEmpty(`--only ${glob} matches no plugin of ${manifest.shown ?? manifest.file}`, {
    subject: glob,
    expected: 'a glob over NAME or NAME/VERSION',
    found: pluginsOf(manifest),
    hint: `${meant}${meant === '' ? 'Name' : 'Otherwise name'} a plugin of the manifest, or quote the glob so that the shell does not expand it.`,
  });
}

function nothingLeft(manifest: PluginManifest, globs: readonly string[]): SelectionEmpty {
  return new SelectionEmpty(`--only ${globs.join(' ')} leaves no plugin of ${manifest.shown ?? manifest.file}`, {
    subject: globs.join(' '),
    expected: 'globs that leave something',
    found: pluginsOf(manifest),
    hint: 'A !GLOB removes plugins that the other globs match: leave one of them out, or name more plugins.',
  });
}
