import { isModuleHead, openRegular } from '../../../tree/regularFile.ts';
import { EXPORT_SECTION, readAt, readExports, readSections } from '../../../tree/version/moduleSections.ts';

/** Sections before the export section. A real module has fewer than ten. */
const MOST_SECTIONS = 200;
/** Real sections have about 2 KB. */
const MOST_EXPORT_BYTES = 64 * 1024;
/** The highest id. This section comes before the export section. */
const TAG_SECTION = 13;

/**
 * Returns the names that a module exports. Reads the headers of the sections up to the export section, and nothing of the
 * code, however large the module is. Returns undefined if the file is no module of this size, or if its exports are malformed
 * or have more than 64 KiB.
 */
export async function readExportNames(path: string, sizeBytes: number): Promise<ReadonlySet<string> | undefined> {
  const file = await openRegular(path);
  if (typeof file !== 'object') return undefined;
  try {
    if ((await file.stat()).size !== sizeBytes || !isModuleHead(await readAt(file, 0, 8))) return undefined;
    const names = new Set<string>();
    for await (const { id, start, length } of readSections(file, sizeBytes, MOST_SECTIONS, malformed)) {
      if (id < EXPORT_SECTION || id === TAG_SECTION) continue;
      if (id > TAG_SECTION || (id === EXPORT_SECTION && length > MOST_EXPORT_BYTES)) return undefined;
      if (id > EXPORT_SECTION) break;
      await readExports(await readAt(file, start, length), malformed, name => names.add(name.toString('utf8')));
      break;
    }
    return names;
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

function malformed(found: string): Error {
  return new Error(found);
}
