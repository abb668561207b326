import pMap from 'p-map';
import { readCatalog } from '../../tree/catalog/readCatalog.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { readVersion } from '../../tree/version/readVersion.ts';
import { isFrom } from '../manifest/origin.ts';
import { type LockEntry, LockUnreadable, readLock } from './compareManifest.ts';
import { NO_FILE } from './errors.ts';
import { lockedAnnotationKeys } from './schema.ts';

/** Where a tree's catalog and a lock disagree, each in words; empty if they agree. @throws the lock's and the catalog's refusals */
export async function compareTree(treeDir: string, lockPath: string): Promise<string[]> {
  const lock = await readLock(lockPath);
  if (lock === undefined) throw new LockUnreadable(lockPath, NO_FILE);
  const catalog = await readCatalog(treeDir);
  const versions = (catalog?.plugins ?? []).flatMap(plugin =>
    plugin.versions.map(version => ({ name: plugin.name, ...version })),
  );
  const published = new Map(
    versions.filter(it => it.aliasOf === undefined).map(it => [`${it.name}/${it.version}`, it]),
  );
  // The catalog does not say out of which layer a module came; metadata.json, whose bytes the catalog holds, does.
  const recorded = new Map(
    await pMap(
      published.values(),
      async it => [it, await readVersion(treeDir, it.name, it.version).catch(() => undefined)] as const,
      { concurrency: 16 },
    ),
  );
  const locked = new Set(lock.entries.map(({ name, version }) => `${name}/${version}`));
  const differing = lock.entries.flatMap(entry => {
    const found = published.get(`${entry.name}/${entry.version}`);
    const subject = `${entry.name} ${entry.version}`;
    if (found === undefined) return [`${subject} is locked, but not in the tree`];
    const digest = entry.kind === 'image' ? entry.digest : `sha256:${entry.sha256}`;
    if (found.digest !== digest) return [`${subject} is ${found.digest} in the tree, ${digest} in the lock`];
    if (found.sha256 !== entry.sha256)
      return [`${subject} has a plugin.wasm of sha256 ${found.sha256} in the tree, ${entry.sha256} in the lock`];
    const metadata = recorded.get(found);
    // That it cannot be read is damage, and told as such.
    return metadata === undefined ? [] : differences(entry, metadata).map(words => `${subject} ${words}`);
  });
  const unlocked = [...published.keys()]
    .filter(key => !locked.has(key))
    .map(key => `${key.replace('/', ' ')} is in the tree, but not locked`);
  return [...differing, ...unlocked];
}

/** What a lock says otherwise of a version than its metadata.json, beside the digests; in words, e.g. `has the platform …`. */
export function differences(entry: LockEntry, metadata: PublishedVersion): string[] {
  const origin = entry.kind === 'file' ? `file:${entry.file}` : entry.reference;
  const isSame = isFrom(metadata, origin);
  return [...(isSame ? [] : [inWords('the origin', metadata.reference, origin)]), ...falseFacts(entry, metadata)];
}

/** What a lock says of a version beside its digests. */
export type LockFacts = Pick<PublishedVersion, 'sizeBytes' | 'layer' | 'platform' | 'annotations'>;

/** The same, but for the place that it came from, which says nothing of the bytes. */
export function falseFacts(entry: LockEntry, is: LockFacts): string[] {
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
  return `has ${what} ${tree ?? 'none'} in the tree, ${lock ?? 'none'} in the lock`;
}

function annotation(
  { annotations }: { readonly annotations?: Readonly<Record<string, string>> },
  key: string,
): string | undefined {
  return annotations !== undefined && Object.hasOwn(annotations, key) ? annotations[key] : undefined;
}
