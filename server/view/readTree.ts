import { readlink, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { isAbsent } from '../../base/errno.ts';
import { type Catalog, catalogTooLargeError, MAX_CATALOG_BYTES, parseCatalog } from '../../tree/catalog.ts';
import { asReadRefusal, CatalogInvalid, TreeUnusable } from '../../tree/errors.ts';
import { CATALOG_FILE, INVENTORY_FILE } from '../../tree/names.ts';
import { isFileText, kindOf, readRegular } from '../../tree/regularFile.ts';
import { type FileIdentity, identityOf } from '../content/openFile.ts';

const MAX_INVENTORY_BYTES = 16 * 1024 * 1024;

/** The files that describe a tree, read at one moment. */
export interface TreeFiles {
  readonly catalog: Catalog;
  readonly indexJson: Buffer;
  readonly inventoryJson: Buffer | undefined;
  /** The ctime of index.json: the earliest moment at which a path of this catalog may have changed its bytes. */
  readonly changedAtMs: number;
}

/**
 * Refuses a path that exists and is not a folder. A path that does not exist yet is accepted.
 * @throws TreeUnusable
 */
export async function requireFolder(treeDir: string): Promise<void> {
  const stats = await stat(treeDir).catch(() => undefined);
  if (stats === undefined || stats.isDirectory()) return;
  throw new TreeUnusable(`${treeDir} cannot be the folder of the plugins: it is ${kindOf(stats)}`, {
    subject: treeDir,
    expected: 'a folder that sync has published into, or will',
    found: kindOf(stats),
    hint: 'Name the folder that contains index.json with --tree.',
  });
}

/** Returns undefined if there is no index.json in `root`. */
export async function catalogIdentity(root: string): Promise<FileIdentity | undefined> {
  try {
    return identityOf(await stat(`${root}/${CATALOG_FILE}`, { bigint: true }));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/**
 * Reads the files that describe the tree. The bytes that are served as index.json are the bytes that were parsed. Returns
 * undefined if index.json is gone.
 * @throws CatalogInvalid, TreeUnreadable
 */
export async function readTreeFiles(root: string, changedAtMs: number): Promise<TreeFiles | undefined> {
  const path = `${root}/${CATALOG_FILE}`;
  const index = await readRegular(path, MAX_CATALOG_BYTES).catch((error: unknown) => {
    throw asReadRefusal(error, path);
  });
  if (index === undefined) return undefined;
  if (typeof index === 'string') throw await catalogError(path, index);
  const inventory = await readRegular(`${root}/${INVENTORY_FILE}`, MAX_INVENTORY_BYTES);
  return {
    catalog: parseCatalog(index.bytes.toString('utf8'), path),
    indexJson: index.bytes,
    inventoryJson: typeof inventory === 'object' ? inventory.bytes : undefined,
    changedAtMs,
  };
}

/** `found`: the kind of the file at `path`, in words. */
async function catalogError(path: string, found: string): Promise<CatalogInvalid> {
  if (isFileText(found)) return catalogTooLargeError(path, found);
  const target = await readlink(path).catch(() => undefined);
  if (target === undefined)
    return new CatalogInvalid(`${path} is not a regular file`, {
      subject: path,
      found,
      hint: 'Move it away by hand, then run sync, which writes a new one.',
    });
  const folder = resolve(dirname(path), dirname(target));
  const leadsOut = basename(target) === CATALOG_FILE && folder !== dirname(path);
  return new CatalogInvalid(`${path} is a link, and links within the tree are not followed`, {
    subject: path,
    found: `a symbolic link to ${target}`,
    hint: `Mount a folder of regular files: an image or a volume claim. (A ConfigMap, a Secret and a projected volume consist of links.)${leadsOut ? ` Or point --tree at ${folder}.` : ''}`,
  });
}
