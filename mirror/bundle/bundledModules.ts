import { type Digest, isDigest } from '../../base/digest.ts';
import type { Layout } from '../../layout/layout.ts';
import { nameOf } from '../../layout/layoutIndex.ts';
import { MAX_MANIFEST_BYTES, parseManifestDocument } from '../../layout/manifestDocument.ts';
import { readLocked } from '../coverage/readServed.ts';
import { type Served, servedByManifest } from '../coverage/served.ts';
import { lockfilePath } from '../lockfile/lockfile.ts';
import { selectVersions } from '../plan/job.ts';
import { type OpenBundle, openBundle } from './openBundle.ts';

/** The modules that `sync --from` publishes from a bundle. @throws as openBundle */
export async function openBundled(path: string): Promise<Served> {
  const bundle = await openBundle(path);
  try {
    return { ...(await modulesOf(bundle, path)), images: await loadableImages(bundle.layout) };
  } finally {
    await bundle.close();
  }
}

/** The images that `serve --images` serves, by `REPOSITORY:TAG`, and whether a gateway can load each over oci://. */
async function loadableImages(layout: Layout): Promise<ReadonlyMap<string, boolean>> {
  const images = new Map<string, boolean>();
  for (const entry of layout.index.entries) {
    const [, name] = /^[^/]+\/(.+:[^:@/]+)$/.exec(nameOf(entry) ?? '') ?? [];
    if (name === undefined || images.has(name) || (await layout.sizeOf(entry.digest)) === undefined) continue;
    images.set(name, await isLoadable(layout, entry.digest));
  }
  return images;
}

/**
 * Gateways take images whose last layer is a gzip'd tar, and those of two layers of which one is a module (Istio, pkg/wasm,
 * imagefetcher.go). Of an index they take the image of their platform.
 */
async function isLoadable(layout: Layout, digest: Digest): Promise<boolean> {
  const { layers, manifests } = parseManifestDocument(await layout.read(digest, MAX_MANIFEST_BYTES));
  if (Array.isArray(manifests)) {
    for (const child of manifests as readonly { readonly digest?: unknown }[])
      if (isDigest(child?.digest) && (await layout.sizeOf(child.digest)) !== undefined)
        return isLoadable(layout, child.digest);
    return false;
  }
  const types = (Array.isArray(layers) ? layers : []).map((layer: { mediaType?: unknown }) => String(layer?.mediaType));
  const isArchive = /\.tar[+.]gzip$/.test(types.at(-1) ?? '');
  return isArchive || (types.length === 2 && types.some(type => type.endsWith('+wasm')));
}

/** The same of an open bundle. `path` is its name for people. */
export async function modulesOf({ manifest, only }: OpenBundle, path: string): Promise<Served> {
  const locked = await readLocked(lockfilePath(manifest.file));
  return servedByManifest(selectVersions(manifest, { only }), locked, path);
}
