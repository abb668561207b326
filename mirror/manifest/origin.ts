import { formatReference } from '../../registry/reference.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import type { WantedVersion } from './wanted.ts';

/** Where a version comes from, as metadata.json says it: `HOST/REPOSITORY:TAG`, with a digest where there is no tag, or `file:PATH`. */
export function originOf({ source }: Pick<WantedVersion, 'source'>): string {
  if (source.kind === 'file') return `file:${source.written}`;
  const { registry, repository, tag, digest } = source.reference;
  if (tag !== undefined) return formatReference({ registry, repository, tag });
  return formatReference({ registry, repository, ...(digest === undefined ? {} : { digest }) });
}

/**
 * Whether a version was published from what is named. --registry takes images from a mirror, and metadata.json says from where
 * they really came: on another host what stands before the image's name may be another's, too.
 */
export function isFrom({ reference }: Pick<PublishedVersion, 'reference'>, named: string): boolean {
  if (named.startsWith('file:') || reference.startsWith('file:')) return reference === named;
  const [is, asked] = [pathOf(reference), pathOf(named)];
  if (is === asked || is.endsWith(`/${asked}`) || asked.endsWith(`/${is}`)) return true;
  return hostOf(reference) !== hostOf(named) && is.split('/').at(-1) === asked.split('/').at(-1);
}

function hostOf(text: string): string {
  return text.slice(0, text.indexOf('/'));
}

/** `REPOSITORY:TAG`, or `REPOSITORY@DIGEST` where there is no tag. */
function pathOf(text: string): string {
  const path = text.slice(text.indexOf('/') + 1);
  return /:[^/@]+@/.test(path) ? path.slice(0, path.indexOf('@')) : path;
}
