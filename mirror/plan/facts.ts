import pMap from 'p-map';
import { asError } from '../../base/refusal.ts';
import type { Image } from '../../registry/image.ts';
import type { Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import type { LockedVersion } from '../lockfile/locked.ts';
import type { LockedVersions } from '../lockfile/lockedVersions.ts';
import { hashLocal } from '../manifest/localFile.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import type { Session } from '../session.ts';
import type { ReadableTree, SyncJob } from './job.ts';
import { asListed, asPlatform, type OldCatalog, type Present, surveyTree } from './survey.ts';

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
export type Asking = 'nothing' | 'heads' | 'images';

/** Looks at the tree, reads local files and asks the registry. Nothing is decided and nothing is changed. */
export async function gatherFacts(
  job: SyncJob,
  lockfile: LockedVersions,
  tree: ReadableTree,
  old: OldCatalog,
  asking: Asking,
  session: Session,
): Promise<VersionFacts[]> {
  const { versions, platform } = job.selection;
  const { signal } = session;
  session.onEvent({ type: 'asking', versions: versions.length });
  let done = 0;
  // The first requests are sent while the rest of the tree is inspected.
  return pMap(
    surveyTree(tree, versions, job, signal),
    async ({ wanted, present }): Promise<VersionFacts> => {
      const usable = asPlatform(asListed(present, old.listed), platform);
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
