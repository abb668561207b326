import * as v from 'valibot';
import { RegistryProtocol } from '../errors.ts';
import type { Descriptor } from '../image.ts';
import { type Digest, isTag, type Reference } from '../reference.ts';
import { parseManifest } from './parseManifest.ts';

/** More than these beside one image, and somebody fills the registry up: an answer of this size is not worth reading. */
export const MOST_REFERRERS = 5000;

/**
 * The tag under which clients keep the referrers of a digest at a registry without the API: the algorithm and the
 * hash with `-` between, cut to 32 and 64 characters (OCI distribution-spec 1.1, Referrers Tag Schema).
 */
export function referrersTag(reference: Reference, digest: Digest): Reference | undefined {
  const [algorithm = '', hash = ''] = digest.split(':');
  const tag = `${algorithm.slice(0, 32)}-${hash.slice(0, 64)}`;
  return isTag(tag) ? { registry: reference.registry, repository: reference.repository, tag } : undefined;
}

/** The entries of an index of referrers, API's or tag's. @throws RegistryProtocol, ImageManifestInvalid */
export function parseReferrers(bytes: Buffer, mediaType: string, subject: string): readonly Descriptor[] {
  const parsed = parseManifest(bytes, mediaType, subject);
  if (parsed.kind === 'index' && parsed.index.manifests.length <= MOST_REFERRERS) return parsed.index.manifests;
  throw new RegistryProtocol(`The referrers of ${subject} cannot be read`, {
    subject,
    expected: `an image index of at most ${MOST_REFERRERS} entries`,
    found: parsed.kind === 'index' ? `${parsed.index.manifests.length} entries` : 'an image manifest',
    hint: 'Look at what stands beside the image with: oras discover IMAGE. Some of it must be removed or pushed again.',
  });
}

const discovered = v.looseObject({ referrers: v.nullish(v.array(v.unknown())) });

/** What `oras discover --format json` prints (ORAS 1.3): the same entries under another key. */
export function parseDiscovered(text: string, subject: string): readonly Descriptor[] {
  const { referrers } = v.parse(discovered, JSON.parse(text));
  const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: referrers ?? [] };
  return parseReferrers(Buffer.from(JSON.stringify(index)), index.mediaType, subject);
}
