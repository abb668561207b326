import type { Reference } from '../../registry/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Held } from '../lockfile/held.ts';
import { hashLocal } from '../manifest/localFile.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import type { Answer, Present } from './plan.ts';

export interface Question {
  readonly wanted: WantedVersion;
  readonly present: Present;
  readonly held: Held | undefined;
}

/**
 * Asks what a wanted version is today, with as few requests as will do: none where the manifest pins it or `tags` is false;
 * one HEAD where a sound copy stands in the tree; else one GET of the manifest by its tag, which the fetch needs anyway.
 * Never throws but for an abort: what went wrong is an answer too.
 */
export async function ask(
  question: Question,
  registry: () => Promise<Registry>,
  tags: boolean,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  const { wanted, present, held } = question;
  try {
    if (wanted.source.kind === 'file') return { kind: 'digest', digest: await hashLocal(wanted.source.path, signal) };
    const { reference } = wanted.source;
    if (reference.digest !== undefined || !tags) return undefined;
    if (present.state === 'sound')
      return await head(await registry(), reference, held?.digest ?? present.metadata.digest, signal);
    const image = await (await registry()).fetchImage(reference, signal);
    return { kind: 'digest', digest: image.digest, image };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'error', error: error instanceof Error ? error : new Error(String(error)) };
  }
}

/** HEAD; and the manifest only when the tag has moved, since it says when the new image was made. */
async function head(registry: Registry, reference: Reference, expected: string, signal: AbortSignal): Promise<Answer> {
  const digest = await registry.resolve(reference, signal);
  if (digest === expected) return { kind: 'digest', digest };
  // By its tag: where the header was wrong, the image is another, and may be the one that stands here.
  const image = await registry.fetchImage(reference, signal);
  return { kind: 'digest', digest: image.digest, image };
}
