import { readCatalog } from '../../tree/catalog.ts';
import { CatalogMissing } from '../../tree/errors.ts';
import { lockfilePath, readLockfile } from '../lockfile/lockfile.ts';
import { ManifestMissing } from '../manifest/errors.ts';
import { parsePluginManifest, readManifestText, readPluginManifest } from '../manifest/readManifest.ts';
import { versionKey } from '../report.ts';
import type { WrittenPlugin } from './manifestLines.ts';
import { type LockedModule, type Served, servedByCatalog, servedByManifest } from './served.ts';

/**
 * A manifest's modules, with the digests of its lockfile if there is one.
 * @param lock the path of the lockfile. Default: next to the manifest @throws what both throw
 */
export async function readServedManifest(file: string, lock?: string): Promise<Served> {
  const [manifest, locked] = await Promise.all([readPluginManifest(file), readLocked(lockfilePath(file, lock))]);
  return servedByManifest(manifest, locked, file);
}

/** The modules that a lockfile describes, by `<name>/<version>`; none without a lockfile. @throws the lockfile's refusals */
export async function readLocked(path: string): Promise<ReadonlyMap<string, LockedModule>> {
  const locked = new Map<string, LockedModule>();
  for (const entry of (await readLockfile(path))?.entries ?? []) {
    const { sha256, sizeBytes } = entry;
    const digest = entry.kind === 'image' ? { digest: entry.digest } : {};
    locked.set(versionKey(entry), { sha256, sizeBytes, ...digest });
  }
  return locked;
}

/** A tree's modules. @throws CatalogMissing, CatalogInvalid, CatalogNewer */
export async function readServedTree(dir: string): Promise<Served> {
  const catalog = await readCatalog(dir);
  if (catalog !== undefined) return servedByCatalog(catalog, dir);
  throw new CatalogMissing(`${dir} has no index.json`, {
    subject: dir,
    expected: 'a tree that sync has published',
    found: 'no index.json, or no folder',
    hint: 'Name the tree with --tree DIR, or make it with plugin-mirror sync.',
  });
}

/** A valid manifest's text and its `plugins` as they are written; undefined if there is no file. @throws as readPluginManifest */
export async function readWrittenPlugins(
  file: string,
): Promise<{ readonly text: string; readonly plugins: Readonly<Record<string, WrittenPlugin>> } | undefined> {
  const text = await readManifestText(file).catch((error: unknown) => {
    if (error instanceof ManifestMissing) return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  await parsePluginManifest(text, { file });
  const { plugins } = JSON.parse(text.replace(/^\ufeff/, '')) as {
    readonly plugins: Readonly<Record<string, WrittenPlugin>>;
  };
  return { text, plugins };
}
