import { byDistance } from '../../base/nearest.ts';
import type { Engine } from '../engine.ts';
import { RegistryNotFound } from '../errors.ts';
import { formatReference, type Reference } from '../reference.ts';

const MOST_NAMED = 3;
/** A hint is not worth a longer wait. */
const PATIENCE_MS = 5000;
/** Tags under which signatures and the like are kept beside an image; nobody means one of them. */
const ATTACHED = /^sha(?:256|512)-[0-9a-f]{64,}(?:\.|$)/;

/**
 * An engine that, where a tag is not there, names the nearest that are. Mirrors are left out: that one lacks an image is
 * nothing unusual, the next place is asked for it.
 */
export function withNearestTags(engine: Engine, mirrors: Readonly<Record<string, readonly string[]>> = {}): Engine {
  const mirrorHosts = new Set(Object.values(mirrors).flatMap(places => places.map(place => place.split('/')[0])));
  const hinting = async <T>(at: Reference, signal: AbortSignal, work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const isTag =
        at.tag !== undefined && !ATTACHED.test(at.tag) && at.digest === undefined && !mirrorHosts.has(at.registry);
      if (!isTag || !(error instanceof RegistryNotFound) || error.missing === 'repository') throw error;
      throw await tell(engine, at, error, signal);
    }
  };
  return {
    resolve: (at, signal, retries) => hinting(at, signal, engine.resolve(at, signal, retries)),
    fetchManifest: (at, signal, retries) => hinting(at, signal, engine.fetchManifest(at, signal, retries)),
    fetchBlob: (at, descriptor, offset, signal, retries) => engine.fetchBlob(at, descriptor, offset, signal, retries),
    listTags: (at, signal, retries) => engine.listTags(at, signal, retries),
    listReferrers: (at, digest, signal) => engine.listReferrers(at, digest, signal),
    get traffic() {
      return engine.traffic;
    },
    close: () => engine.close(),
  };
}

/** Returns at most three tags, the nearest to `wanted` first; of equally near ones, the highest. Signature tags are left out. */
export function nearestTags(wanted: string, tags: readonly string[]): string[] {
  const images = [...new Set(tags)].filter(tag => !ATTACHED.test(tag));
  const highestFirst = images.sort((one, other) => other.localeCompare(one, 'en', { numeric: true }));
  return byDistance(wanted, highestFirst).slice(0, MOST_NAMED);
}

async function tell(engine: Engine, at: Reference, error: RegistryNotFound, signal: AbortSignal): Promise<Error> {
  const { tag = '', ...untagged } = at;
  let tags: string[];
  try {
    tags = await engine.listTags(untagged, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
  } catch (fault) {
    signal.throwIfAborted();
    // The list knows better whether it is the repository that is not there.
    return fault instanceof RegistryNotFound && fault.missing === 'repository' ? fault : error;
  }
  const nearest = nearestTags(tag, tags);
  const { status, request, registrySaid, diagnostics } = error;
  return new RegistryNotFound(`${at.registry} has no tag ${tag} of ${at.repository}`, {
    subject: formatReference(at),
    missing: 'manifest',
    expected: tag,
    found: nearest.length === 0 ? 'no tags at all' : `${tags.length} tags, the nearest: ${nearest.join(', ')}`,
    hint:
      nearest.length === 0
        ? 'The repository is there, but nothing is tagged in it: push the image, or name it by its digest.'
        : `The repository is there: did you mean ${nearest.join(' or ')}?`,
    diagnostics,
    ...(status === undefined ? {} : { status }),
    ...(request === undefined ? {} : { request }),
    ...(registrySaid === undefined ? {} : { registrySaid }),
    cause: error,
  });
}
