import pMap from 'p-map';
import type { CatalogEntry } from '../tree/buildCatalog.ts';
import { CatalogNewer } from '../tree/errors.ts';
import { type Inspection, inspectVersion } from '../tree/inspectVersion.ts';
import { listVersions } from '../tree/listVersions.ts';
import { MODULE_FILE } from '../tree/names.ts';
import type { PublishedVersion } from '../tree/published.ts';
import type { Publishing } from '../tree/publishing.ts';
import { readCatalog } from '../tree/readCatalog.ts';
import { readVersion } from '../tree/readVersion.ts';
import type { Stamps } from '../tree/stamps.ts';
import type { SyncListener } from './events.ts';
import type { PluginManifest } from './manifest/wanted.ts';
import { type Extra, versionKey } from './report.ts';

export interface CatalogOptions {
  /** What this run published or kept. */
  readonly settled: readonly PublishedVersion[];
  /** Keys of everything that the user's list names, selected for this run or not. */
  readonly named: ReadonlySet<string>;
  /** True if a lock or the manifest holds this version's digest. */
  readonly pinned: (metadata: PublishedVersion) => boolean;
  readonly prune: boolean;
  /** Look at the bytes of what the list names and this run did not settle. False when time is short: an interrupted run. */
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

/**
 * Writes the catalog of everything that stands whole in the tree: what this run settled, what the list names but this run
 * did not settle (not selected, failed, interrupted) as long as it is sound, and what the list no longer names, unless it
 * is pruned. A version that is a kept alias' target is never pruned: the list names it by naming the alias.
 */
export async function settleCatalog(publishing: Publishing, options: CatalogOptions): Promise<Settled> {
  const { prune, signal, onEvent } = options;
  const { treeDir, stamps } = publishing;
  const { entries, extras, left } = await gatherCatalog(treeDir, stamps, options);
  const isNew = await hasNoCatalog(treeDir);
  // An empty catalog would turn a server's "not ready", which gateways try again, into a 404, which they do not.
  if (entries.length === 0 && isNew) return { extras, left };
  if (prune && extras.length > 0) onEvent({ type: 'pruning', extras });
  await publishing.writeCatalog(entries);
  if (prune) for (const { name, version } of extras) if (!signal.aborted) await publishing.remove(name, version);
  return { extras, left };
}

/** What the catalog is to hold; writes nothing. */
export async function gatherCatalog(
  treeDir: string,
  stamps: Stamps,
  { settled, named, pinned, prune, inspect }: Omit<CatalogOptions, 'signal' | 'onEvent'>,
): Promise<Settled & { readonly entries: readonly CatalogEntry[] }> {
  const done = new Set(settled.map(versionKey));
  const others = (await listVersions(treeDir)).filter(it => !done.has(versionKey(it)));
  const extras = others.filter(it => !named.has(versionKey(it)));
  const looked = await pMap(
    prune ? others.filter(it => named.has(versionKey(it))) : others,
    async ({ name, version }) => {
      // What the list no longer names is taken as it says it is: nobody asked this run to look at its bytes.
      if (!inspect || !named.has(`${name}/${version}`))
        return readVersion(treeDir, name, version).catch(() => undefined);
      return servable(await inspectVersion(treeDir, name, version, { stamps }));
    },
    { concurrency: 8 },
  );
  const left = looked.filter(metadata => metadata !== undefined);
  const entries = [...settled, ...left].map(metadata => ({ metadata, pinned: pinned(metadata) }));
  return { entries, extras, left };
}

/** What gateways ask for is whole: a spoiled README is no reason to take a plugin from them. */
function servable(present: Inspection): PublishedVersion | undefined {
  if (present.state === 'sound') return present.metadata;
  if (present.state === 'missing' || present.problems.some(problem => problem.startsWith(MODULE_FILE)))
    return undefined;
  return present.metadata;
}

/** @throws CatalogNewer: what a later version of this program wrote is not to be overwritten */
async function hasNoCatalog(treeDir: string): Promise<boolean> {
  const catalog = await readCatalog(treeDir).catch((error: unknown) => {
    if (error instanceof CatalogNewer) throw error;
    return 'unreadable';
  });
  return catalog === undefined;
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
