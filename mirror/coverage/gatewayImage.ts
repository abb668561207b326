import { type Digest, isDigest } from '../../base/digest.ts';
import { parseManifestDocument } from '../../layout/manifestDocument.ts';

/** An index of indexes is no plugin; a server could otherwise lead a reader from one to the next without end. */
const MOST_INDEXES = 4;

/**
 * Returns whether a gateway can load an image over oci://. Gateways take images whose last layer is a gzip'd tar, and those of
 * two layers of which one is a module (Istio, pkg/wasm, imagefetcher.go). Of an index they take the image of their platform.
 * @param bytes the image's manifest
 * @param readChild reads a manifest of an index; undefined if it is not there
 */
export async function isLoadable(
  bytes: Buffer,
  readChild: (digest: Digest) => Promise<Buffer | undefined>,
  depth = 0,
): Promise<boolean> {
  const { layers, manifests } = parseManifestDocument(bytes);
  if (Array.isArray(manifests)) {
    for (const child of manifests as readonly { readonly digest?: unknown }[]) {
      const found = isDigest(child?.digest) && depth < MOST_INDEXES ? await readChild(child.digest) : undefined;
      if (found !== undefined) return isLoadable(found, readChild, depth + 1);
    }
    return false;
  }
  const types = (Array.isArray(layers) ? layers : []).map((layer: { mediaType?: unknown }) => String(layer?.mediaType));
  const isArchive = /\.tar[+.]gzip$/.test(types.at(-1) ?? '');
  return isArchive || (types.length === 2 && types.some(type => type.endsWith('+wasm')));
}
