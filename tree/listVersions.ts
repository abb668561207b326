import { lstat, readdir } from 'node:fs/promises';
import pMap from 'p-map';
import { asTreeRefusal, isAbsent } from './errors.ts';
import { METADATA_FILE, nameProblem, versionProblem } from './names.ts';

/** Every `<name>/<version>` folder of a tree that has a metadata.json, sorted: what was published here, whatever the catalog says. */
export async function listVersions(treeDir: string): Promise<{ readonly name: string; readonly version: string }[]> {
  const names = (await folders(treeDir)).filter(name => nameProblem(name) === undefined);
  const versions = await pMap(names, name => versionsOf(treeDir, name), { concurrency: 16 });
  return versions.flat();
}

async function versionsOf(treeDir: string, name: string): Promise<{ name: string; version: string }[]> {
  const versions = (await folders(`${treeDir}/${name}`)).filter(version => versionProblem(version) === undefined);
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
    throw asTreeRefusal(error, dir);
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isFile() ?? false;
}
