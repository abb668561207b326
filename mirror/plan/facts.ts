import pMap, { pMapIterable } from 'p-map';
import { asError } from '../../base/refusal.ts';
import { type Image, isForPlatform } from '../../registry/image.ts';
import type { Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Catalog } from '../../tree/catalog.ts';
import { CatalogInvalid, TreeUnreadable } from '../../tree/errors.ts';
import { METADATA_FILE, MODULE_FILE } from '../../tree/names.ts';
import type { Present, Tree } from '../../tree/tree.ts';
import { type PublishedVersion, versionFiles } from '../../tree/version/published.ts';
import type { LockedVersion, LockedVersions } from '../lockfile/lockedVersions.ts';
import { hashLocal } from '../manifest/localFile.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import type { SyncJob } from './job.ts';

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
export async function readOldCatalog(tree: Tree, { tolerant = false } = {}): Promise<OldCatalog> {
  const listed: ReadonlyMap<string, string> = new Map();
  try {
    const catalog = await tree.readCatalog();
    if (catalog === undefined) return { state: 'missing', listed };
    return { state: 'read', catalog, listed: metadataHashes(catalog) };
  } catch (error) {
    if (error instanceof CatalogInvalid) return { state: 'invalid', listed };
    if (tolerant && error instanceof TreeUnreadable) return { state: 'inaccessible', listed };
    throw error;
  }
}

function metadataHashes(catalog: Catalog): ReadonlyMap<string, string> {
  const hashes = new Map<string, string>();
  for (const { name, versions } of catalog.plugins)
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
function asPlatform(present: Present, platform: string | undefined): Present {
  if (present.state !== 'sound') return present;
  const words = otherPlatform(present.metadata, platform);
  return words === undefined ? present : { state: 'damaged', problems: [words], metadata: present.metadata };
}

/** In words, if a version is the image of another platform than the one asked for. */
export function otherPlatform({ platform: has }: PublishedVersion, asked: string | undefined): string | undefined {
  if (asked === undefined || has === undefined || isForPlatform(has, asked)) return undefined;
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

/** Everything that is known of one wanted version before it is decided what to do about it. */
export interface VersionFacts {
  readonly wanted: WantedVersion;
  /** The version in the tree, as its own files say. */
  readonly present: Present;
  /** The same, compared with the catalog and the platform asked for: a version that differs from them is damaged. */
  readonly usable: Present;
  /** The digest that the lockfile or the manifest fixes; undefined if the tag decides. */
  readonly locked: LockedVersion | undefined;
  /** The lockfile's entry before this run, even if an update was asked for; undefined if it has none. */
  readonly before: LockedVersion | undefined;
  /** The answer of the registry, or of the local file; undefined if there was nothing to ask. */
  readonly answer: Answer | undefined;
}

/** `image` is there if the manifest came along with the digest. */
export type Answer =
  | { readonly kind: 'digest'; readonly digest: string; readonly image?: Image }
  | { readonly kind: 'error'; readonly error: Error };

/**
 * How much the registry is asked:
 * - `nothing`: every version is locked
 * - `heads`: the digest of each tag by one HEAD, and nothing else
 * - `images`: the same for versions that are in the tree; the image manifest of the others, which a fetch needs anyway
 */
type Asking = 'nothing' | 'heads' | 'images';

/** Looks at the tree, reads local files and asks the registry. Nothing is decided and nothing is changed. */
export async function gatherFacts(
  job: SyncJob,
  lockfile: LockedVersions,
  tree: Tree,
  old: OldCatalog,
  asking: Asking,
  session: Session,
): Promise<VersionFacts[]> {
  const { versions } = job.selection;
  const { signal } = session;
  const { rehash } = job.tree;
  const inspected = pMapIterable(
    versions,
    async wanted => ({ wanted, present: await tree.inspect(wanted, { rehash, signal }) }),
    { concurrency: job.limits.files },
  );
  session.onEvent({ type: 'asking', versions: versions.length });
  let done = 0;
  // The first requests are sent while the rest of the tree is inspected.
  return pMap(
    inspected,
    async ({ wanted, present }): Promise<VersionFacts> => {
      const usable = asPlatform(asListed(present, old.listed), job.selection.platform);
      const locked = lockfile.locked(wanted) ?? pinOf(wanted);
      const answer = await currentDigest(wanted, usable, locked, asking, session);
      done += 1;
      session.onEvent({ type: 'answered', done, versions: versions.length });
      return { wanted, present, usable, locked, before: lockfile.before(wanted), answer };
    },
    { concurrency: job.limits.questions, signal },
  );
}

function pinOf({ source }: WantedVersion): LockedVersion | undefined {
  return source.kind === 'file' || source.reference.digest === undefined
    ? undefined
    : { digest: source.reference.digest };
}

/**
 * Asks for a version's digest with as few requests as possible: none where the manifest pins it; one HEAD where the tree has
 * a sound copy; else one GET of the image manifest by its tag, which the fetch needs anyway. An error is an answer, too.
 */
async function currentDigest(
  wanted: WantedVersion,
  present: Present,
  locked: LockedVersion | undefined,
  asking: Asking,
  { registry, signal }: Session,
): Promise<Answer | undefined> {
  try {
    if (wanted.source.kind === 'file') {
      const digest = await hashLocal(wanted.source.path, `${wanted.name} ${wanted.version}`, signal);
      return { kind: 'digest', digest };
    }
    const { reference } = wanted.source;
    if (reference.digest !== undefined || asking === 'nothing') return undefined;
    const opened = await registry.get();
    if (asking === 'heads') return { kind: 'digest', digest: await opened.resolve(reference, signal) };
    if (present.state === 'sound')
      return await askByHead(opened, reference, locked?.digest ?? present.metadata.digest, signal);
    const image = await opened.fetchImage(reference, signal);
    return { kind: 'digest', digest: image.digest, image };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'error', error: asError(error) };
  }
}

/** Sends HEAD. If the tag has moved, also fetches the manifest, which has the creation date of the new image. */
async function askByHead(
  registry: Registry,
  reference: Reference,
  expected: string,
  signal: AbortSignal,
): Promise<Answer> {
  const digest = await registry.resolve(reference, signal);
  if (digest === expected) return { kind: 'digest', digest };
  // By its tag: where the header was wrong, the image is another, and may be the one in the tree.
  const image = await registry.fetchImage(reference, signal);
  return { kind: 'digest', digest: image.digest, image };
}
