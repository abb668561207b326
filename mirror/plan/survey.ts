import { pMapIterable } from 'p-map';
import { type Catalog, readCatalog } from '../../tree/catalog.ts';
import { CatalogInvalid, TreeUnreadable } from '../../tree/errors.ts';
import { METADATA_FILE, MODULE_FILE } from '../../tree/names.ts';
import { type Inspection, type InspectionOptions, inspectVersion } from '../../tree/version/inspectVersion.ts';
import { type PublishedVersion, versionFiles } from '../../tree/version/published.ts';
import { type Published, versionKey } from '../report.ts';
import type { ReadableTree, SyncJob } from './job.ts';

/** A version as it is in the tree. `inaccessible`: this user may not read its folder, so nothing can be published there. */
export type Present = Inspection & { readonly inaccessible?: TreeUnreadable };

/** Inspects the versions named, in their order; each is returned as soon as it is known. @throws TreeFault */
export async function* surveyTree<Version extends Published>(
  tree: ReadableTree,
  versions: readonly Version[],
  { tree: { rehash }, limits }: Pick<SyncJob, 'tree' | 'limits'>,
  signal: AbortSignal,
): AsyncGenerator<{ readonly wanted: Version; readonly present: Present }> {
  yield* pMapIterable(
    versions,
    async wanted => ({ wanted, present: await inspect(tree, wanted, { rehash, signal }) }),
    { concurrency: limits.files },
  );
}

/** As inspectVersion, but a folder that this user may not read is damage of that version alone. @throws TreeFault */
export async function inspect(
  { treeDir, stamps }: ReadableTree,
  { name, version }: Published,
  options: Omit<InspectionOptions, 'stamps'> = {},
): Promise<Present> {
  try {
    return await inspectVersion(treeDir, name, version, { ...options, stamps });
  } catch (error) {
    if (!(error instanceof TreeUnreadable)) throw error;
    return { state: 'damaged', problems: [error.message], inaccessible: error };
  }
}

/** A tree's index.json, or why it could not be read. */
export type OldCatalog = { readonly listed: ReadonlyMap<string, string> } & (
  | { readonly state: 'read'; readonly catalog: Catalog }
  | { readonly state: 'missing' | 'invalid' | 'inaccessible' }
);

/**
 * Reads the tree's catalog before anything is decided, so that no run overwrites one of a later plugin-mirror. `listed` is
 * empty without a catalog; with one it is, by version key, the sha256 of each metadata.json.
 * @throws CatalogNewer
 * @throws TreeUnreadable unless `tolerant`
 */
export async function readOldCatalog(treeDir: string, { tolerant = false } = {}): Promise<OldCatalog> {
  const listed: ReadonlyMap<string, string> = new Map();
  try {
    const catalog = await readCatalog(treeDir);
    if (catalog === undefined) return { state: 'missing', listed };
    return { state: 'read', catalog, listed: metadataHashes(catalog) };
  } catch (error) {
    if (error instanceof CatalogInvalid) return { state: 'invalid', listed };
    if (tolerant && error instanceof TreeUnreadable) return { state: 'inaccessible', listed };
    throw error;
  }
}

function metadataHashes({ plugins }: Catalog): ReadonlyMap<string, string> {
  const hashes = new Map<string, string>();
  for (const { name, versions } of plugins)
    for (const { version, files } of versions) {
      const file = files.find(it => it.name === METADATA_FILE);
      if (file !== undefined) hashes.set(versionKey({ name, version }), file.sha256);
    }
  return hashes;
}

/**
 * A version can agree with its metadata.json and still not be the one that was published: the catalog says which
 * metadata.json was. A version that the catalog does not list was published by a run that did not finish.
 */
export function asListed(present: Present, listed: ReadonlyMap<string, string>): Present {
  if (present.state !== 'sound') return present;
  const expected = listed.get(versionKey(present.metadata));
  const found = versionFiles(present.metadata).find(file => file.name === METADATA_FILE)?.sha256;
  if (expected === undefined || expected === found) return present;
  return {
    state: 'damaged',
    problems: [`${METADATA_FILE} is not the one that index.json lists`],
    metadata: present.metadata,
  };
}

/** A sound version is no use to a run that asks for another platform. */
export function asPlatform(present: Present, platform: string | undefined): Present {
  if (present.state !== 'sound') return present;
  const words = otherPlatform(present.metadata, platform);
  return words === undefined ? present : { state: 'damaged', problems: [words], metadata: present.metadata };
}

/** In words, if a version is the image of another platform than the one asked for. */
export function otherPlatform({ platform: has }: PublishedVersion, asked: string | undefined): string | undefined {
  if (asked === undefined || has === undefined || has === asked || has.startsWith(`${asked}/`)) return undefined;
  return `it is the image for ${has}, asked for is ${asked}`;
}

/** The metadata of a version whose plugin.wasm can be served: a damaged README is no reason to take a plugin from gateways. */
export function servable(present: Present): PublishedVersion | undefined {
  if (present.state === 'sound') return present.metadata;
  if (present.state === 'missing' || present.problems.some(problem => problem.startsWith(MODULE_FILE)))
    return undefined;
  return present.metadata;
}

/** The damage of a version, in words; empty if it is sound or missing. */
export function damageOf(present: Present): string {
  return present.state === 'damaged' ? present.problems.join('; ') : '';
}
