import { readdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errno } from '../../base/errno.ts';
import { asReadRefusal, TreeUnreadable } from '../errors.ts';
import { METADATA_FILE } from '../names.ts';
import type { Stamps } from '../stamps.ts';
import { locateVersion } from '../version/readVersion.ts';
import type { CatalogFile } from '../version/versionFiles.ts';
import { isPublished, publishedFiles } from './ownership.ts';
import type { Staging } from './staging.ts';

export interface Removal {
  /** Removed paths, relative to the tree. */
  readonly removed: readonly string[];
  /** Paths that were kept because sync did not publish them, relative to the tree. */
  readonly foreign: readonly string[];
}

export interface RemovalOptions {
  readonly stamps: Stamps;
  /** Called before each step of a removal; throws if another process has taken the writer lock over. Default: nothing. */
  readonly requireLock?: () => Promise<void>;
  /** The version's files as index.json listed them. Default: the files that metadata.json lists. */
  readonly listed?: readonly CatalogFile[];
}

/**
 * Removes the published files of a version, and its folders if they are then empty. Compares bytes, not names: a file that a
 * user has put in place of a published one is kept.
 */
export async function removeVersion(
  treeDir: string,
  staging: Staging,
  { name, version }: { readonly name: string; readonly version: string },
  options: RemovalOptions,
): Promise<Removal> {
  const removal = await previewRemoval(treeDir, { name, version }, options);
  const { removed, foreign } = removal;
  if ((await locateVersion(treeDir, name, version)).state !== 'folder') return removal;
  if (removed.length === 0 && foreign.length > 0) return removal;
  const folder = join(treeDir, name, version);
  const ours = removed.map(path => basename(path));
  // By one rename if nothing else is in the folder, so that a kill leaves all or nothing. Otherwise with metadata.json last,
  // so that a later run still knows which of the remaining files were published.
  await options.requireLock?.();
  if (foreign.length > 0 || !(await moveOut(folder, staging))) {
    for (const file of [
      ...ours.filter(entry => entry !== METADATA_FILE),
      ...ours.filter(entry => entry === METADATA_FILE),
    ]) {
      await options.requireLock?.();
      await rm(join(folder, file), { force: true });
    }
    await removeEmpty(folder);
  }
  await removeEmpty(join(treeDir, name));
  return removal;
}

/** Returns what removeVersion would remove and keep, without touching anything. @throws TreeUnreadable, TreeFault */
export async function previewRemoval(
  treeDir: string,
  { name, version }: { readonly name: string; readonly version: string },
  { stamps, listed }: RemovalOptions,
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
    const isOurs = file !== undefined && (await isPublished(treeDir, path, file, stamps));
    (isOurs ? removed : foreign).push(path);
  }
  return { removed, foreign };
}

async function moveOut(folder: string, staging: Staging): Promise<boolean> {
  const away = join(await staging.dir(), staging.newName('removed'));
  try {
    await rename(folder, away);
  } catch (error) {
    // overlayfs refuses to rename a folder of a lower layer.
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
