import { readLocked } from '../coverage/openServed.ts';
import { type Served, servedByManifest } from '../coverage/served.ts';
import { lockfilePath } from '../lockfile/lockfile.ts';
import { selectVersions } from '../plan/selection.ts';
import { type OpenBundle, openBundle } from './openBundle.ts';

/** The modules that `sync --from` publishes from a bundle. @throws as openBundle */
export async function openBundled(path: string): Promise<Served> {
  const bundle = await openBundle(path);
  try {
    return await modulesOf(bundle, path);
  } finally {
    await bundle.close();
  }
}

/** The same of an open bundle. `path` is its name for people. */
export async function modulesOf({ manifest, only }: OpenBundle, path: string): Promise<Served> {
  const locked = await readLocked(lockfilePath(manifest.file));
  return servedByManifest(selectVersions(manifest, { only }), locked, path);
}
