import { asReadRefusal } from '../errors.ts';
import { CATALOG_FILE, INVENTORY_FILE } from '../names.ts';
import { isFileText, readRegular } from '../regularFile.ts';
import { buildCatalog, type CatalogEntry, catalogText, inventoryText } from './buildCatalog.ts';

/** Whether the tree already has, byte by byte, the files that writeCatalog would write for these versions. */
export async function isCatalogUnchanged(treeDir: string, entries: readonly CatalogEntry[]): Promise<boolean> {
  return (await differingFiles(treeDir, entries)).length === 0;
}

export interface DifferingFile {
  readonly file: string;
  /** A predicate about the file. */
  readonly problem: string;
  /** True for a link or a folder, which writeCatalog would refuse to replace. */
  readonly foreign?: true;
}

/** Returns the files that writeCatalog would change for these versions. @throws TreeUnreadable, TreeFault */
export async function differingFiles(treeDir: string, entries: readonly CatalogEntry[]): Promise<DifferingFile[]> {
  const differing: DifferingFile[] = [];
  const catalog = buildCatalog(entries);
  const files = [
    [CATALOG_FILE, catalogText(catalog)],
    [INVENTORY_FILE, inventoryText(catalog)],
  ] as const;
  for (const [file, text] of files) {
    const bytes = Buffer.from(text);
    const found = await readRegular(`${treeDir}/${file}`, bytes.length).catch(error => {
      throw asReadRefusal(error, `${treeDir}/${file}`);
    });
    if (found === undefined) differing.push({ file, problem: 'is missing' });
    else if (typeof found === 'string' && !isFileText(found))
      differing.push({ file, problem: `is ${found}, not a file`, foreign: true });
    else if (typeof found === 'string' || !found.bytes.equals(bytes))
      differing.push({ file, problem: 'differs from what sync would write' });
  }
  return differing;
}
