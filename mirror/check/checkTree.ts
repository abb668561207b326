import { type AuditFinding, findUnknownFiles } from '../../tree/auditTree.ts';
import { buildCatalog } from '../../tree/catalog.ts';
import { CATALOG_FILE, type VersionId } from '../../tree/names.ts';
import type { Present, Tree } from '../../tree/tree.ts';
import type { LockedVersions } from '../lockfile/lockedVersions.ts';
import { catalogEntries, planCatalog } from '../plan/catalog.ts';
import { type OldCatalog, servable } from '../plan/facts.ts';
import type { SyncJob } from '../plan/job.ts';
import { type Extra, versionKey } from '../report.ts';

/** Reasons why the tree has no usable catalog, to follow the file's name. */
const NO_CATALOG = {
  missing: 'is missing',
  invalid: 'is no catalog that can be read',
  inaccessible: 'may not be read by this user',
} as const;

/**
 * Finds extras, files of the tree itself that are not what sync would write, and, as far as that shows without opening a file,
 * files that were not published from here.
 *
 * @param copies the manifest's versions and aliases in the tree
 * @param found what was found of them
 */
export async function checkTree(
  job: SyncJob,
  lockfile: LockedVersions,
  tree: Tree,
  old: OldCatalog,
  copies: readonly Present[],
  found: readonly CheckFinding[],
): Promise<CheckFinding[]> {
  const { staying, unselected, error } = await planCatalog(job, tree, old, new Set(), () => undefined);
  if (error !== undefined) throw error;
  const extras = staying.map(({ extra }) => extra);
  // A bundle that was made with --only leaves other versions of its manifest as they are.
  const others = [...unselected, ...staying.map(({ metadata }) => metadata)];
  const served = [...copies.map(servable), ...others].flatMap(it => it ?? []);
  const entries = catalogEntries(job, true, served);
  const leftovers = extras.filter(it => it.leftover);
  const ofExtras = extraFindings(
    extras.filter(it => !it.leftover),
    lockfile.comparison.removed,
  );
  let differing = await tree.differingFiles(entries);
  // Without a lockfile the tree may be from runs with --no-lock, which pin only what the manifest pins.
  const unlocked = catalogEntries(job, false, served);
  const isUnlocked = differing.length > 0 && (await tree.differingFiles(unlocked)).length === 0;
  if (isUnlocked && !lockfile.exists) differing = [];
  // The catalog follows from the versions: where sync changes those, it changes the catalog, too.
  const isExplained =
    found.some(({ kind }) => EXPLAINING.has(kind)) || extras.some(it => it.damage !== undefined && !it.leftover);
  const ofFiles = differing.flatMap(({ file, problem, foreign }): CheckFinding[] => {
    const unread = file === CATALOG_FILE && old.state !== 'read' && !foreign ? NO_CATALOG[old.state] : undefined;
    if (!foreign && (entries.length === 0 || (unread === undefined && isExplained))) return [];
    if (isUnlocked)
      return [
        {
          kind: 'stale',
          path: file,
          detail: 'is from a run with --no-lock: it pins no version that the lockfile locks',
        },
      ];
    return [{ kind: 'damaged', path: file, detail: unread ?? problem, ...(foreign ? { foreign: [file] } : {}) }];
  });
  const catalog = old.state === 'read' ? old.catalog : buildCatalog(entries);
  const { unknown, unreadable } = await findUnknownFiles(tree.treeDir, catalog);
  const reported = pathsOf([...found, ...ofExtras, ...ofFiles]);
  const isNews = ({ path }: AuditFinding) =>
    !reported.has(path) && !reported.has(path.split('/').slice(0, 2).join('/'));
  const strangers = unknown.filter(isNews);
  const seen = new Set(strangers.map(({ path }) => path));
  return [
    ...ofExtras,
    ...ofFiles,
    ...unreadable
      .filter(isNews)
      .map(({ path, problem }): CheckFinding => ({ kind: 'damaged', path, detail: problem, unreadable: true })),
    ...strangers.map(({ path, problem }): CheckFinding => ({ kind: 'unknown', path, detail: problem })),
    ...leftovers
      .filter(it => !seen.has(it.name) && !seen.has(versionKey(it)))
      .map(
        (it): CheckFinding => ({
          kind: 'unknown',
          path: versionKey(it),
          detail: 'is left of a version that the catalog does not know',
        }),
      ),
  ];
}

/** Kinds that sync fixes by changing what the catalog says. */
const EXPLAINING: ReadonlySet<CheckFinding['kind']> = new Set(['missing', 'damaged', 'stale']);

export function extraFindings(inTree: readonly Extra[], inLockfile: readonly VersionId[]): CheckFinding[] {
  const findings = new Map<string, CheckFinding>();
  for (const { name, version, damage } of inTree) {
    const detail = `in the tree, not in the manifest${damage === undefined ? '' : `; damaged: ${damage}`}`;
    findings.set(versionKey({ name, version }), { kind: 'extra', name, version, detail });
  }
  for (const { name, version } of inLockfile) {
    const key = versionKey({ name, version });
    const known = findings.get(key)?.detail.replace('in the tree,', 'in the tree and the lockfile,');
    findings.set(key, { kind: 'extra', name, version, detail: known ?? 'in the lockfile, not in the manifest' });
  }
  return [...findings.values()];
}

/** Folders and files that a finding is about already. */
function pathsOf(findings: readonly CheckFinding[]): ReadonlySet<string> {
  return new Set(findings.flatMap(it => ('path' in it ? [it.path] : [it.name, versionKey(it), ...(it.foreign ?? [])])));
}

/**
 * - `missing`: not in the tree; `damaged`: there, but not as it was published
 * - `stale`: another image than the locked one or than --platform asks for, or one that the lockfile does not say was verified
 *   under today's signature policy
 * - `moved`: the tag leads to another digest than the lockfile (without one: the tree) has
 * - `unlocked`: the lockfile does not have it, has it from elsewhere, or describes it otherwise than the tree
 * - `extra`: in the tree or the lockfile, not in the manifest
 * - `gone`: the registry has no such tag (any more)
 * - `unreachable`: its tag could not be asked for
 * - `untold`: the registry's answer to HEAD has no digest; not a difference
 * - `unknown`: a file or folder that was not published from here
 */
export type FindingKind =
  | 'missing'
  | 'damaged'
  | 'stale'
  | 'moved'
  | 'unlocked'
  | 'extra'
  | 'gone'
  | 'unreachable'
  | 'untold'
  | 'unknown';

export type CheckFinding = VersionFinding | TreeFinding;

/** Of a version or an alias. */
export interface VersionFinding extends Finding {
  readonly name: string;
  readonly version: string;
}

/** Of another file or folder in the tree. */
export interface TreeFinding extends Finding {
  /** Below the tree. */
  readonly path: string;
}

interface Finding {
  readonly kind: FindingKind;
  /** In words, for people. */
  readonly detail: string;
  readonly expectedDigest?: string;
  readonly foundDigest?: string;
  /** Paths below the tree that sync leaves alone, since they were not published from here: to be moved away by hand. */
  readonly foreign?: readonly string[];
  /** True if this user may not read it. */
  readonly unreadable?: boolean;
  /** True if sync takes it only with a signature that satisfies the manifest's policy. */
  readonly needsSignature?: boolean;
  /** True if the bundle, a delta, does not contain the image: its base has to be loaded first. */
  readonly inBase?: boolean;
  readonly error?: Error;
}
