import { formatReference } from '../../registry/reference.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { WantedVersion } from './wanted.ts';

/** Returns the origin of a version as in metadata.json: `HOST/REPOSITORY:TAG`, `HOST/REPOSITORY@DIGEST` without a tag, or `file:PATH`. */
export function originOf({ source }: Pick<WantedVersion, 'source'>): string {
  if (source.kind === 'file') return `file:${source.written}`;
  const { registry, repository, tag, digest } = source.reference;
  if (tag !== undefined) return formatReference({ registry, repository, tag });
  return formatReference({ registry, repository, ...(digest === undefined ? {} : { digest }) });
}

/**
 * Returns whether a version was published from this origin. With --registry, images come from a mirror, and metadata.json has
 * their real origin: on another host, the part of the repository before the image's name may differ as well.
 */
export function isFrom({ reference }: Pick<PublishedVersion, 'reference'>, named: string): boolean {
  if (named.startsWith('file:') || reference.startsWith('file:')) return reference === named;
  const [real, expected] = [pathOf(reference), pathOf(named)];
  if (real === expected || real.endsWith(`/${expected}`) || expected.endsWith(`/${real}`)) return true;
  return hostOf(reference) !== hostOf(named) && real.split('/').at(-1) === expected.split('/').at(-1);
}

function hostOf(text: string): string {
  return text.slice(0, text.indexOf('/'));
}

/** `REPOSITORY:TAG`, or `REPOSITORY@DIGEST` without a tag. */
function pathOf(text: string): string {
  const path = text.slice(text.indexOf('/') + 1);
  return /:[^/@]+@/.test(path) ? path.slice(0, path.indexOf('@')) : path;
}
