import { compareText } from '../../base/canonicalJson.ts';
import { Refusal } from '../../base/refusal.ts';
import { METADATA_FILE, nameProblem, versionProblem } from '../../tree/names.ts';
import { readVersion } from '../../tree/version/inspectVersion.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { type Extra, type Published, versionKey } from '../report.ts';
import type { ReadableTree } from './job.ts';
import type { FoundExtra, StayingExtra } from './plan.ts';
import { asListed, damageOf, inspect, type OldCatalog, servable } from './survey.ts';

/**
 * The versions in the tree (as listVersions gives them) or in its catalog that the manifest does not name, sorted. A version that
 * has lost its metadata.json, or even its folder, was published from here as well.
 */
export function findExtras(inTree: readonly Published[], old: OldCatalog, named: ReadonlySet<string>): FoundExtra[] {
  const found = new Map<string, FoundExtra>();
  for (const it of inTree) found.set(versionKey(it), it);
  for (const { name, versions } of old.state === 'read' ? old.catalog.plugins : [])
    for (const { version, files } of versions)
      if (nameProblem(name) === undefined && versionProblem(version) === undefined)
        found.set(versionKey({ name, version }), { name, version, listed: files });
  const extras = [...found.values()].filter(it => !named.has(versionKey(it)));
  return extras.sort((a, b) => compareText(a.name, b.name) || compareText(a.version, b.version));
}

/** An extra is served on if it is whole: gateways that fetch it need not know of the manifest. @throws TreeFault */
export async function keepExtra(
  tree: ReadableTree,
  { name, version }: FoundExtra,
  listed: ReadonlyMap<string, string>,
  facts: Pick<Extra, 'kept' | 'leftover'>,
): Promise<StayingExtra> {
  const present = await inspect(tree, { name, version });
  const judged = asListed(present, listed);
  // Where metadata.json is not the one that was published, nothing that it says is repeated.
  const metadata = judged.state === 'damaged' && present.state === 'sound' ? undefined : servable(judged);
  const damage = judged.state === 'missing' ? 'it is gone from the tree' : damageOf(judged);
  return staying({ name, version }, metadata, damage, facts);
}

/** As keepExtra for a run that was stopped: no byte is hashed. */
export async function keepExtraUnseen(treeDir: string, { name, version }: FoundExtra): Promise<StayingExtra> {
  const metadata = await readVersion(treeDir, name, version).catch(() => undefined);
  return staying({ name, version }, metadata, metadata === undefined ? 'its metadata.json cannot be read' : '', {});
}

function staying(
  it: Published,
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
 * Returns true for a version that an earlier prune left behind: the catalog does not list it, and its metadata.json has
 * changed, so nothing shows which of its files were published from here. @throws TreeFault
 */
export async function isLeftover(tree: ReadableTree, { name, version, listed }: FoundExtra): Promise<boolean> {
  if (listed !== undefined) return false;
  const present = await inspect(tree, { name, version });
  if (present.state !== 'damaged' || servable(present) !== undefined) return false;
  return present.metadata === undefined || present.problems.some(problem => problem.startsWith(`${METADATA_FILE} `));
}

type Lost = Published & { readonly damage: string };

/** Versions that --only leaves out of a run, and that the catalog can no longer list. */
export class UnselectedDamaged extends Refusal {
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
