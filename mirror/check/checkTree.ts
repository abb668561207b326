import { type AuditFinding, findUnknownFiles } from '../../tree/auditTree.ts';
import { buildCatalog } from '../../tree/catalog/buildCatalog.ts';
import type { Catalog } from '../../tree/catalog/catalog.ts';
import { differingFiles } from '../../tree/catalog/differingFiles.ts';
import { readCatalog } from '../../tree/catalog/readCatalog.ts';
import { CatalogInvalid, TreeUnreadable } from '../../tree/errors.ts';
import { CATALOG_FILE } from '../../tree/names.ts';
import { openStamps } from '../../tree/stamps.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { gatherCatalog, namedIn, pinnedIn } from '../publish/publishCatalog.ts';
import { type Extra, type Published, versionKey } from '../report.ts';
import type { CheckFinding, CheckOptions } from './checkFinding.ts';

/** The tree's catalog, or in words that follow its name why there is none to go by. */
export type OldCatalog = Catalog | 'is missing' | 'is no catalog that can be read' | 'may not be read by this user';

/** @throws CatalogNewer */
export async function oldCatalog(treeDir: string): Promise<OldCatalog> {
  try {
    return (await readCatalog(treeDir)) ?? 'is missing';
  } catch (error) {
    if (error instanceof CatalogInvalid) return 'is no catalog that can be read';
    if (error instanceof TreeUnreadable) return 'may not be read by this user';
    throw error;
  }
}

/**
 * What check finds besides what the list names: extras, files of the tree itself that are not what sync would write, and, as
 * far as that can be told without opening a file, what nobody knows.
 *
 * @param sound what the list names and stands in the tree
 * @param found what was found of the list's versions
 */
export async function checkTree(
  options: CheckOptions,
  old: OldCatalog,
  sound: readonly PublishedVersion[],
  found: readonly CheckFinding[],
): Promise<CheckFinding[]> {
  const { manifest, treeDir, held } = options;
  const { entries, extras } = await gatherCatalog(treeDir, options.stamps ?? (await openStamps(undefined, treeDir)), {
    settled: sound,
    named: namedIn({ manifest }),
    pinned: pinnedIn({ manifest, locked: true }),
    prune: false,
    failed: new Set<string>(),
    selected: () => true,
    inspect: true,
    tolerant: true,
  });
  const leftovers = extras.filter(it => it.leftover);
  const ofExtras = extraFindings(
    extras.filter(it => !it.leftover),
    held.comparison.removed,
  );
  let differing = await differingFiles(treeDir, entries);
  // Without a lock the tree may be from runs with --no-lock, which pin nothing but what the manifest does.
  const isPinned = pinnedIn({ manifest });
  const unlocked = entries.map(({ metadata }) => ({ metadata, pinned: isPinned(metadata) }));
  const isUnlocked = differing.length > 0 && (await differingFiles(treeDir, unlocked)).length === 0;
  if (isUnlocked && !held.exists) differing = [];
  // The catalog follows from the versions: where those are to change, it is no news that it is.
  const isExplained =
    found.some(({ kind }) => EXPLAINING.has(kind)) || extras.some(it => it.damage !== undefined && !it.leftover);
  const ofFiles = differing.flatMap(({ file, problem, foreign }): CheckFinding[] => {
    const unread = file === CATALOG_FILE && typeof old === 'string' && !foreign ? old : undefined;
    if (!foreign && (entries.length === 0 || (unread === undefined && isExplained))) return [];
    if (isUnlocked)
      return [
        { kind: 'stale', path: file, detail: 'is from a run with --no-lock: it calls no version pinned for its lock' },
      ];
    return [{ kind: 'damaged', path: file, detail: unread ?? problem, ...(foreign ? { foreign: [file] } : {}) }];
  });
  const { unknown, unreadable } = await findUnknownFiles(
    treeDir,
    typeof old === 'string' ? buildCatalog(entries) : old,
  );
  const told = placesOf([...found, ...ofExtras, ...ofFiles]);
  const isNews = ({ path }: AuditFinding) => !told.has(path) && !told.has(path.split('/').slice(0, 2).join('/'));
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

/** Kinds that sync mends by changing what the catalog says. */
const EXPLAINING: ReadonlySet<CheckFinding['kind']> = new Set(['missing', 'damaged', 'stale']);

function extraFindings(inTree: readonly Extra[], inLock: readonly Published[]): CheckFinding[] {
  const places = new Map<string, CheckFinding>();
  for (const { name, version, damage } of inTree) {
    const detail = `in the tree, not in the manifest${damage === undefined ? '' : `; damaged: ${damage}`}`;
    places.set(versionKey({ name, version }), { kind: 'extra', name, version, detail });
  }
  for (const { name, version } of inLock) {
    const known = places
      .get(versionKey({ name, version }))
      ?.detail.replace('in the tree,', 'in the tree and the lock,');
    const detail = known ?? 'in the lock, not in the manifest';
    places.set(versionKey({ name, version }), { kind: 'extra', name, version, detail });
  }
  return [...places.values()];
}

/** Folders and files that a finding is about already. */
function placesOf(findings: readonly CheckFinding[]): ReadonlySet<string> {
  const places = findings.flatMap(it => ('path' in it ? [it.path] : [it.name, versionKey(it), ...(it.foreign ?? [])]));
  return new Set(places);
}
