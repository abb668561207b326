import { ImageNoPlatform } from '../errors.ts';
import { architectureOf, type Descriptor, type Platform, platformText } from '../image.ts';
import { isImageType } from './parseManifest.ts';

// What an entry without a variant means (containerd's and Docker's convention).
const DEFAULT_VARIANT: Readonly<Record<string, string>> = { arm: 'v7', arm64: 'v8', amd64: 'v1' };

/**
 * The entry of an index to take: never an attestation; with a platform asked for, the one that fits it best; else the only
 * one there is, else linux/amd64, else the first. @throws ImageNoPlatform, listing what there is
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
  const found = entries.length === 0 ? 'an empty index' : entries.map(describeEntry).join(', ');
  const attestationsAlone = entries.length > 0 && entries.every(isAttestation);
  const missing = wanted.replace(/^an /, '');
  throw new ImageNoPlatform(
    attestationsAlone
      ? `${subject} is an index with nothing but attestations (platform unknown/unknown): there is no ${missing} in it`
      : `${subject} has no ${missing}`,
    { subject, expected: wanted, found, hint: hintFor(images.length === 0, attestationsAlone) },
  );
}

/**
 * The entry whose platform is this text, as platformText once gave it: the one that a lock says was taken. Of equal ones the
 * first, as choosePlatform has it. @throws ImageNoPlatform, listing what there is
 */
export function findPlatform(entries: readonly Descriptor[], text: string, subject: string): Descriptor {
  const images = entries.filter(entry => isImageType(entry.mediaType) && !isAttestation(entry));
  const found = images.find(({ platform }) => platform !== undefined && platformText(platform) === text);
  if (found !== undefined) return found;
  throw new ImageNoPlatform(`${subject} has no image for ${text}, which is the one that is locked`, {
    subject,
    expected: `an image for ${text}`,
    found: images.map(describeEntry).join(', ') || 'no image',
    hint: 'Its digest fits, so the lock was edited by hand: restore it, or lock the image anew with sync --update.',
  });
}

function hintFor(noImages: boolean, attestationsAlone: boolean): string {
  if (attestationsAlone)
    return 'Push the index again together with its images: a copy of one platform may have left them out.';
  return noImages
    ? 'Check that the reference names a plugin image.'
    : 'Leave the platform out: a plugin is the same on every platform. Or name one of those there are.';
}

/** BuildKit marks its attestations so; the platform alone is what remains after a copy that drops annotations. */
function isAttestation({ annotations, platform }: Descriptor): boolean {
  const marked = annotations?.['vnd.docker.reference.type'] === 'attestation-manifest';
  return marked || (platform?.os === 'unknown' && platform.architecture === 'unknown');
}

/** The best fit, or undefined. Earlier entries win a draw. */
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

/** 0 fits exactly, more is worse, undefined does not fit: an older variant serves a newer one, never the reverse. */
function misfit(has: Platform, asked: Platform): number | undefined {
  const architecture = architectureOf(has.architecture);
  if (has.os !== asked.os || architecture !== asked.architecture) return undefined;
  const own = has.variant || DEFAULT_VARIANT[architecture] || '';
  const wish = asked.variant ?? DEFAULT_VARIANT[architecture] ?? '';
  if (own === wish) return 0;
  const distance = variantNumber(wish) - variantNumber(own);
  if (distance > 0) return distance;
  // Nobody asked for a variant, so one that is too new is better than nothing.
  return asked.variant === undefined ? 1000 - (Number.isNaN(distance) ? 0 : distance) : undefined;
}

function variantNumber(variant: string): number {
  return Number(/^v(\d+)$/.exec(variant)?.[1] ?? Number.NaN);
}

function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os || '?', architecture || '?', ...(variant === undefined ? [] : [variant])].join('/');
}

function describeEntry(entry: Descriptor): string {
  const platform = entry.platform === undefined ? 'no platform' : formatPlatform(entry.platform);
  if (isAttestation(entry)) return `${platform} (an attestation)`;
  return isImageType(entry.mediaType) ? platform : `${platform} (${entry.mediaType})`;
}
