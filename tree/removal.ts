import { readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CatalogFile } from './catalog.ts';
import { errno } from './errors.ts';
import { METADATA_FILE } from './names.ts';
import { isPublished, publishedFiles } from './ownership.ts';
import { locateVersion } from './readVersion.ts';
import type { Staging } from './staging.ts';
import type { Stamps } from './stamps.ts';

export interface Removal {
  /** Paths below the tree that are gone. */
  readonly removed: readonly string[];
  /** Paths below the tree that stay because they were not published from here. */
  readonly foreign: readonly string[];
}

export interface RemovalOptions {
  readonly stamps: Stamps;
  /** The version's files as index.json listed them, while it did. Default: metadata.json says what was published. */
  readonly listed?: readonly CatalogFile[];
}

/**
 * Removes the files of a version that were published from here, and its folders if that empties them. Their bytes decide,
 * not their names: what somebody has put in the place of a published file is theirs.
 */
export async function removeVersion(
  treeDir: string,
  staging: Staging,
  { name, version }: { readonly name: string; readonly version: string },
  { stamps, listed }: RemovalOptions,
): Promise<Removal> {
  const location = await locateVersion(treeDir, name, version);
  if (location.state === 'missing') return { removed: [], foreign: [] };
  if (location.state === 'foreign') return { removed: [], foreign: [location.path] };
  const folder = join(treeDir, name, version);
  const published = new Map((listed ?? (await publishedFiles(treeDir, name, version))).map(file => [file.name, file]));
  const ours: string[] = [];
  const foreign: string[] = [];
  for (const entry of (await readdir(folder)).sort()) {
    const file = published.get(entry);
    const isOurs = file !== undefined && (await isPublished(treeDir, `${name}/${version}/${entry}`, file, stamps));
    (isOurs ? ours : foreign).push(entry);
  }
  // At once if nothing else is in it, so that a kill leaves all or nothing; with metadata.json last otherwise, so that a
  // later run still knows what of the rest was published from here.
  if (foreign.length > 0 || !(await moveOut(folder, staging))) {
    for (const file of [
      ...ours.filter(entry => entry !== METADATA_FILE),
      ...ours.filter(entry => entry === METADATA_FILE),
    ])
      await rm(join(folder, file), { force: true });
    await removeEmpty(folder);
  }
  await removeEmpty(join(treeDir, name));
  const below = (entry: string): string => `${name}/${version}/${entry}`;
  return { removed: ours.map(below), foreign: foreign.map(below) };
}

async function moveOut(folder: string, staging: Staging): Promise<boolean> {
  const away = join(await staging.dir(), staging.newName('removed'));
  try {
    await rename(folder, away);
  } catch (error) {
    // A folder in a lower layer of an overlay file system cannot be renamed as a whole.
    if (errno(error) === 'EXDEV') return false;
    throw error;
  }
  await rm(away, { recursive: true, force: true });
  return true;
}

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch(error => {
    if (errno(error) !== 'ENOTEMPTY' && errno(error) !== 'EEXIST' && errno(error) !== 'ENOENT') throw error;
  });
}
