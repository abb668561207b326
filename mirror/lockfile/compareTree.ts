import pMap from 'p-map';
import { type Image, platformText } from '../../registry/image.ts';
import { readCatalog } from '../../tree/catalog.ts';
import { readVersion } from '../../tree/version/inspectVersion.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { isFrom } from '../manifest/origin.ts';
import { versionKey } from '../report.ts';
import { FrozenLockUntrue, LockUnreadable, NO_FILE } from './errors.ts';
import type { LockedVersions } from './lockedVersions.ts';
import { type LockfileEntry, readLockfile } from './lockfile.ts';
import { lockedAnnotationKeys } from './schema.ts';

/** Differences between a tree's catalog and a lockfile, in words; empty if they agree. @throws the refusals of both */
export async function compareTree(treeDir: string, path: string): Promise<string[]> {
  const lock = await readLockfile(path);
  if (lock === undefined) throw new LockUnreadable(path, NO_FILE);
  const catalog = await readCatalog(treeDir);
  const versions = (catalog?.plugins ?? []).flatMap(plugin =>
    plugin.versions.map(version => ({ name: plugin.name, ...version })),
  );
  const published = new Map(versions.filter(it => it.aliasOf === undefined).map(it => [versionKey(it), it]));
  // Only metadata.json, whose sha256 is in the catalog, says out of which layer a module came.
  const recorded = new Map(
    await pMap(
      published.values(),
      async it => [it, await readVersion(treeDir, it.name, it.version).catch(() => undefined)] as const,
      { concurrency: 16 },
    ),
  );
  const locked = new Set(lock.entries.map(versionKey));
  const differing = lock.entries.flatMap(entry => {
    const found = published.get(versionKey(entry));
    const subject = `${entry.name} ${entry.version}`;
    if (found === undefined) return [`${subject} is locked, but not in the tree`];
    const digest = entry.kind === 'image' ? entry.digest : `sha256:${entry.sha256}`;
    if (found.digest !== digest) return [`${subject} is ${found.digest} in the tree, ${digest} in the lockfile`];
    if (found.sha256 !== entry.sha256)
      return [`${subject} has a plugin.wasm of sha256 ${found.sha256} in the tree, ${entry.sha256} in the lockfile`];
    const metadata = recorded.get(found);
    // A metadata.json that cannot be read is reported as damage.
    return metadata === undefined ? [] : differences(entry, metadata).map(words => `${subject} ${words}`);
  });
  const unlocked = [...published.keys()]
    .filter(key => !locked.has(key))
    .map(key => `${key.replace('/', ' ')} is in the tree, but not locked`);
  return [...differing, ...unlocked];
}

/** Differences between an entry and a version's metadata.json, besides the digests; in words, e.g. `has the platform …`. */
export function differences(entry: LockfileEntry, metadata: PublishedVersion): string[] {
  const origin = entry.kind === 'file' ? `file:${entry.file}` : entry.reference;
  const isSame = isFrom(metadata, origin);
  return [...(isSame ? [] : [inWords('the origin', metadata.reference, origin)]), ...falseFacts(entry, metadata)];
}

/** The facts about a version that an entry has besides its digests. */
type LockFacts = Pick<PublishedVersion, 'sizeBytes' | 'layer' | 'platform' | 'annotations'>;

/** The same without the origin, which says nothing of the bytes. */
export function falseFacts(entry: LockfileEntry, is: LockFacts): string[] {
  const { layer } = is;
  const facts: [string, unknown, unknown][] = [['the size of plugin.wasm', is.sizeBytes, entry.sizeBytes]];
  if (entry.kind === 'image') {
    facts.push(
      ['its plugin.wasm from the layer', layer?.digest, entry.layer.digest],
      ['the layer’s size', layer?.sizeBytes, entry.layer.sizeBytes],
      ['the layer’s media type', layer?.mediaType, entry.layer.mediaType],
      ['the platform', is.platform, entry.platform],
    );
    for (const key of lockedAnnotationKeys)
      facts.push([`the annotation ${key}`, annotation(is, key), annotation(entry, key)]);
  }
  return facts.flatMap(([what, tree, lock]) => (tree === lock ? [] : [inWords(what, tree, lock)]));
}

function inWords(what: string, tree: unknown, lock: unknown): string {
  return `has ${what} ${tree ?? 'none'} in the tree, ${lock ?? 'none'} in the lockfile`;
}

function annotation(
  { annotations }: { readonly annotations?: Readonly<Record<string, string>> },
  key: string,
): string | undefined {
  return annotations !== undefined && Object.hasOwn(annotations, key) ? annotations[key] : undefined;
}

/** A version with its metadata.json in the tree or, if it is still to be fetched, its image. */
export interface KnownVersion {
  readonly key: string;
  readonly is: LockFacts | Image;
}

/** Returns an error if the frozen lockfile and the facts of a version differ; undefined if all of them agree. */
export function untrueLockfile(
  versions: readonly KnownVersion[],
  { path, agreeing }: LockedVersions,
): FrozenLockUntrue | undefined {
  const words = versions.flatMap(({ key, is }) => {
    const entry = agreeing.get(key);
    if (entry === undefined) return [];
    const facts = 'manifest' in is ? factsOf(is, entry) : is;
    return falseFacts(entry, facts).map(fact => `${entry.name} ${entry.version} ${fact}`);
  });
  return words.length === 0 ? undefined : new FrozenLockUntrue(path, words);
}

/** The size of plugin.wasm is known only after the fetch; the image manifest has everything else. */
function factsOf({ manifest, platform }: Image, entry: LockfileEntry): LockFacts {
  const locked = entry.kind === 'image' ? entry.layer.digest : undefined;
  const layer = manifest.layers.find(({ digest }) => digest === locked);
  return {
    sizeBytes: entry.sizeBytes,
    ...(layer === undefined
      ? {}
      : { layer: { digest: layer.digest, mediaType: layer.mediaType, sizeBytes: layer.size } }),
    ...(platform === undefined ? {} : { platform: platformText(platform) }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
}
