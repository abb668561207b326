import { lstat, readdir } from 'node:fs/promises';
import pMap from 'p-map';
import { isAbsent } from '../../base/errno.ts';
import { asReadRefusal, TreeUnreadable } from '../errors.ts';
import { METADATA_FILE, nameProblem, versionProblem } from '../names.ts';

export interface ListingOptions {
  /** Called for each plugin folder that this user may not read, which is then skipped. Default: the error is thrown. */
  readonly onUnreadable?: (name: string, error: TreeUnreadable) => void;
}

/**
 * Returns every `<name>/<version>` folder of a tree that has a metadata.json, sorted. The catalog is not read: the folders
 * show what was published. @throws TreeUnreadable, TreeFault
 */
export async function listVersions(
  treeDir: string,
  { onUnreadable = throwError }: ListingOptions = {},
): Promise<{ readonly name: string; readonly version: string }[]> {
  const names = (await folders(treeDir)).filter(name => nameProblem(name) === undefined);
  const versions = await pMap(names, name => versionsOf(treeDir, name, onUnreadable), { concurrency: 16 });
  return versions.flat();
}

function throwError(_name: string, error: TreeUnreadable): never {
  throw error;
}

async function versionsOf(
  treeDir: string,
  name: string,
  onUnreadable: (name: string, error: TreeUnreadable) => void,
): Promise<{ name: string; version: string }[]> {
  const found = folders(`${treeDir}/${name}`).catch((error: unknown) => {
    if (!(error instanceof TreeUnreadable)) throw error;
    onUnreadable(name, error);
    return [];
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
