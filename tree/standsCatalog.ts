import { buildCatalog, type CatalogEntry, catalogText, inventoryText } from './buildCatalog.ts';
import { asReadRefusal } from './errors.ts';
import { CATALOG_FILE, INVENTORY_FILE } from './names.ts';
import { readRegular } from './regular.ts';

/** Whether the files that writeCatalog would write for these versions lie in the tree already, byte by byte. */
export async function standsCatalog(treeDir: string, entries: readonly CatalogEntry[]): Promise<boolean> {
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
    if (typeof found !== 'object' || !found.bytes.equals(bytes)) return false;
  }
  return true;
}
