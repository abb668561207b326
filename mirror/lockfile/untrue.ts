import { type Image, platformText } from '../../registry/image.ts';
import type { LockEntry } from './compareManifest.ts';
import { falseFacts, type LockFacts } from './compareTree.ts';
import { FrozenLockUntrue } from './frozen.ts';
import type { HeldVersions } from './lockedVersions.ts';

/** A version, and what is known of it from the tree (its metadata.json) or, where it is still to be fetched, its image. */
export interface KnownVersion {
  readonly key: string;
  readonly is: LockFacts | Image;
}

/** A lock that is not written is held to all that it says, not only to its digests. Undefined if all of it is true. */
export function untrueLock(
  known: readonly KnownVersion[],
  { path, agreeing }: HeldVersions,
): FrozenLockUntrue | undefined {
  const words = known.flatMap(({ key, is }) => {
    const entry = agreeing.get(key);
    if (entry === undefined) return [];
    const facts = 'manifest' in is ? factsOf(is, entry) : is;
    return falseFacts(entry, facts).map(fact => `${entry.name} ${entry.version} ${fact}`);
  });
  return words.length === 0 ? undefined : new FrozenLockUntrue(path, words);
}

/** What plugin.wasm will have is known only once it is there; of the rest the manifest tells. */
function factsOf({ manifest, platform }: Image, entry: LockEntry): LockFacts {
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
