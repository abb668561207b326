import pMap from 'p-map';
import type { CatalogEntry } from '../../tree/catalog/buildCatalog.ts';
import type { Catalog } from '../../tree/catalog/catalog.ts';
import { readCatalog } from '../../tree/catalog/readCatalog.ts';
import { CatalogInvalid, TreeUnreadable } from '../../tree/errors.ts';
import { METADATA_FILE, MODULE_FILE } from '../../tree/names.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import { previewRemoval, type Removal } from '../../tree/publish/removal.ts';
import type { Stamps } from '../../tree/stamps.ts';
import { type Inspection, inspectVersion } from '../../tree/version/inspectVersion.ts';
import { listVersions } from '../../tree/version/listVersions.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { readVersion } from '../../tree/version/readVersion.ts';
import type { SyncListener } from '../events.ts';
import type { PluginManifest } from '../manifest/wanted.ts';
import { asListed, barred, metadataHashes } from '../plan/survey.ts';
import { type Extra, type Published, versionKey } from '../report.ts';
import { type FoundExtra, findExtras, type PruneOptions, sparedBy } from './extras.ts';

export interface CatalogOptions extends PruneOptions {
  /**
   * Pass over an index.json and folders of plugins that this user may not read. Default false: they are refused, since a
   * catalog without what they hold would be wrong. A version that may not be read is damaged either way.
   */
  readonly tolerant?: boolean;
  /** What this run published or kept. */
  readonly settled: readonly PublishedVersion[];
  /** Keys of everything that the user's list names, selected for this run or not. */
  readonly named: ReadonlySet<string>;
  /** True if a lock or the manifest holds this version's digest. */
  readonly pinned: (metadata: PublishedVersion) => boolean;
  /** Look at the bytes of what this run did not settle. False when time is short: an interrupted run. */
  readonly inspect: boolean;
  /** Ends the pruning before the next version; the catalog is written all the same. */
  readonly signal: AbortSignal;
  readonly onEvent: SyncListener;
}

export interface Settled {
  /** What the list does not name. */
  readonly extras: readonly Extra[];
  /** What stays published although this run neither fetched nor kept it: named or not. */
  readonly left: readonly PublishedVersion[];
  /** What the list names, --only leaves out, and the catalog can no longer list; in words what is wrong with it. */
  readonly lost: readonly (Published & { readonly damage: string })[];
}

export interface Gathered extends Settled {
  /** What the catalog is to hold. */
  readonly entries: readonly CatalogEntry[];
  /** What is to be pruned; none of `extras`. */
  readonly doomed: readonly FoundExtra[];
  /** True if the tree has no catalog yet. */
  readonly isNew: boolean;
}

/**
 * Writes the catalog of everything that stands whole in the tree: what this run settled, what the list names but this run
 * did not settle (not selected, failed, interrupted) as long as it is sound, and what the list no longer names, unless it
 * is damaged or pruned. A version that is a kept alias' target is never pruned: the list names it by naming the alias.
 */
export async function settleCatalog(publishing: Publishing, options: CatalogOptions): Promise<Settled> {
  const { signal, onEvent } = options;
  const { treeDir, stamps } = publishing;
  const { entries, extras, doomed, left, lost, isNew } = await gatherCatalog(treeDir, stamps, options);
  if (doomed.length > 0) onEvent({ type: 'pruning', extras: doomed });
  // An empty catalog would turn a server's "not ready", which gateways try again, into a 404, which they do not.
  if (entries.length > 0 || !isNew) await publishing.writeCatalog(entries);
  const pruned: Extra[] = [];
  for (const { name, version, listed } of doomed) {
    if (signal.aborted) {
      pruned.push({ name, version, removed: false });
      continue;
    }
    pruned.push(prunedExtra({ name, version }, await publishing.remove(name, version, listed)));
  }
  return { extras: [...pruned, ...extras], left, lost };
}

/** What pruning would make of the doomed; touches nothing. @throws TreeUnreadable, TreeFault */
export function foreseePruning(treeDir: string, doomed: readonly FoundExtra[], stamps: Stamps): Promise<Extra[]> {
  return pMap(
    doomed,
    async ({ name, version, listed }) => {
      const known = { stamps, ...(listed === undefined ? {} : { listed }) };
      return prunedExtra({ name, version }, await previewRemoval(treeDir, { name, version }, known));
    },
    { concurrency: 8 },
  );
}

function prunedExtra(it: Published, { removed, foreign }: Removal): Extra {
  const isGone = removed.length > 0 || foreign.length === 0;
  return { ...it, removed: isGone, ...(foreign.length === 0 ? {} : { leftPaths: foreign }) };
}

/** What the catalog is to hold and what is to go; writes nothing. @throws CatalogNewer */
export async function gatherCatalog(
  treeDir: string,
  stamps: Stamps,
  options: Omit<CatalogOptions, 'signal' | 'onEvent'>,
): Promise<Gathered> {
  const { settled, named, pinned, prune, inspect, selected, tolerant = false } = options;
  const old = await readOldCatalog(treeDir, tolerant);
  const catalog = old === 'unreadable' ? undefined : old;
  const done = new Set(settled.map(versionKey));
  const inTree = (await listVersions(treeDir, { tolerant })).filter(it => !done.has(versionKey(it)));
  const others = await pMap(
    inTree.filter(it => named.has(versionKey(it))),
    async it => ({ it, ...(await lookAtNamed(treeDir, it, inspect ? stamps : undefined)) }),
    { concurrency: 8 },
  );
  const found = findExtras(inTree, catalog, new Set([...named, ...done]));
  const listed = metadataHashes(catalog);
  const areLeft = await pMap(found, extra => inspect && isLeftover(treeDir, extra, stamps), { concurrency: 8 });
  const leftovers = found.filter((_, index) => areLeft[index]);
  const spared = new Map(found.map(extra => [extra, sparedBy(extra, options)]));
  const doomed = prune ? found.filter(it => spared.get(it) === undefined && !leftovers.includes(it)) : [];
  const looked = await pMap(
    found.filter(extra => !doomed.includes(extra)),
    async extra => {
      const { name, version } = extra;
      const { metadata, damage } = await lookAt(treeDir, extra, listed, inspect ? stamps : undefined);
      const kept = prune ? spared.get(extra) : undefined;
      const told: Extra = {
        name,
        version,
        removed: false,
        ...(kept === undefined ? {} : { kept }),
        ...(damage === undefined ? {} : { damage }),
        ...(metadata === undefined ? { unlisted: true as const } : {}),
        ...(leftovers.includes(extra) ? { leftover: true as const } : {}),
      };
      return { told, metadata };
    },
    { concurrency: 8 },
  );
  const left = [...others, ...looked].flatMap(({ metadata }) => metadata ?? []);
  const entries = [...settled, ...left].map(metadata => ({ metadata, pinned: pinned(metadata) }));
  const damages = new Map(others.map(({ it, damage }) => [versionKey(it), damage]));
  const kept = new Set(entries.map(({ metadata }) => versionKey(metadata)));
  const lost = (inspect ? [...named].sort() : [])
    .filter(key => !kept.has(key) && (damages.has(key) || listed.has(key)))
    .map(key => ({ ...publishedAt(key), damage: damages.get(key) ?? 'it is gone from the tree' }))
    .filter(it => !selected(it));
  return { entries, extras: looked.map(({ told }) => told), doomed, left, lost, isNew: old === undefined };
}

function publishedAt(key: string): Published {
  const slash = key.indexOf('/');
  return { name: key.slice(0, slash), version: key.slice(slash + 1) };
}

/** What the list names and this run did not settle is listed as long as gateways get from it what they ask for. */
async function lookAtNamed(
  treeDir: string,
  { name, version }: Published,
  stamps: Stamps | undefined,
): Promise<{ readonly metadata: PublishedVersion | undefined; readonly damage: string }> {
  if (stamps === undefined)
    return { metadata: await readVersion(treeDir, name, version).catch(() => undefined), damage: '' };
  const present = await look(treeDir, name, version, stamps);
  return { metadata: servable(present), damage: present.state === 'damaged' ? present.problems.join('; ') : '' };
}

/** What the list does not name is served on, if it is whole: nobody who fetches it has to know of the list. */
async function lookAt(
  treeDir: string,
  { name, version }: FoundExtra,
  listed: ReadonlyMap<string, string>,
  stamps: Stamps | undefined,
): Promise<{ readonly metadata?: PublishedVersion | undefined; readonly damage?: string }> {
  if (stamps === undefined) {
    const metadata = await readVersion(treeDir, name, version).catch(() => undefined);
    return metadata === undefined ? { damage: 'its metadata.json cannot be read' } : { metadata };
  }
  const present = await look(treeDir, name, version, stamps);
  if (present.state === 'missing') return { damage: 'it is gone from the tree' };
  const judged = asListed(present, listed);
  if (judged.state === 'sound') return { metadata: judged.metadata };
  const damage = judged.state === 'damaged' ? judged.problems.join('; ') : '';
  // Another metadata.json than the one that was published: nothing that it says is to be repeated.
  return { metadata: present.state === 'sound' ? undefined : servable(present), damage };
}

/**
 * What the catalog does not list is known by its metadata.json alone: where that is not as it was published, nothing is. What
 * is whole enough to be listed anew is no leftover.
 */
async function isLeftover(treeDir: string, { name, version, listed }: FoundExtra, stamps: Stamps): Promise<boolean> {
  if (listed !== undefined) return false;
  const present = await look(treeDir, name, version, stamps);
  if (present.state !== 'damaged' || servable(present) !== undefined) return false;
  return present.metadata === undefined || present.problems.some(problem => problem.startsWith(`${METADATA_FILE} `));
}

function look(treeDir: string, name: string, version: string, stamps: Stamps): Promise<Inspection> {
  return inspectVersion(treeDir, name, version, { stamps }).catch(barred);
}

/** What gateways ask for is whole: a spoiled README is no reason to take a plugin from them. */
function servable(present: Inspection): PublishedVersion | undefined {
  if (present.state === 'sound') return present.metadata;
  if (present.state === 'missing' || present.problems.some(problem => problem.startsWith(MODULE_FILE)))
    return undefined;
  return present.metadata;
}

/** @throws CatalogNewer: what a later version of this program wrote is not to be overwritten */
function readOldCatalog(treeDir: string, tolerant: boolean): Promise<Catalog | 'unreadable' | undefined> {
  return readCatalog(treeDir).catch((error: unknown) => {
    if (error instanceof CatalogInvalid || (tolerant && error instanceof TreeUnreadable)) return 'unreadable';
    throw error;
  });
}
/** Everything that the user's list names. */
export function namedIn({
  manifest,
  named,
}: {
  readonly manifest: PluginManifest;
  readonly named?: ReadonlySet<string>;
}): ReadonlySet<string> {
  return named ?? new Set([...manifest.versions, ...manifest.aliases].map(versionKey));
}

/** With a lock every version is pinned. An alias never is: the list may point it at another version tomorrow. */
export function pinnedIn({
  manifest,
  locked,
}: {
  readonly manifest: PluginManifest;
  readonly locked?: unknown;
}): (metadata: PublishedVersion) => boolean {
  const pins = new Set(
    manifest.versions
      .filter(({ source }) => source.kind === 'image' && source.reference.digest !== undefined)
      .map(versionKey),
  );
  return metadata => metadata.aliasOf === undefined && (locked !== undefined || pins.has(versionKey(metadata)));
}
