import { parseBoundedJson } from '../../base/boundedJson.ts';
import { asReadRefusal, CatalogInvalid, CatalogNewer } from '../errors.ts';
import { CATALOG_FILE } from '../names.ts';
import { isFileText, readRegular } from '../regularFile.ts';
import type { Catalog } from './catalog.ts';
import { catalogProblem } from './catalog.ts';

const MAX_BYTES = 256 * 1024 * 1024;

/**
 * Reads `<tree>/index.json`; undefined if it does not exist.
 * @throws CatalogInvalid if it is not JSON, not a catalog or not a regular file; CatalogNewer if a later version wrote it;
 * TreeUnreadable, TreeFault
 */
export async function readCatalog(treeDir: string): Promise<Catalog | undefined> {
  const path = `${treeDir}/${CATALOG_FILE}`;
  const read = await readRegular(path, MAX_BYTES).catch(error => {
    throw asReadRefusal(error, path);
  });
  if (read === undefined) return undefined;
  if (typeof read === 'string')
    throw catalogInvalidError(path, read, undefined, isFileText(read) ? undefined : MOVE_AWAY);
  return parseCatalog(read.bytes.toString('utf8'), path);
}

/** Parses the text of an index.json; errors name `path`. @throws CatalogInvalid, CatalogNewer */
export function parseCatalog(text: string, path: string): Catalog {
  let value: unknown;
  try {
    value = parseBoundedJson(text);
  } catch (cause) {
    throw catalogInvalidError(path, text === '' ? 'an empty file' : `not JSON: ${(cause as Error).message}`, cause);
  }
  const schemaVersion =
    typeof value === 'object' && value !== null && 'schemaVersion' in value ? value.schemaVersion : undefined;
  if (typeof schemaVersion === 'number' && schemaVersion > 1)
    throw new CatalogNewer(`${path} was written by a later version of plugin-mirror`, {
      subject: path,
      expected: 'schemaVersion 1',
      found: `schemaVersion ${schemaVersion}`,
      hint: 'Update plugin-mirror, or publish into another folder.',
    });
  const problem = catalogProblem(value);
  if (problem !== undefined) throw catalogInvalidError(path, problem.startsWith(':') ? `the whole${problem}` : problem);
  // Unknown keys are kept: the tree digest covers what a later version of this program may have added.
  return value as Catalog;
}

const WRITE_AGAIN =
  'Run sync again to rewrite it (the plugins stay unchanged), or delete it if the folder is not a plugin tree.';
const MOVE_AWAY =
  'Move it away by hand, because sync replaces only files that it published; then run sync, which writes the file again.';

function catalogInvalidError(path: string, found: string, cause?: unknown, hint = WRITE_AGAIN): CatalogInvalid {
  return new CatalogInvalid(`${path} is not a plugin catalog`, {
    subject: path,
    expected: 'a catalog of schemaVersion 1, as sync writes it',
    found,
    hint,
    ...(cause === undefined ? {} : { cause }),
  });
}
