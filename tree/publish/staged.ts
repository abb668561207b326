import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TreeStagedWrong } from '../errors.ts';
import { requireFit, requireFitFile } from '../names.ts';
import { kindOf } from '../regularFile.ts';
import { type PublishedVersion, parsePublished } from '../version/published.ts';
import { type CatalogFile, fileTime, ownFiles, versionFiles } from '../version/versionFiles.ts';
import { settleFile, settleFolder, syncFolder } from './durable.ts';

/**
 * Makes a staged folder ready to be renamed into the tree: checks that it holds what its metadata says and nothing else,
 * adds the files that are made here, sets modes and times, sees all of it onto the disk. Answers the version's files.
 * @throws TreeStagedWrong, TreeNameUnfit
 */
export async function completeStaged(dir: string, metadata: PublishedVersion): Promise<readonly CatalogFile[]> {
  requireFit(metadata.name, metadata.version);
  for (const file of Object.keys(metadata.files)) requireFitFile(file);
  const shape = parsePublished(metadata);
  if (typeof shape === 'string') throw stagedWrong(metadata, 'metadata as PublishedVersion describes it', shape);
  const files = versionFiles(metadata);
  const own = ownFiles(metadata);
  await requireExactly(
    dir,
    metadata,
    files.filter(file => !own.has(file.name)),
  );
  const time = fileTime(metadata.created);
  // Side by side: a journalling file system sees several of them onto the disk in one go. Whatever fails, all of them have
  // ended before anybody removes the folder.
  const settling = files.map(file => settleFile(join(dir, file.name), time, own.get(file.name)));
  const failed = (await Promise.allSettled(settling)).find(settled => settled.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  await settleFolder(dir, time);
  await syncFolder(dir);
  return files;
}

async function requireExactly(dir: string, metadata: PublishedVersion, files: readonly CatalogFile[]): Promise<void> {
  const names = new Set(files.map(file => file.name));
  const extra = (await readdir(dir)).find(entry => !names.has(entry));
  if (extra !== undefined)
    throw stagedWrong(metadata, 'plugin.wasm and the files named in the metadata', JSON.stringify(extra));
  for (const { name, sizeBytes } of files) {
    const stat = await lstat(join(dir, name)).catch(() => undefined);
    if (!stat?.isFile()) throw stagedWrong(metadata, `a file ${name}`, stat === undefined ? 'none' : kindOf(stat));
    if (stat.size !== sizeBytes) throw stagedWrong(metadata, `${name} of ${sizeBytes} bytes`, `${stat.size} bytes`);
  }
}

/** Something other than what the metadata says was to be published. */
export function stagedWrong(metadata: PublishedVersion, expected: string, found: string): TreeStagedWrong {
  return new TreeStagedWrong(
    `What is to be published as ${metadata.name} ${metadata.version} is not what its metadata says`,
    {
      subject: `${metadata.name} ${metadata.version}`,
      expected,
      found,
      hint: 'Run it again; if it stays so, report it: this is a fault of plugin-mirror or of the disk.',
    },
  );
}
