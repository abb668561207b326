import { LoopTurn } from '../../base/eventLoop.ts';
import { compareNearness, type Nearness, nearness } from '../../base/nearest.ts';
import { plural } from '../../base/words.ts';
import type { Engine } from '../engine.ts';
import { RegistryNotFound } from '../errors.ts';
import { formatReference, type Reference } from '../reference.ts';

const MOST_NAMED = 3;
/** Longest wait for the tag list that the hint needs. */
const PATIENCE_MS = 5000;
/** Comparing so many takes about a millisecond. */
const TAGS_OF_A_TURN = 500;
/** Tags of signatures and other attachments, which a user rarely means. */
const ATTACHED = /^sha(?:256|512)-[0-9a-f]{64,}(?:\.|$)/;

/**
 * Returns an engine whose error for a missing tag names the most similar tags of the repository. Not for mirrors: they often
 * lack an image, and the next host has it.
 */
export function withNearestTags(engine: Engine, mirrors: Readonly<Record<string, readonly string[]>> = {}): Engine {
  const mirrorHosts = new Set(Object.values(mirrors).flatMap(texts => texts.map(text => text.split('/')[0])));
  const hinting = async <T>(at: Reference, signal: AbortSignal, work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const isTag =
        at.tag !== undefined && !ATTACHED.test(at.tag) && at.digest === undefined && !mirrorHosts.has(at.registry);
      if (!isTag || !(error instanceof RegistryNotFound) || error.missing === 'repository') throw error;
      throw await withSimilarTags(engine, at, error, signal);
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

const COLLATOR = new Intl.Collator('en', { numeric: true });

/**
 * Returns at most three tags, the nearest to `wanted` first; of equally near ones, the highest. Signature tags are left out.
 * Only the best three are kept and compared further: sorting a hundred thousand tags would block the event loop for seconds.
 */
export async function nearestTags(wanted: string, tags: readonly string[]): Promise<string[]> {
  const turn = new LoopTurn();
  const best: Candidate[] = [];
  for (const [at, tag] of [...new Set(tags)].entries()) {
    if (at % TAGS_OF_A_TURN === 0) await turn.rest();
    if (ATTACHED.test(tag)) continue;
    const candidate = { tag, ...nearness(wanted, tag) };
    const rank = best.findIndex(other => compare(candidate, other) < 0);
    if (rank >= 0) best.splice(rank, 0, candidate);
    else if (best.length < MOST_NAMED) best.push(candidate);
    if (best.length > MOST_NAMED) best.pop();
  }
  return best.map(({ tag }) => tag);
}

interface Candidate extends Nearness {
  readonly tag: string;
}

function compare(one: Candidate, other: Candidate): number {
  return compareNearness(one, other) || COLLATOR.compare(other.tag, one.tag);
}

async function withSimilarTags(
  engine: Engine,
  at: Reference,
  error: RegistryNotFound,
  signal: AbortSignal,
): Promise<Error> {
  const { tag = '', ...untagged } = at;
  let tags: string[];
  try {
    tags = await engine.listTags(untagged, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
  } catch (fault) {
    signal.throwIfAborted();
    // A 404 for the tag list shows that the repository is missing.
    return fault instanceof RegistryNotFound && fault.missing === 'repository' ? fault : error;
  }
  const nearest = await nearestTags(tag, tags);
  const { status, request, registrySaid, diagnostics } = error;
  return new RegistryNotFound(`${at.registry} has no tag ${tag} of ${at.repository}`, {
    subject: formatReference(at),
    missing: 'manifest',
    expected: tag,
    found: nearest.length === 0 ? 'no tags' : `${plural(tags.length, 'tag')}, the nearest: ${nearest.join(', ')}`,
    hint:
      nearest.length === 0
        ? 'The repository exists, but has no tags: push the image, or name it by its digest.'
        : `The repository exists: did you mean ${nearest.join(' or ')}?`,
    diagnostics,
    ...(status === undefined ? {} : { status }),
    ...(request === undefined ? {} : { request }),
    ...(registrySaid === undefined ? {} : { registrySaid }),
    cause: error,
  });
}
