import { type Image, platformText } from '../../registry/image.ts';
import { falseFacts, type LockFacts } from './compareTree.ts';
import { FrozenLockUntrue } from './frozen.ts';
import type { LockedVersions } from './lockedVersions.ts';
import type { LockfileEntry } from './lockfile.ts';

/** A version with its metadata.json in the tree or, if it is still to be fetched, its image. */
export interface KnownVersion {
  readonly key: string;
  readonly is: LockFacts | Image;
}

/** Returns an error if the frozen lockfile and the facts of a version differ; undefined if all of them agree. */
export function untrueLockfile(
  known: readonly KnownVersion[],
  { path, agreeing }: LockedVersions,
): FrozenLockUntrue | undefined {
  const words = known.flatMap(({ key, is }) => {
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
