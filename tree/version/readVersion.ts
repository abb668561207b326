import { lstat } from 'node:fs/promises';
import { parseBoundedJson } from '../../base/boundedJson.ts';
import { isAbsent } from '../../base/errno.ts';
import { asReadRefusal, TreeUnreadable } from '../errors.ts';
import { METADATA_FILE, requireFit } from '../names.ts';
import { isFileText, kindOf, readRegular } from '../regularFile.ts';
import { type PublishedVersion, parsePublished } from './published.ts';

const MAX_METADATA_BYTES = 8 * 1024 * 1024;

/**
 * Returns the metadata.json of a version; undefined if it does not exist, is invalid, or belongs to another version. Does not
 * follow links. @throws TreeNameUnfit, TreeUnreadable (of a folder), TreeFault
 */
export async function readVersion(
  treeDir: string,
  name: string,
  version: string,
): Promise<PublishedVersion | undefined> {
  const found = await locateVersion(treeDir, name, version);
  if (found.state !== 'folder') return undefined;
  const read = await readMetadata(treeDir, name, version);
  return 'metadata' in read ? read.metadata : undefined;
}

export type Location =
  | { readonly state: 'folder' }
  | { readonly state: 'missing' }
  /** Something else is there: its path relative to the tree, and its kind (see kindOf). */
  | { readonly state: 'foreign'; readonly path: string; readonly kind: string };

/** Whether `<tree>/<name>/<version>` is a folder that can be reached without following a link. @throws TreeNameUnfit */
export async function locateVersion(treeDir: string, name: string, version: string): Promise<Location> {
  requireFit(name, version);
  for (const path of [name, `${name}/${version}`]) {
    try {
      const stat = await lstat(`${treeDir}/${path}`);
      if (!stat.isDirectory()) return { state: 'foreign', path, kind: kindOf(stat) };
    } catch (error) {
      if (isAbsent(error)) return { state: 'missing' };
      throw asReadRefusal(error, `${treeDir}/${path}`);
    }
  }
  return { state: 'folder' };
}

export type MetadataRead =
  | { readonly metadata: PublishedVersion; readonly text: string }
  /**
   * `foreign`: sync did not publish what is there and cannot publish over it. `unreadable`: this user may list the folder but
   * not read the file.
   */
  | { readonly problem: string; readonly foreign?: boolean; readonly unreadable?: true };

/** A predicate about a file. */
export const UNREADABLE = 'may not be read by this user';

/** Reads metadata.json of a version whose folder the caller has located. @throws TreeUnreadable (of that folder), TreeFault */
export async function readMetadata(treeDir: string, name: string, version: string): Promise<MetadataRead> {
  const path = `${treeDir}/${name}/${version}/${METADATA_FILE}`;
  const read = await readRegular(path, MAX_METADATA_BYTES).catch(async error => {
    const refusal = asReadRefusal(error, path);
    if (refusal instanceof TreeUnreadable && (await isThere(path))) return null;
    throw refusal;
  });
  if (read === null) return { problem: `${METADATA_FILE} ${UNREADABLE}`, unreadable: true };
  if (read === undefined) return { problem: `${METADATA_FILE} is missing` };
  if (typeof read === 'string') return { problem: `${METADATA_FILE} is ${read}`, foreign: !isFileText(read) };
  const text = read.bytes.toString('utf8');
  let value: unknown;
  try {
    value = parseBoundedJson(text);
  } catch {
    return { problem: `${METADATA_FILE} is not JSON` };
  }
  const metadata = parsePublished(value);
  if (typeof metadata === 'string') return { problem: `${METADATA_FILE} is invalid (${metadata})` };
  if (metadata.name !== name || metadata.version !== version)
    return { problem: `${METADATA_FILE} belongs to ${metadata.name} ${metadata.version}` };
  return { metadata, text };
}

/** Distinguishes a file that may not be read from a folder that may not be listed. */
async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}
