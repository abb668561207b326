import type { Catalog, CatalogFile } from '../tree/catalog.ts';
import { nameProblem, versionProblem } from '../tree/names.ts';
import { type Published, versionKey } from './report.ts';

/** A version that the list does not name. `listed` are its files as the tree's catalog has them; absent where it has none. */
export interface FoundExtra extends Published {
  readonly listed?: readonly CatalogFile[];
}

/**
 * What the tree has (as listVersions gives it), or its catalog lists, and the list does not name, sorted: what has lost its metadata.json, or even its
 * folder, was published from here as well.
 */
export function findExtras(
  inTree: readonly Published[],
  catalog: Catalog | undefined,
  named: ReadonlySet<string>,
): FoundExtra[] {
  const found = new Map<string, FoundExtra>();
  for (const it of inTree) found.set(versionKey(it), it);
  for (const { name, versions } of catalog?.plugins ?? [])
    for (const { version, files } of versions)
      if (nameProblem(name) === undefined && versionProblem(version) === undefined)
        found.set(versionKey({ name, version }), { name, version, listed: files });
  const extras = [...found.values()].filter(it => !named.has(versionKey(it)));
  const order = (one: string, other: string) => (one < other ? -1 : one > other ? 1 : 0);
  return extras.sort((a, b) => order(a.name, b.name) || order(a.version, b.version));
}

export interface PruneOptions {
  readonly prune: boolean;
  /** Names of plugins of which this run could not publish something that the list names. */
  readonly failed: ReadonlySet<string>;
  /** What `--only` leaves of everything. */
  readonly selected: (it: Published) => boolean;
}

/** Why pruning spares an extra: its plugin's wanted version failed, or --only is about others. Undefined if it does not. */
export type Spared = 'failed' | 'unselected';

/**
 * Where a plugin's new version could not be had, the old one is what gateways still run on. What --only leaves out is no
 * business of this run.
 */
export function sparedBy(extra: FoundExtra, { failed, selected }: PruneOptions): Spared | undefined {
  if (!selected(extra)) return 'unselected';
  return failed.has(extra.name) ? 'failed' : undefined;
}
