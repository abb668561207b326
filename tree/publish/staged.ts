import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TreeStagedWrong } from '../errors.ts';
import { requireFit, requireFitFile } from '../names.ts';
import { kindOf } from '../regularFile.ts';
import { type PublishedVersion, parsePublished } from '../version/published.ts';
import { type CatalogFile, fileTime, folderTime, ownFiles, versionFiles } from '../version/versionFiles.ts';
import { finishFile, finishFolder, syncFolder } from './durable.ts';

/**
 * Makes a staged folder ready to be renamed into the tree: checks that it contains exactly the files of its metadata, adds
 * the files that sync makes, sets modes and times, and syncs everything to the disk. Returns the version's files.
 * @throws TreeStagedWrong, TreeNameUnfit
 */
export async function completeStaged(dir: string, metadata: PublishedVersion): Promise<readonly CatalogFile[]> {
  requireFit(metadata.name, metadata.version);
  for (const file of Object.keys(metadata.files)) requireFitFile(file);
  const shape = parsePublished(metadata);
  if (typeof shape === 'string') throw stagedWrongError(metadata, 'metadata as PublishedVersion describes it', shape);
  const files = versionFiles(metadata);
  const own = ownFiles(metadata);
  await requireExactly(
    dir,
    metadata,
    files.filter(file => !own.has(file.name)),
  );
  // Concurrently, so that a journalling file system commits several files together. Waits for all of them even if one fails:
  // the caller then removes the folder.
  const finishing = files.map(({ name, sha256 }) => finishFile(join(dir, name), fileTime(sha256), own.get(name)));
  const failed = (await Promise.allSettled(finishing)).find(result => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  await finishFolder(dir, folderTime(metadata.created));
  await syncFolder(dir);
  return files;
}

async function requireExactly(dir: string, metadata: PublishedVersion, files: readonly CatalogFile[]): Promise<void> {
  const names = new Set(files.map(file => file.name));
  const extra = (await readdir(dir)).find(entry => !names.has(entry));
  if (extra !== undefined)
    throw stagedWrongError(metadata, 'plugin.wasm and the files named in the metadata', JSON.stringify(extra));
  for (const { name, sizeBytes } of files) {
    const stat = await lstat(join(dir, name)).catch(() => undefined);
    if (!stat?.isFile()) throw stagedWrongError(metadata, `a file ${name}`, stat === undefined ? 'none' : kindOf(stat));
    if (stat.size !== sizeBytes)
      throw stagedWrongError(metadata, `${name} of ${sizeBytes} bytes`, `${stat.size} bytes`);
  }
}

/** Returns the refusal of a staged folder that differs from its metadata. */
export function stagedWrongError(metadata: PublishedVersion, expected: string, found: string): TreeStagedWrong {
  return new TreeStagedWrong(`The files staged for ${metadata.name} ${metadata.version} differ from their metadata`, {
    subject: `${metadata.name} ${metadata.version}`,
    expected,
    found,
    hint: 'Run it again. If it fails again, report it: this is a fault of plugin-mirror or of the disk.',
  });
}
