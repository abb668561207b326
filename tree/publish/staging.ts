import { lstat, mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errno, isAbsent } from '../../base/errno.ts';
import { TreeForeign, TreeStagedWrong } from '../errors.ts';
import { requireFit, requireFitFile, STAGING_FOLDER } from '../names.ts';
import { kindOf } from '../regularFile.ts';
import {
  type CatalogFile,
  fileTime,
  folderTime,
  ownFiles,
  type PublishedVersion,
  parsePublished,
  versionFiles,
} from '../version/published.ts';
import { finishFile, finishFolder, syncFolder } from './durable.ts';

/**
 * The folder where versions are put together before they appear in the tree: a hidden sibling of the tree, so that neither a
 * reader nor a Docker COPY of the tree takes it for content. If the tree is a mount point, or this user may not write above
 * it, a hidden folder in the tree. In it, each writer has a folder of its own, named by the token of its writer lock: a writer
 * that was suspended, lost the lock and wakes up does not touch what the next one stages. Both are made when first needed.
 */
export class Staging {
  readonly #treeDir: string;
  readonly #token: string;
  #dir: Promise<string> | undefined;
  #folders = 0;

  constructor(treeDir: string, token: string) {
    this.#treeDir = treeDir;
    this.#token = token;
  }

  dir(): Promise<string> {
    this.#dir ??= makeStaging(this.#treeDir, this.#token);
    return this.#dir;
  }

  async newFolder(): Promise<string> {
    const folder = join(await this.dir(), this.newName('version'));
    await mkdir(folder);
    return folder;
  }

  /** The folder has one writer, so a counter makes unique names. */
  newName(what: string): string {
    this.#folders += 1;
    return `${what}-${this.#folders}`;
  }

  /** @param keep leaves the folder, for the next run to recover from */
  async close(keep: boolean): Promise<void> {
    if (keep) return;
    const dir = await this.#dir?.catch(() => undefined);
    // Retries, because an interrupted caller may still be writing into a staged folder.
    if (dir === undefined) return;
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    await rmdir(dirname(dir)).catch(() => undefined);
  }
}

export const STAGING_PROBE = `${STAGING_FOLDER}-probe`;

/** Both folders in which a run may have left staged versions. */
export function stagingDirs(treeDir: string): string[] {
  const inside = join(treeDir, STAGING_FOLDER);
  return dirname(treeDir) === treeDir ? [inside] : [sibling(treeDir), inside];
}

/** Whether a staging folder exists at this path. @throws TreeForeign if the path is something else */
export async function isStaging(dir: string): Promise<boolean> {
  const found = await lstat(dir).catch(error => {
    // A sibling that this user may not see was made by another user.
    if (isAbsent(error) || errno(error) === 'EACCES') return undefined;
    throw error;
  });
  if (found === undefined || found.isDirectory()) return found !== undefined;
  throw new TreeForeign(`${dir} is ${kindOf(found)}; sync needs that path for the folder of unfinished versions`, {
    subject: dir,
    expected: 'a folder, or nothing',
    found: kindOf(found),
    hint: 'Move it away, or choose another folder with --tree.',
  });
}

function sibling(treeDir: string): string {
  return join(dirname(treeDir), `.${basename(treeDir)}${STAGING_FOLDER}`);
}

async function makeStaging(treeDir: string, token: string): Promise<string> {
  const [preferred = '', fallback] = stagingDirs(treeDir);
  if (fallback !== undefined) {
    const [above, tree] = await Promise.all([stat(dirname(treeDir)), stat(treeDir)]);
    if (above.dev === tree.dev && (await canStageAt(preferred, token, treeDir))) return join(preferred, token);
  }
  return makeFolders(fallback ?? preferred, token);
}

async function makeFolders(staging: string, token: string): Promise<string> {
  await mkdir(staging, { mode: 0o700 }).catch(error => {
    // It is there if a writer that lost the lock has not ended yet.
    if (errno(error) !== 'EEXIST') throw error;
  });
  const dir = join(staging, token);
  await mkdir(dir, { mode: 0o700 });
  await syncFolder(staging);
  await syncFolder(dirname(staging));
  return dir;
}

/** Tries a rename into the tree: two mounts of one device share a device number but allow no rename between them. */
async function canStageAt(staging: string, token: string, treeDir: string): Promise<boolean> {
  const probe = join(staging, token, 'probe');
  const probeInTree = join(treeDir, STAGING_PROBE);
  try {
    await makeFolders(staging, token);
    await mkdir(probe);
    await rename(probe, probeInTree);
    await rmdir(probeInTree);
    return true;
  } catch (error) {
    await rm(join(staging, token), { recursive: true, force: true }).catch(() => undefined);
    await rmdir(staging).catch(() => undefined);
    if (['EACCES', 'EPERM', 'EROFS', 'EXDEV'].includes(errno(error) ?? '')) return false;
    throw error;
  }
}

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
