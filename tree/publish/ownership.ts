import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent, isForbidden } from '../../base/errno.ts';
import { readCatalog } from '../catalog/readCatalog.ts';
import { asReadRefusal, TreeForeign } from '../errors.ts';
import { CATALOG_FILE, fileNameProblem, INVENTORY_FILE, METADATA_FILE, MODULE_FILE, OWN_FILES } from '../names.ts';
import { hashFile, kindOf, openRegular } from '../regularFile.ts';
import type { Stamps } from '../stamps.ts';
import { type Location, locateVersion, readMetadata } from '../version/readVersion.ts';
import { type CatalogFile, versionFiles } from '../version/versionFiles.ts';

/**
 * The names of the files that were published from here into a version's folder, by its metadata.json or, where that is
 * damaged, by the tree's catalog. Empty if neither knows the version: then all of it is somebody else's.
 */
export async function publishedNames(treeDir: string, name: string, version: string): Promise<ReadonlySet<string>> {
  const read = await readMetadata(treeDir, name, version);
  if ('metadata' in read) return new Set([...OWN_FILES, ...Object.keys(read.metadata.files).filter(isFit)]);
  // A catalog that cannot be read knows nothing; that it is damaged is told by whoever has to read it.
  const catalog = await readCatalog(treeDir).catch(() => undefined);
  const known = catalog?.plugins
    .find(plugin => plugin.name === name)
    ?.versions.find(entry => entry.version === version);
  return new Set(known === undefined ? [] : [...OWN_FILES, ...known.files.map(file => file.name).filter(isFit)]);
}

/** The files of a version as its metadata.json says that they were published; empty where that cannot be read. */
export async function publishedFiles(treeDir: string, name: string, version: string): Promise<readonly CatalogFile[]> {
  const read = await readMetadata(treeDir, name, version);
  return 'metadata' in read ? versionFiles(read.metadata) : [];
}

/** Whether a file has the bytes that were published; what may not be looked at has not. */
export async function isPublished(treeDir: string, path: string, file: CatalogFile, stamps: Stamps): Promise<boolean> {
  const full = join(treeDir, path);
  try {
    const stat = await lstat(full, { bigint: true });
    if (!stat.isFile() || stat.size !== BigInt(file.sizeBytes)) return false;
    return stamps.matches(path, stat, file.sha256) || (await hasBytes(full, file));
  } catch (error) {
    if (isAbsent(error) || isForbidden(error)) return false;
    throw error;
  }
}

/**
 * Refuses if publishing these files would overwrite something that is not from here. What happens to have the very bytes
 * that are to be published is taken for ours. @throws TreeForeign
 */
export async function requireOurs(
  treeDir: string,
  folder: string,
  files: readonly CatalogFile[],
  owned: ReadonlySet<string>,
): Promise<void> {
  for (const file of files) {
    const path = join(folder, file.name);
    const stat = await lstat(join(treeDir, path)).catch(error => {
      if (isAbsent(error)) return undefined;
      throw error;
    });
    if (stat === undefined || (stat.isFile() && owned.has(file.name))) continue;
    if (!stat.isFile()) throw foreign(treeDir, path, kindOf(stat));
    if (!(await hasBytes(join(treeDir, path), file)))
      throw foreign(treeDir, path, 'a file that was not published from here');
  }
}

/** @throws TreeForeign if the location says so */
export function refuseForeign(treeDir: string, location: Location): void {
  if (location.state === 'foreign') throw foreign(treeDir, location.path, location.kind);
}

/** The refusal of what lies at `path`, below the tree. */
export function foreign(treeDir: string, path: string, kind: string): TreeForeign {
  return new TreeForeign(`${path} in ${treeDir} is ${kind}; it is left alone, and nothing can be published there`, {
    subject: path,
    expected: 'nothing, or what an earlier sync has published',
    found: kind,
    hint: `Move ${join(treeDir, path)} away, or choose another folder with --out.`,
  });
}

/** Whether a regular file has the bytes that were, or are to be, published; one that may not be read has not. */
export async function hasBytes(path: string, file: CatalogFile): Promise<boolean> {
  const handle = await openRegular(path).catch(error => {
    if (isForbidden(error)) return undefined;
    throw error;
  });
  if (handle === undefined || typeof handle === 'string') return false;
  try {
    return (await hashFile(handle, file.sizeBytes)).sha256 === file.sha256;
  } finally {
    await handle.close();
  }
}

function isFit(file: string): boolean {
  return OWN_FILES.includes(file) || fileNameProblem(file) === undefined;
}

/**
 * What publishing a version here would be refused for, told beforehand: something that was not published from here in the
 * place of its folders or of the files that every version has. Of a plugin.wasm whose folder nobody knows the bytes would
 * decide, so `moduleSha256` is what is to be published, where that is known. @throws TreeUnreadable, TreeFault
 */
export async function foreignInTheWay(
  treeDir: string,
  name: string,
  version: string,
  moduleSha256?: string,
): Promise<TreeForeign | undefined> {
  const location = await locateVersion(treeDir, name, version);
  if (location.state === 'foreign') return foreign(treeDir, location.path, location.kind);
  if (location.state === 'missing') return undefined;
  const owned = await publishedNames(treeDir, name, version);
  for (const file of OWN_FILES) {
    const path = join(name, version, file);
    const stat = await standing(treeDir, path);
    if (stat === undefined || (stat.isFile() && owned.has(file))) continue;
    if (!stat.isFile()) return foreign(treeDir, path, kindOf(stat));
    // What else is made here may have the very bytes that are to be published; these two tell.
    if (file !== METADATA_FILE && file !== MODULE_FILE) continue;
    const same = { name: file, sizeBytes: stat.size, sha256: moduleSha256 ?? '' };
    if (file === MODULE_FILE && moduleSha256 !== undefined && (await hasBytes(join(treeDir, path), same))) continue;
    return foreign(treeDir, path, 'a file that was not published from here');
  }
  return undefined;
}

/** The same of the files of the tree itself. */
export async function foreignRootFiles(treeDir: string): Promise<TreeForeign[]> {
  const found: TreeForeign[] = [];
  for (const file of [CATALOG_FILE, INVENTORY_FILE]) {
    const stat = await standing(treeDir, file);
    if (stat !== undefined && !stat.isFile()) found.push(foreign(treeDir, file, kindOf(stat)));
  }
  return found;
}

function standing(treeDir: string, path: string) {
  return lstat(join(treeDir, path)).catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw asReadRefusal(error, join(treeDir, path));
  });
}
