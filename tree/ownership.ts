import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent, isForbidden } from '../base/errno.ts';
import { readCatalog } from './catalog.ts';
import { asReadRefusal, TreeForeign, TreeUnreadable } from './errors.ts';
import {
  CATALOG_FILE,
  fileNameProblem,
  INVENTORY_FILE,
  METADATA_FILE,
  MODULE_FILE,
  OWN_FILES,
  type VersionId,
} from './names.ts';
import { hashFile, kindOf, openRegular } from './regularFile.ts';
import type { Stamps } from './stamps.ts';
import { type Location, locateVersion, readMetadata } from './version/inspectVersion.ts';
import { type CatalogFile, versionFiles } from './version/published.ts';

/**
 * The names of the files that sync published into a version's folder, from its metadata.json or, if that is damaged, from the
 * tree's catalog. Empty if neither knows the version: sync then published none of it.
 */
export async function publishedNames(treeDir: string, name: string, version: string): Promise<ReadonlySet<string>> {
  const read = await readMetadata(treeDir, name, version);
  if ('metadata' in read) return new Set([...OWN_FILES, ...Object.keys(read.metadata.files).filter(isFit)]);
  // A damaged catalog is reported by the code that needs it.
  const catalog = await readCatalog(treeDir).catch(() => undefined);
  const known = catalog?.plugins
    .find(plugin => plugin.name === name)
    ?.versions.find(entry => entry.version === version);
  return new Set(known === undefined ? [] : [...OWN_FILES, ...known.files.map(file => file.name).filter(isFit)]);
}

/** The published files of a version, from its metadata.json; empty if that cannot be read. */
async function publishedFiles(treeDir: string, name: string, version: string): Promise<readonly CatalogFile[]> {
  const read = await readMetadata(treeDir, name, version);
  return 'metadata' in read ? versionFiles(read.metadata) : [];
}

/** Whether a file has the bytes that were published. False if this user may not read it. */
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
 * Throws if publishing these files would overwrite a file that sync did not publish. A file that already has the bytes to be
 * published counts as published. @throws TreeForeign
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
    if (!stat.isFile()) throw foreignError(treeDir, path, kindOf(stat));
    if (!(await hasBytes(join(treeDir, path), file)))
      throw foreignError(treeDir, path, 'a file that sync did not publish');
  }
}

/** @throws TreeForeign if something other than a folder is there */
export function requireNotForeign(treeDir: string, location: Location): void {
  if (location.state === 'foreign') throw foreignError(treeDir, location.path, location.kind);
}

/** Returns the refusal of what is at `path`, relative to the tree. */
function foreignError(treeDir: string, path: string, kind: string): TreeForeign {
  return new TreeForeign(`${path} in ${treeDir} is ${kind}; sync keeps it, so it cannot publish there`, {
    subject: path,
    expected: 'nothing, or the files of an earlier sync',
    found: kind,
    hint: `Move ${join(treeDir, path)} away, or choose another folder with --tree.`,
  });
}

/** Whether a regular file has these bytes. False if this user may not read it. */
async function hasBytes(path: string, file: Pick<CatalogFile, 'sizeBytes' | 'sha256'>): Promise<boolean> {
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
 * Returns the refusal that publishing a version would meet: something that sync did not publish, at the path of the version's
 * folders or of the files that every version has. A plugin.wasm in an unknown folder is judged by its bytes, against
 * `moduleSha256`, the module to be published, if that is known. @throws TreeUnreadable, TreeFault
 */
export async function foreignInTheWay(
  treeDir: string,
  name: string,
  version: string,
  moduleSha256?: string,
): Promise<TreeForeign | undefined> {
  const location = await locateVersion(treeDir, name, version);
  if (location.state === 'foreign') return foreignError(treeDir, location.path, location.kind);
  if (location.state === 'missing') return undefined;
  const owned = await publishedNames(treeDir, name, version);
  for (const file of OWN_FILES) {
    const path = join(name, version, file);
    const stat = await statIfPresent(treeDir, path);
    if (stat === undefined || (stat.isFile() && owned.has(file))) continue;
    if (!stat.isFile()) return foreignError(treeDir, path, kindOf(stat));
    // The other files may already have the bytes to be published; only these two show whether they do.
    if (file !== METADATA_FILE && file !== MODULE_FILE) continue;
    if (file === MODULE_FILE && moduleSha256 !== undefined) {
      const module = { sizeBytes: stat.size, sha256: moduleSha256 };
      if (await hasBytes(join(treeDir, path), module)) continue;
    }
    return foreignError(treeDir, path, 'a file that sync did not publish');
  }
  return undefined;
}

/** As foreignInTheWay, for the files of the tree itself. */
export async function foreignRootFiles(treeDir: string): Promise<TreeForeign[]> {
  const found: TreeForeign[] = [];
  for (const file of [CATALOG_FILE, INVENTORY_FILE]) {
    const stat = await statIfPresent(treeDir, file);
    if (stat !== undefined && !stat.isFile()) found.push(foreignError(treeDir, file, kindOf(stat)));
  }
  return found;
}

function statIfPresent(treeDir: string, path: string) {
  return lstat(join(treeDir, path)).catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw asReadRefusal(error, join(treeDir, path));
  });
}

export interface Removal {
  /** Removed paths, relative to the tree. */
  readonly removed: readonly string[];
  /** Paths that were kept because sync did not publish them, relative to the tree. */
  readonly foreign: readonly string[];
}

/**
 * Returns what the removal of a version would remove and keep, without touching anything. `listed` are the version's files as
 * index.json listed them; default: as metadata.json lists them. @throws TreeUnreadable, TreeFault
 */
export async function previewRemoval(
  treeDir: string,
  { name, version }: VersionId,
  stamps: Stamps,
  listed?: readonly CatalogFile[],
): Promise<Removal> {
  const location = await locateVersion(treeDir, name, version);
  if (location.state === 'missing') return { removed: [], foreign: [] };
  if (location.state === 'foreign') return { removed: [], foreign: [location.path] };
  const folder = join(treeDir, name, version);
  const entries = await readdir(folder).catch(error => {
    const refusal = asReadRefusal(error, folder);
    if (refusal instanceof TreeUnreadable) return undefined;
    throw refusal;
  });
  // A folder that this user may not read is kept.
  if (entries === undefined) return { removed: [], foreign: [`${name}/${version}`] };
  const published = new Map((listed ?? (await publishedFiles(treeDir, name, version))).map(file => [file.name, file]));
  const removed: string[] = [];
  const foreign: string[] = [];
  for (const entry of entries.sort()) {
    const path = `${name}/${version}/${entry}`;
    const file = published.get(entry);
    if (file !== undefined && (await isPublished(treeDir, path, file, stamps))) removed.push(path);
    else foreign.push(path);
  }
  return { removed, foreign };
}
