import { digestOf } from '../../base/digest.ts';
import type { Digest } from '../reference.ts';

const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';

export interface PushedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly artifactType?: string;
  /** The manifest that it refers to. */
  readonly subject?: Digest;
}

/**
 * Adds a referrer to the index under the tag that clients look at where a registry has no referrers API (distribution-spec 1.1,
 * Referrers Tag Schema). `index` is the JSON of the present one, if there is one. Returns undefined if it lists the referrer. Two
 * clients that push referrers of one subject at the same time may lose one: the specification says so.
 */
export function withReferrer(
  index: Buffer | undefined,
  manifest: PushedManifest,
): Pick<PushedManifest, 'bytes' | 'mediaType'> | undefined {
  // `cosign copy` of version 3 gives this tag to the image itself.
  const isSubject = index !== undefined && digestOf(index, manifest.subject) === manifest.subject;
  const before = isSubject ? [] : entriesOf(index);
  if (before.some(entry => entry.digest === manifest.digest)) return undefined;
  const { annotations } = JSON.parse(manifest.bytes.toString('utf8')) as { annotations?: object | null };
  const entry = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    ...(manifest.artifactType === undefined ? {} : { artifactType: manifest.artifactType }),
    ...(annotations == null ? {} : { annotations }),
  };
  const extended = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [...before, entry] };
  return { mediaType: INDEX_TYPE, bytes: Buffer.from(JSON.stringify(extended)) };
}

function entriesOf(index: Buffer | undefined): readonly { readonly digest?: unknown }[] {
  if (index === undefined) return [];
  const { manifests } = Object(JSON.parse(index.toString('utf8'))) as { manifests?: unknown };
  return Array.isArray(manifests) ? manifests : [];
}
