import { ImageNoPlatform } from '../errors.ts';
import { architectureOf, type Descriptor, type Platform, platformText, variantOf } from '../image.ts';
import { isImageType } from './parseManifest.ts';

const MOST_DESCRIBED = 20;

/**
 * Chooses the entry of an index: never an attestation; the one that fits `asked` best; without `asked` the only one, or
 * linux/amd64, or the first. @throws ImageNoPlatform, with a list of the entries
 */
export function choosePlatform(
  entries: readonly Descriptor[],
  asked: Platform | undefined,
  subject: string,
): Descriptor {
  const images = entries.filter(entry => isImageType(entry.mediaType) && !isAttestation(entry));
  const chosen =
    asked !== undefined
      ? best(images, asked)
      : images.length > 1
        ? (best(images, { os: 'linux', architecture: 'amd64' }) ?? images[0])
        : images[0];
  if (chosen !== undefined) return chosen;
  const wanted = asked === undefined ? 'an image' : `an image for ${formatPlatform(asked)}`;
  const found = entries.length === 0 ? 'an empty index' : describeAll(entries);
  const attestationsAlone = entries.length > 0 && entries.every(isAttestation);
  const missing = wanted.replace(/^an /, '');
  throw new ImageNoPlatform(
    attestationsAlone
      ? `${subject} is an index of attestations only (platform unknown/unknown), without ${wanted}`
      : `${subject} has no ${missing}`,
    { subject, expected: wanted, found, hint: hintFor(images.length === 0, attestationsAlone) },
  );
}

/**
 * Finds the entry whose platformText is `text`: the one that the lockfile names. Of equal entries the first, as in
 * choosePlatform. @throws ImageNoPlatform, with a list of the entries
 */
export function findPlatform(entries: readonly Descriptor[], text: string, subject: string): Descriptor {
  const images = entries.filter(entry => isImageType(entry.mediaType) && !isAttestation(entry));
  const found = images.find(({ platform }) => platform !== undefined && platformText(platform) === text);
  if (found !== undefined) return found;
  throw new ImageNoPlatform(`${subject} has no image for ${text}, the locked platform`, {
    subject,
    expected: `an image for ${text}`,
    found: describeAll(images) || 'no image',
    hint: 'The digest fits, so the lockfile was edited by hand: restore it, or lock the image again with sync --update.',
  });
}

function hintFor(noImages: boolean, attestationsAlone: boolean): string {
  if (attestationsAlone)
    return 'Push the index again together with its images: a copy of a single platform may have left them out.';
  return noImages
    ? 'Check that the reference names a plugin image.'
    : 'Leave the platform out, because a plugin is the same on every platform; or name one of those found.';
}

/** BuildKit marks attestations with an annotation; only the platform remains after a copy that drops annotations. */
function isAttestation({ annotations, platform }: Descriptor): boolean {
  const marked = annotations?.['vnd.docker.reference.type'] === 'attestation-manifest';
  return marked || (platform?.os === 'unknown' && platform.architecture === 'unknown');
}

/** Returns the entry that fits best, of equal ones the first; undefined if none fits. */
function best(entries: readonly Descriptor[], asked: Platform): Descriptor | undefined {
  let winner: Descriptor | undefined;
  let winnerRank = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    const rank = entry.platform === undefined ? undefined : misfit(entry.platform, asked);
    if (rank === undefined || rank >= winnerRank) continue;
    winner = entry;
    winnerRank = rank;
  }
  return winner;
}

/** Returns 0 for an exact fit, more for a worse one, undefined for none. An older variant fits a newer CPU, not the reverse. */
function misfit(has: Platform, asked: Platform): number | undefined {
  if (has.os !== asked.os || architectureOf(has.architecture) !== asked.architecture) return undefined;
  const own = variantOf(has);
  const wish = variantOf(asked);
  if (own === wish) return 0;
  const distance = variantNumber(wish) - variantNumber(own);
  if (distance > 0) return distance;
  // Without a requested variant, one that is too new is better than none.
  return asked.variant === undefined ? 1000 - (Number.isNaN(distance) ? 0 : distance) : undefined;
}

function variantNumber(variant: string): number {
  return Number(/^v(\d+)$/.exec(variant)?.[1] ?? Number.NaN);
}

function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os || '?', architecture || '?', ...(variant === undefined ? [] : [variant])].join('/');
}

/** Names a few entries, each kind once: an index may have thousands. */
function describeAll(entries: readonly Descriptor[]): string {
  const kinds = [...new Set(entries.map(describeEntry))];
  const more = kinds.length > MOST_DESCRIBED ? [`and ${kinds.length - MOST_DESCRIBED} more`] : [];
  return [...kinds.slice(0, MOST_DESCRIBED), ...more].join(', ');
}

function describeEntry(entry: Descriptor): string {
  const platform = entry.platform === undefined ? 'no platform' : formatPlatform(entry.platform);
  if (isAttestation(entry)) return `${platform} (an attestation)`;
  return isImageType(entry.mediaType) ? platform : `${platform} (${entry.mediaType})`;
}
