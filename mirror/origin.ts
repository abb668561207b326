import { formatReference } from '../registry/reference.ts';
import type { PublishedVersion } from '../tree/published.ts';
import type { WantedVersion } from './manifest/wanted.ts';

/** Where a version comes from, as metadata.json says it: `HOST/REPOSITORY:TAG`, with a digest where there is no tag, or `file:PATH`. */
export function originOf({ source }: Pick<WantedVersion, 'source'>): string {
  if (source.kind === 'file') return `file:${source.written}`;
  const { registry, repository, tag, digest } = source.reference;
  if (tag !== undefined) return formatReference({ registry, repository, tag });
  return formatReference({ registry, repository, ...(digest === undefined ? {} : { digest }) });
}

/**
 * Whether a version was published from what is named. The host and what stands before the repository may be another's:
 * --registry takes images from a mirror, and metadata.json says from where they really came.
 */
export function isFrom({ reference }: Pick<PublishedVersion, 'reference'>, named: string): boolean {
  if (named.startsWith('file:') || reference.startsWith('file:')) return reference === named;
  const [is, asked] = [pathOf(reference), pathOf(named)];
  return is === asked || is.endsWith(`/${asked}`) || asked.endsWith(`/${is}`);
}

/** `REPOSITORY:TAG`, or `REPOSITORY@DIGEST` where there is no tag. */
function pathOf(text: string): string {
  const path = text.slice(text.indexOf('/') + 1);
  return /:[^/@]+@/.test(path) ? path.slice(0, path.indexOf('@')) : path;
}
