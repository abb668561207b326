import pMap from 'p-map';
import { compareText } from '../../base/canonicalJson.ts';
import { Refusal } from '../../base/refusal.ts';
import type { CatalogEntry } from '../../tree/catalog.ts';
import type { TreeUnreadable } from '../../tree/errors.ts';
import { previewRemoval, type Removal } from '../../tree/publish/ownership.ts';
import { listVersions } from '../../tree/version/inspectVersion.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { LockedVersions } from '../lockfile/lockedVersions.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { type Extra, type Published, versionKey } from '../report.ts';
import { isSignatureRecorded } from './decide.ts';
import { findExtras, isLeftover, keepExtra, keepExtraUnseen, UnselectedDamaged } from './extras.ts';
import type { ReadableTree, SyncJob } from './job.ts';
import type { CatalogPlan, FoundExtra, PrunedExtra, StayingExtra } from './plan.ts';
import { damageOf, inspect, type OldCatalog, servable } from './survey.ts';

/**
 * @param failing names of plugins with a version that cannot be mirrored. Their published versions are kept, because gateways use them
 * @param onUnreadable called for plugin folders that this user may not read; a refusal that it throws is the plan's error
 */
export async function planCatalog(
  job: SyncJob,
  tree: ReadableTree,
  old: OldCatalog,
  failing: ReadonlySet<string>,
  onUnreadable: (name: string, error: TreeUnreadable) => void,
): Promise<CatalogPlan> {
  const exists = old.state !== 'missing';
  const { listed } = old;
  try {
    const inTree = await listVersions(tree.treeDir, { onUnreadable });
    return {
      exists,
      listed,
      ...(await planUnselected(job, tree, inTree, listed)),
      ...(await planExtras(job, tree, inTree, old, failing)),
    };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { error, exists, listed, unselected: [], problems: [], staying: [], pruned: [] };
  }
}

async function planUnselected(
  { manifest, selection, limits }: SyncJob,
  tree: ReadableTree,
  inTree: readonly Published[],
  listed: ReadonlyMap<string, string>,
): Promise<Pick<CatalogPlan, 'unselected' | 'problems'>> {
  const selected = keysOf(selection);
  const others = [...manifest.versions, ...manifest.aliases].filter(it => !selected.has(versionKey(it)));
  const present = new Set(inTree.map(versionKey));
  const looked = await pMap(
    others.filter(it => present.has(versionKey(it)) || listed.has(versionKey(it))),
    async ({ name, version }) => {
      const found = await inspect(tree, { name, version });
      return { name, version, metadata: servable(found), damage: damageOf(found) || 'it is gone from the tree' };
    },
    { concurrency: limits.files },
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
  { manifest, selection, tree: { prune }, limits }: SyncJob,
  tree: ReadableTree,
  inTree: readonly Published[],
  old: OldCatalog,
  failing: ReadonlySet<string>,
): Promise<Pick<CatalogPlan, 'staying' | 'pruned'>> {
  const steps = await pMap(
    findExtras(inTree, old, keysOf(manifest)),
    async (found): Promise<StayingExtra | PrunedExtra> => {
      const leftover = await isLeftover(tree, found);
      const kept = !selection.includes(found) ? 'unselected' : failing.has(found.name) ? 'failed' : undefined;
      if (prune && kept === undefined && !leftover) return { found, extra: await previewPruning(tree, found) };
      return keepExtra(tree, found, old.listed, {
        ...(prune && kept !== undefined ? { kept } : {}),
        ...(leftover ? { leftover } : {}),
      });
    },
    { concurrency: limits.files },
  );
  return {
    staying: steps.flatMap(step => ('found' in step ? [] : [step])),
    pruned: steps.flatMap(step => ('found' in step ? [step] : [])),
  };
}

async function previewPruning({ treeDir, stamps }: ReadableTree, found: FoundExtra): Promise<Extra> {
  const { listed } = found;
  return prunedExtra(
    found,
    await previewRemoval(treeDir, found, { stamps, ...(listed === undefined ? {} : { listed }) }),
  );
}

/** Returns an extra with the result of its removal. */
export function prunedExtra({ name, version }: Published, { removed, foreign }: Removal): Extra {
  const isGone = removed.length > 0 || foreign.length === 0;
  return { name, version, removed: isGone, ...(foreign.length === 0 ? {} : { leftPaths: foreign }) };
}

/**
 * The extras that stay, those included that a run does not remove after all: it was stopped, or a version of the same plugin
 * failed.
 */
export async function stayingExtras(
  tree: ReadableTree,
  { staying, listed }: CatalogPlan,
  keptAfterAll: readonly PrunedExtra[],
  isStopped: boolean,
): Promise<readonly StayingExtra[]> {
  if (keptAfterAll.length === 0) return staying;
  const kept = await pMap(
    keptAfterAll,
    ({ found }) =>
      isStopped ? keepExtraUnseen(tree.treeDir, found) : keepExtra(tree, found, listed, { kept: 'failed' }),
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
): Published[] {
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
  readonly versions: readonly Published[];
  readonly aliases: readonly Published[];
}) {
  return new Set([...versions, ...aliases].map(versionKey));
}
