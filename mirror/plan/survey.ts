import { pMapIterable } from 'p-map';
import type { Catalog } from '../../tree/catalog/catalog.ts';
import { readCatalog } from '../../tree/catalog/readCatalog.ts';
import { CatalogInvalid, TreeUnreadable } from '../../tree/errors.ts';
import { METADATA_FILE } from '../../tree/names.ts';
import type { Stamps } from '../../tree/stamps.ts';
import { inspectVersion } from '../../tree/version/inspectVersion.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { versionFiles } from '../../tree/version/versionFiles.ts';
import { versionKey } from '../report.ts';
import type { Present } from './plan.ts';

export interface SurveyOptions {
  /** Hash every byte even where size, times and inode are as they were at publishing. Default false. */
  readonly rehash?: boolean;
  readonly stamps?: Stamps;
  /** The image of an index that the user asks for; a version of another platform counts as not there. */
  readonly platform?: string;
  readonly signal: AbortSignal;
}

/**
 * Looks at what stands in the tree of the versions named: whole and true to its metadata, damaged, or missing. In their
 * order, each as soon as it is known. @throws CatalogNewer, TreeUnreadable (of index.json)
 */
export async function* surveyTree<Version extends { readonly name: string; readonly version: string }>(
  treeDir: string,
  versions: readonly Version[],
  options: SurveyOptions,
): AsyncGenerator<{ readonly wanted: Version; readonly present: Present }> {
  const { rehash, stamps, platform, signal } = options;
  const listed = await listedMetadata(treeDir);
  const inspection = {
    signal,
    ...(rehash === undefined ? {} : { rehash }),
    ...(stamps === undefined ? {} : { stamps }),
  };
  yield* pMapIterable(
    versions,
    async wanted => {
      const state = await inspectVersion(treeDir, wanted.name, wanted.version, inspection).catch(barred);
      return { wanted, present: ofOtherPlatform(asListed(state, listed), platform) };
    },
    { concurrency: 8 },
  );
}

/**
 * The sha256 of each metadata.json that the catalog lists, by version key. A version that is not listed yet was published by a
 * run that did not come to its end. @throws CatalogNewer
 */
async function listedMetadata(treeDir: string): Promise<ReadonlyMap<string, string>> {
  const catalog = await readCatalog(treeDir).catch((error: unknown) => {
    if (error instanceof CatalogInvalid) return undefined;
    throw error;
  });
  return metadataHashes(catalog);
}

/** As listedMetadata, of a catalog that has been read. */
export function metadataHashes(catalog: Catalog | undefined): ReadonlyMap<string, string> {
  const versions = (catalog?.plugins ?? []).flatMap(({ name, versions: its }) => its.map(it => ({ name, ...it })));
  return new Map(
    versions.flatMap(version => {
      const file = version.files.find(it => it.name === METADATA_FILE);
      return file === undefined ? [] : [[versionKey(version), file.sha256] as const];
    }),
  );
}

/** A folder that may not be looked into is damage of that version alone. */
export function barred(error: unknown): Present & { readonly state: 'damaged' } {
  if (!(error instanceof TreeUnreadable)) throw error;
  return { state: 'damaged', problems: [error.message], barred: error };
}

/** A version can be true to its metadata.json and still not be what was published: that file may have been edited, too. */
export function asListed(state: Present, listed: ReadonlyMap<string, string>): Present {
  if (state.state !== 'sound') return state;
  const expected = listed.get(versionKey(state.metadata));
  const found = versionFiles(state.metadata).find(file => file.name === METADATA_FILE)?.sha256;
  if (expected === undefined || expected === found) return state;
  return {
    state: 'damaged',
    problems: [`${METADATA_FILE} is not the one that index.json lists`],
    metadata: state.metadata,
  };
}

function ofOtherPlatform(state: Present, platform: string | undefined): Present {
  if (state.state !== 'sound') return state;
  const words = otherPlatform(state.metadata, platform);
  return words === undefined ? state : { state: 'damaged', problems: [words], metadata: state.metadata };
}

/** In words, if a version is the image of another platform than the one asked for. */
export function otherPlatform({ platform: has }: PublishedVersion, asked: string | undefined): string | undefined {
  if (asked === undefined || has === undefined || has === asked || has.startsWith(`${asked}/`)) return undefined;
  return `it is the image for ${has}, asked for is ${asked}`;
}
