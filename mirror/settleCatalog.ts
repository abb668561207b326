import pMap from 'p-map';
import type { CatalogEntry } from '../tree/buildCatalog.ts';
import type { Catalog } from '../tree/catalog.ts';
import { CatalogInvalid, TreeUnreadable } from '../tree/errors.ts';
import { type Inspection, inspectVersion } from '../tree/inspectVersion.ts';
import { listVersions } from '../tree/listVersions.ts';
import { MODULE_FILE } from '../tree/names.ts';
import type { PublishedVersion } from '../tree/published.ts';
import type { Publishing } from '../tree/publishing.ts';
import { readCatalog } from '../tree/readCatalog.ts';
import { readVersion } from '../tree/readVersion.ts';
import type { Stamps } from '../tree/stamps.ts';
import type { SyncListener } from './events.ts';
import { type FoundExtra, findExtras, type PruneOptions, sparedBy } from './extras.ts';
import type { PluginManifest } from './manifest/wanted.ts';
import { type Extra, versionKey } from './report.ts';
import { asListed, metadataHashes } from './survey.ts';

export interface CatalogOptions extends PruneOptions {
  /** Take what this user may not read for damaged. Default false: it is refused, since a catalog without it would be wrong. */
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
  const { entries, extras, doomed, left, isNew } = await gatherCatalog(treeDir, stamps, options);
  if (doomed.length > 0) onEvent({ type: 'pruning', extras: doomed });
  // An empty catalog would turn a server's "not ready", which gateways try again, into a 404, which they do not.
  if (entries.length > 0 || !isNew) await publishing.writeCatalog(entries);
  const pruned: Extra[] = [];
  for (const { name, version, listed } of doomed) {
    if (signal.aborted) {
      pruned.push({ name, version, removed: false });
      continue;
    }
    const { removed, foreign } = await publishing.remove(name, version, listed);
    const isGone = removed.length > 0 || foreign.length === 0;
    pruned.push({ name, version, removed: isGone, ...(foreign.length === 0 ? {} : { leftPaths: foreign }) });
  }
  return { extras: [...pruned, ...extras], left };
}

/** What the catalog is to hold and what is to go; writes nothing. @throws CatalogNewer */
export async function gatherCatalog(
  treeDir: string,
  stamps: Stamps,
  options: Omit<CatalogOptions, 'signal' | 'onEvent'>,
): Promise<Gathered> {
  const { settled, named, pinned, prune, inspect, tolerant = false } = options;
  const old = await readOldCatalog(treeDir, tolerant);
  const catalog = old === 'unreadable' ? undefined : old;
  const done = new Set(settled.map(versionKey));
  const inTree = (await listVersions(treeDir, { tolerant })).filter(it => !done.has(versionKey(it)));
  const others = await pMap(
    inTree.filter(it => named.has(versionKey(it))),
    async ({ name, version }) =>
      inspect
        ? servable(await look(treeDir, name, version, stamps, tolerant))
        : readVersion(treeDir, name, version).catch(() => undefined),
    { concurrency: 8 },
  );
  const found = findExtras(inTree, catalog, new Set([...named, ...done]));
  const listed = metadataHashes(catalog);
  const spared = new Map(found.map(extra => [extra, sparedBy(extra, options)]));
  const doomed = prune ? found.filter(extra => spared.get(extra) === undefined) : [];
  const looked = await pMap(
    found.filter(extra => !doomed.includes(extra)),
    async extra => {
      const { name, version } = extra;
      const { metadata, damage } = await lookAt(treeDir, extra, listed, inspect ? { stamps, tolerant } : undefined);
      const kept = prune ? spared.get(extra) : undefined;
      const told: Extra = {
        name,
        version,
        removed: false,
        ...(kept === undefined ? {} : { kept }),
        ...(damage === undefined ? {} : { damage }),
        ...(metadata === undefined ? { unlisted: true as const } : {}),
      };
      return { told, metadata };
    },
    { concurrency: 8 },
  );
  const left = [...others, ...looked.map(({ metadata }) => metadata)].filter(metadata => metadata !== undefined);
  const entries = [...settled, ...left].map(metadata => ({ metadata, pinned: pinned(metadata) }));
  return { entries, extras: looked.map(({ told }) => told), doomed, left, isNew: old === undefined };
}

/** What the list does not name is served on, if it is whole: nobody who fetches it has to know of the list. */
async function lookAt(
  treeDir: string,
  { name, version }: FoundExtra,
  listed: ReadonlyMap<string, string>,
  inspection: { readonly stamps: Stamps; readonly tolerant: boolean } | undefined,
): Promise<{ readonly metadata?: PublishedVersion | undefined; readonly damage?: string }> {
  if (inspection === undefined) {
    const metadata = await readVersion(treeDir, name, version).catch(() => undefined);
    return metadata === undefined ? { damage: 'its metadata.json cannot be read' } : { metadata };
  }
  const present = await look(treeDir, name, version, inspection.stamps, inspection.tolerant);
  if (present.state === 'missing') return { damage: 'it is gone from the tree' };
  const judged = asListed(present, listed);
  if (judged.state === 'sound') return { metadata: judged.metadata };
  const damage = judged.state === 'damaged' ? judged.problems.join('; ') : '';
  // Another metadata.json than the one that was published: nothing that it says is to be repeated.
  return { metadata: present.state === 'sound' ? undefined : servable(present), damage };
}

async function look(
  treeDir: string,
  name: string,
  version: string,
  stamps: Stamps,
  tolerant: boolean,
): Promise<Inspection> {
  return inspectVersion(treeDir, name, version, { stamps }).catch((error: unknown): Inspection => {
    if (!tolerant || !(error instanceof TreeUnreadable)) throw error;
    return { state: 'damaged', problems: [error.message] };
  });
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
