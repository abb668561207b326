import { addTo } from '../../base/groups.ts';
import type { Layout } from '../../layout/layout.ts';
import { nameOf, SUBJECT } from '../../layout/layoutIndex.ts';
import { MAX_MANIFEST_BYTES, parseManifestDocument } from '../../layout/manifestDocument.ts';
import type { Descriptor } from '../image.ts';
import { isIndexType } from '../images/parseManifest.ts';
import type { Digest } from '../reference.ts';

/**
 * Manifests by the digest that they refer to. Our bundles say it in the index; for layouts of other tools the untagged
 * manifests are read (image-spec, manifest.md, `subject`).
 */
export async function readReferrers(layout: Layout): Promise<ReadonlyMap<Digest, readonly Descriptor[]>> {
  const referrers = new Map<Digest, Descriptor[]>();
  for (const entry of layout.index.entries) {
    const { mediaType, digest, size, artifactType, annotations } = entry;
    if (nameOf(entry) !== undefined || isIndexType(mediaType) || (await layout.sizeOf(digest)) === undefined) continue;
    const document = parseManifestDocument<Artifact>(await layout.read(digest, MAX_MANIFEST_BYTES));
    const subject = document.subject?.digest ?? (annotations?.[SUBJECT] as Digest | undefined);
    if (subject === undefined) continue;
    const type = artifactType ?? document.artifactType ?? document.config?.mediaType;
    const described = {
      mediaType,
      digest,
      size,
      ...(type === undefined ? {} : { artifactType: type }),
      ...(document.annotations == null ? {} : { annotations: document.annotations }),
    };
    addTo(referrers, subject, described);
  }
  return referrers;
}

interface Artifact {
  readonly subject?: { readonly digest?: Digest } | null;
  readonly artifactType?: string | null;
  readonly config?: { readonly mediaType?: string } | null;
  readonly annotations?: Readonly<Record<string, string>> | null;
}
