import type { Digest } from '../../base/digest.ts';
import type { Layout } from '../../layout/layout.ts';
import { nameOf } from '../../layout/layoutIndex.ts';
import { MAX_MANIFEST_BYTES } from '../../layout/manifestDocument.ts';
import { isLoadable } from '../coverage/gatewayImage.ts';
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
  const read = async (digest: Digest): Promise<Buffer | undefined> =>
    (await layout.sizeOf(digest)) === undefined ? undefined : layout.read(digest, MAX_MANIFEST_BYTES);
  for (const entry of layout.index.entries) {
    const [, name] = /^[^/]+\/(.+:[^:@/]+)$/.exec(nameOf(entry) ?? '') ?? [];
    const bytes = name === undefined || images.has(name) ? undefined : await read(entry.digest);
    if (name !== undefined && bytes !== undefined) images.set(name, await isLoadable(bytes, read));
  }
  return images;
}

/** The same of an open bundle. `path` is its name for people. */
export async function modulesOf({ manifest, only }: OpenBundle, path: string): Promise<Served> {
  const locked = await readLocked(lockfilePath(manifest.file));
  return servedByManifest(selectVersions(manifest, { only }), locked, path);
}
