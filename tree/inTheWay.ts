import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { asReadRefusal, isAbsent, type TreeForeign } from './errors.ts';
import { CATALOG_FILE, INVENTORY_FILE, METADATA_FILE, MODULE_FILE, OWN_FILES } from './names.ts';
import { foreign, hasBytes, publishedNames } from './ownership.ts';
import { locateVersion } from './readVersion.ts';
import { kindOf } from './regular.ts';

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
