import { lstat, readdir } from 'node:fs/promises';
import pMap from 'p-map';
import { isAbsent } from '../../base/errno.ts';
import { asReadRefusal, TreeUnreadable } from '../errors.ts';
import { METADATA_FILE, nameProblem, versionProblem } from '../names.ts';

export interface ListingOptions {
  /** Skip the folders of plugins that this user may not read. Default false: throw. */
  readonly tolerant?: boolean;
}

/**
 * Returns every `<name>/<version>` folder of a tree that has a metadata.json, sorted. The catalog is not read: the folders
 * show what was published. @throws TreeUnreadable, TreeFault
 */
export async function listVersions(
  treeDir: string,
  { tolerant = false }: ListingOptions = {},
): Promise<{ readonly name: string; readonly version: string }[]> {
  const names = (await folders(treeDir)).filter(name => nameProblem(name) === undefined);
  const versions = await pMap(names, name => versionsOf(treeDir, name, tolerant), { concurrency: 16 });
  return versions.flat();
}

async function versionsOf(
  treeDir: string,
  name: string,
  tolerant: boolean,
): Promise<{ name: string; version: string }[]> {
  const found = folders(`${treeDir}/${name}`).catch((error: unknown) => {
    if (tolerant && error instanceof TreeUnreadable) return [];
    throw error;
  });
  const versions = (await found).filter(version => versionProblem(version) === undefined);
  const published = await pMap(versions, version => isFile(`${treeDir}/${name}/${version}/${METADATA_FILE}`), {
    concurrency: 16,
  });
  return versions.filter((_, index) => published[index]).map(version => ({ name, version }));
}

async function folders(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
      .sort();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw asReadRefusal(error, dir);
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isFile() ?? false;
}
