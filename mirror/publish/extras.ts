import { Refusal } from '../../base/refusal.ts';
import type { Catalog } from '../../tree/catalog/catalog.ts';
import { nameProblem, versionProblem } from '../../tree/names.ts';
import type { CatalogFile } from '../../tree/version/versionFiles.ts';
import type { PluginManifest } from '../manifest/wanted.ts';
import { type Published, versionKey } from '../report.ts';

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

type Lost = Published & { readonly damage: string };

/** What a run over this part of the list could not leave in the catalog. A target that an alias brought in has an outcome of its own. */
export function lostBeside(lost: readonly Lost[], { versions, aliases }: PluginManifest): UnselectedDamaged[] {
  const asked = new Set([...versions, ...aliases].map(versionKey));
  const untold = lost.filter(it => !asked.has(versionKey(it)));
  return untold.length === 0 ? [] : [new UnselectedDamaged(untold)];
}

/** Versions that --only left out of a run, and that the run could not leave in the catalog. */
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
        hint: `Fetch ${lost.length === 1 ? 'it' : 'them'} anew with: plugin-mirror sync --only ${names.slice(0, 10).join(' ')}${names.length > 10 ? ' …, or without --only' : ''}`,
      },
    );
  }
}
