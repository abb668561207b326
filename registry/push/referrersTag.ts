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

interface ManifestAccess {
  readonly get: (tag: string) => Promise<Buffer | undefined>;
  readonly put: (tag: string, manifest: PushedManifest) => Promise<unknown>;
}

/**
 * Lists a referrer in the index under the tag that clients look at where a registry has no referrers API (distribution-spec 1.1,
 * Referrers Tag Schema). Two clients that push referrers of one subject at the same time may lose one: the specification says so.
 */
export async function addReferrer(manifest: PushedManifest, subject: Digest, access: ManifestAccess): Promise<void> {
  const [algorithm = '', hash = ''] = subject.split(':');
  const tag = `${algorithm.slice(0, 32)}-${hash.slice(0, 64)}`;
  const before = entriesOf(await access.get(tag));
  if (before.some(entry => entry.digest === manifest.digest)) return;
  const { annotations } = JSON.parse(manifest.bytes.toString('utf8')) as { annotations?: object | null };
  const entry = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    ...(manifest.artifactType === undefined ? {} : { artifactType: manifest.artifactType }),
    ...(annotations == null ? {} : { annotations }),
  };
  const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [...before, entry] };
  const bytes = Buffer.from(JSON.stringify(index));
  await access.put(tag, { digest: manifest.digest, mediaType: INDEX_TYPE, bytes });
}

function entriesOf(bytes: Buffer | undefined): readonly { readonly digest?: unknown }[] {
  if (bytes === undefined) return [];
  const { manifests } = JSON.parse(bytes.toString('utf8')) as { manifests?: readonly { digest?: unknown }[] | null };
  return Array.isArray(manifests) ? manifests : [];
}
