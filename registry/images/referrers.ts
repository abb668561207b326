import * as v from 'valibot';
import { parseBoundedJson } from '../../base/boundedJson.ts';
import { RegistryProtocol } from '../errors.ts';
import type { Descriptor } from '../image.ts';
import { type Digest, isTag, type Reference } from '../reference.ts';
import { parseManifest } from './parseManifest.ts';

/** An image with more referrers than this is being flooded; the list is refused. */
export const MOST_REFERRERS = 5000;

/**
 * Returns the tag under which clients keep the referrers of a digest at a registry without the API: algorithm and hash,
 * cut to 32 and 64 characters, with `-` between them (distribution-spec 1.1, Referrers Tag Schema).
 */
export function referrersTag(reference: Reference, digest: Digest): Reference | undefined {
  const [algorithm = '', hash = ''] = digest.split(':');
  const tag = `${algorithm.slice(0, 32)}-${hash.slice(0, 64)}`;
  return isTag(tag) ? { registry: reference.registry, repository: reference.repository, tag } : undefined;
}

/** The type of an empty config (image-spec, manifest.md), which cosign 2 writes as the artifact type: it says nothing. */
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';

/**
 * Returns the entries of an index of referrers, from the API or the tag; `"manifests": null`, as Go writes an empty list, is
 * one without entries. @throws RegistryProtocol, ImageManifestInvalid
 */
export function parseReferrers(bytes: Buffer, mediaType: string, subject: string): readonly Descriptor[] {
  if (isNullList(bytes)) return [];
  const parsed = parseManifest(bytes, mediaType, subject);
  if (parsed.kind === 'index' && parsed.index.manifests.length <= MOST_REFERRERS)
    return parsed.index.manifests.map(({ artifactType, ...rest }) => ({
      ...rest,
      ...(artifactType === undefined || artifactType === EMPTY_TYPE ? {} : { artifactType }),
    }));
  throw new RegistryProtocol(`The referrers of ${subject} cannot be read`, {
    subject,
    expected: `an image index of at most ${MOST_REFERRERS} entries`,
    found: parsed.kind === 'index' ? `${parsed.index.manifests.length} entries` : 'an image manifest',
    hint: 'List the referrers with: oras discover IMAGE. Remove those that are not needed, or push them again.',
  });
}

function isNullList(bytes: Buffer): boolean {
  try {
    return Object(parseBoundedJson(bytes.toString('utf8'))).manifests === null;
  } catch {
    return false;
  }
}

const discovered = v.looseObject({ referrers: v.nullish(v.array(v.unknown())) });

/** Reads the output of `oras discover --format json` (ORAS 1.3): the same entries under another key. */
export function parseDiscovered(text: string, subject: string): readonly Descriptor[] {
  const { referrers } = v.parse(discovered, parseBoundedJson(text));
  const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: referrers ?? [] };
  return parseReferrers(Buffer.from(JSON.stringify(index)), index.mediaType, subject);
}
