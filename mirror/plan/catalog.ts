import pMap from 'p-map';
import { compareText } from '../../base/canonicalJson.ts';
import { Refusal } from '../../base/refusal.ts';
import type { CatalogEntry } from '../../tree/catalog.ts';
import type { TreeUnreadable } from '../../tree/errors.ts';
import { METADATA_FILE, nameProblem, type VersionId, versionProblem } from '../../tree/names.ts';
import type { Removal } from '../../tree/ownership.ts';
import type { Present, Tree } from '../../tree/tree.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { LockedVersions } from '../lockfile/lockedVersions.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { type Extra, versionKey } from '../report.ts';
import { asListed, damageOf, type OldCatalog, servable } from './facts.ts';
import type { SyncJob } from './job.ts';
import type { CatalogPlan, FoundExtra, PrunedExtra, StayingExtra, SyncPlan } from './plan.ts';
import { isSignatureRecorded } from './steps.ts';

/**
 * @param failing names of plugins with a version that cannot be mirrored. Their published versions are kept, because gateways use them
 * @param onUnreadable called for plugin folders that this user may not read; a refusal that it throws is the plan's error
 */
export async function planCatalog(
  job: SyncJob,
  tree: Tree,
  old: OldCatalog,
  failing: ReadonlySet<string>,
  onUnreadable: (name: string, error: TreeUnreadable) => void,
): Promise<CatalogPlan> {
  try {
    const inTree = await tree.listVersions(onUnreadable);
    return {
      ...(await planUnselected(job, tree, inTree, old)),
      ...(await planExtras(job, tree, inTree, old, failing)),
    };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { error, unselected: [], problems: [], staying: [], pruned: [] };
  }
}

async function planUnselected(
  job: SyncJob,
  tree: Tree,
  inTree: readonly VersionId[],
  old: OldCatalog,
): Promise<Pick<CatalogPlan, 'unselected' | 'problems'>> {
  const selected = keysOf(job.selection);
  const others = [...job.manifest.versions, ...job.manifest.aliases].filter(it => !selected.has(versionKey(it)));
  const published = new Set(inTree.map(versionKey));
  const looked = await pMap(
    others.filter(it => published.has(versionKey(it)) || old.listed.has(versionKey(it))),
    async ({ name, version }) => {
      const present = await tree.inspect({ name, version });
      return { name, version, metadata: servable(present), damage: damageOf(present) || 'it is gone from the tree' };
    },
    { concurrency: job.limits.files },
  );
  const lost = looked
    .filter(({ metadata }) => metadata === undefined)
    .sort((one, other) => compareText(versionKey(one), versionKey(other)));
  return {
    unselected: looked.flatMap(({ metadata }) => metadata ?? []),
    problems: lost.length === 0 ? [] : [new UnselectedDamaged(lost)],
  };
}

async function planExtras(
  job: SyncJob,
  tree: Tree,
  inTree: readonly VersionId[],
  old: OldCatalog,
  failing: ReadonlySet<string>,
): Promise<Pick<CatalogPlan, 'staying' | 'pruned'>> {
  const steps = await pMap(
    findExtras(inTree, old, keysOf(job.manifest)),
    async (found): Promise<StayingExtra | PrunedExtra> => {
      const kept = !job.selection.includes(found) ? 'unselected' : failing.has(found.name) ? 'failed' : undefined;
      const prunes = job.tree.prune && kept === undefined;
      // A version that the catalog lists is pruned by that list, whatever its state.
      const present = prunes && found.listed !== undefined ? undefined : await tree.inspect(found);
      const leftover = present !== undefined && found.listed === undefined && isLeftover(present);
      if (present === undefined || (prunes && !leftover))
        return { found, extra: prunedExtra(found, await tree.previewRemoval(found, found.listed)) };
      return keepExtra(found, present, old.listed, {
        ...(job.tree.prune && kept !== undefined ? { kept } : {}),
        ...(leftover ? { leftover } : {}),
      });
    },
    { concurrency: job.limits.files },
  );
  return {
    staying: steps.flatMap(step => ('found' in step ? [] : [step])),
    pruned: steps.flatMap(step => ('found' in step ? [step] : [])),
  };
}

/** Returns an extra with the result of its removal. */
export function prunedExtra({ name, version }: VersionId, { removed, foreign }: Removal): Extra {
  if (foreign.length === 0) return { name, version, removed: true };
  return { name, version, removed: removed.length > 0, leftPaths: foreign };
}

/**
 * The extras that stay, those included that a run does not remove after all: it was stopped, or a version of the same plugin
 * failed.
 */
export async function stayingExtras(
  tree: Tree,
  { old, catalog: { staying } }: SyncPlan,
  keptAfterAll: readonly PrunedExtra[],
  isStopped: boolean,
): Promise<readonly StayingExtra[]> {
  if (keptAfterAll.length === 0) return staying;
  const kept = await pMap(
    keptAfterAll,
    async ({ found }) =>
      isStopped
        ? keepExtraUnseen(found, await tree.readVersion(found))
        : keepExtra(found, await tree.inspect(found), old.listed, { kept: 'failed' }),
    { concurrency: 8 },
  );
  return [...staying, ...kept].sort(
    ({ extra: a }, { extra: b }) => compareText(a.name, b.name) || compareText(a.version, b.version),
  );
}

/**
 * The catalog of everything in the tree that is served: what this run mirrored, what --only leaves out, and what the manifest
 * does not name. With a lockfile every version is pinned; an alias never is, since the manifest may point it elsewhere tomorrow.
 */
export function catalogEntries(
  { manifest }: SyncJob,
  hasLockfile: boolean,
  metadata: readonly PublishedVersion[],
): CatalogEntry[] {
  const pins = new Map(manifest.versions.map(wanted => [versionKey(wanted), pinOf(wanted)]));
  return metadata.map(it => {
    const pin = it.aliasOf === undefined ? pins.get(versionKey(it)) : undefined;
    return {
      metadata: it,
      pinned: it.aliasOf === undefined && (hasLockfile || pin !== undefined),
      ...(pin === undefined ? {} : { pin }),
    };
  });
}

function pinOf({ source }: WantedVersion): string | undefined {
  return source.kind === 'image' ? source.reference.digest : undefined;
}

/** Of these versions, those that the manifest wants signed and no lockfile says are. An alias has its target's bytes. */
export function unverifiedAmong(
  metadata: readonly PublishedVersion[],
  { manifest }: SyncJob,
  lockfile: LockedVersions,
): VersionId[] {
  const governed = new Map(
    manifest.versions.filter(({ signatures }) => signatures !== undefined).map(wanted => [versionKey(wanted), wanted]),
  );
  const targets = new Map(manifest.aliases.map(alias => [versionKey(alias), `${alias.name}/${alias.target}`]));
  return metadata.flatMap(it => {
    const { name, version } = it;
    const wanted = governed.get(targets.get(versionKey(it)) ?? versionKey(it));
    return wanted === undefined || isSignatureRecorded(wanted, it, lockfile.before(wanted)) ? [] : [{ name, version }];
  });
}

function keysOf({
  versions,
  aliases,
}: {
  readonly versions: readonly VersionId[];
  readonly aliases: readonly VersionId[];
}) {
  return new Set([...versions, ...aliases].map(versionKey));
}

/**
 * The versions in the tree (as Tree.listVersions returns them) or in its catalog that the manifest does not name, sorted. A version that
 * has lost its metadata.json, or even its folder, was published from here as well.
 */
function findExtras(inTree: readonly VersionId[], old: OldCatalog, named: ReadonlySet<string>): FoundExtra[] {
  const found = new Map<string, FoundExtra>();
  for (const it of inTree) found.set(versionKey(it), it);
  for (const { name, versions } of old.state === 'read' ? old.catalog.plugins : [])
    for (const { version, files } of versions)
      if (nameProblem(name) === undefined && versionProblem(version) === undefined)
        found.set(versionKey({ name, version }), { name, version, listed: files });
  const extras = [...found.values()].filter(it => !named.has(versionKey(it)));
  return extras.sort((a, b) => compareText(a.name, b.name) || compareText(a.version, b.version));
}

/** An extra is served on if it is whole: gateways that fetch it need not know of the manifest. */
function keepExtra(
  { name, version }: FoundExtra,
  present: Present,
  listed: ReadonlyMap<string, string>,
  facts: Pick<Extra, 'kept' | 'leftover'>,
): StayingExtra {
  const usable = asListed(present, listed);
  // Where metadata.json is not the one that was published, nothing that it says is repeated.
  const metadata = usable.state === 'damaged' && present.state === 'sound' ? undefined : servable(usable);
  const damage = usable.state === 'missing' ? 'it is gone from the tree' : damageOf(usable);
  return staying({ name, version }, metadata, damage, facts);
}

/** As keepExtra for a run that was stopped: no byte is hashed. */
function keepExtraUnseen({ name, version }: FoundExtra, metadata: PublishedVersion | undefined): StayingExtra {
  return staying({ name, version }, metadata, metadata === undefined ? 'its metadata.json cannot be read' : '', {});
}

function staying(
  it: VersionId,
  metadata: PublishedVersion | undefined,
  damage: string,
  { kept, leftover }: Pick<Extra, 'kept' | 'leftover'>,
): StayingExtra {
  return {
    metadata,
    extra: {
      ...it,
      removed: false,
      ...(kept === undefined ? {} : { kept }),
      ...(damage === '' ? {} : { damage }),
      ...(metadata === undefined ? { unlisted: true as const } : {}),
      ...(leftover ? { leftover } : {}),
    },
  };
}

/**
 * Returns true if a version that the catalog does not list was left behind by an earlier prune: its metadata.json has changed,
 * so nothing shows which of its files were published from here.
 */
function isLeftover(present: Present): boolean {
  if (present.state !== 'damaged' || servable(present) !== undefined) return false;
  return present.metadata === undefined || present.problems.some(problem => problem.startsWith(`${METADATA_FILE} `));
}

type Lost = VersionId & { readonly damage: string };

/** Versions that --only leaves out of a run, and that the catalog can no longer list. */
class UnselectedDamaged extends Refusal {
  readonly code = 'UNSELECTED_DAMAGED';

  constructor(lost: readonly Lost[]) {
    const names = [...new Set(lost.map(({ name }) => name))];
    super(
      lost.length === 1
        ? 'a version that --only leaves out is damaged and no longer listed'
        : `${lost.length} versions that --only leaves out are damaged and no longer listed`,
      {
        expected: 'the bytes that were published',
        found: lost.map(({ name, version, damage }) => `${name} ${version}: ${damage}`).join('; '),
        hint: `Fetch ${lost.length === 1 ? 'it' : 'them'} again with: plugin-mirror sync --only ${names.slice(0, 10).join(' ')}${names.length > 10 ? ' …, or without --only' : ''}`,
      },
    );
  }
}
