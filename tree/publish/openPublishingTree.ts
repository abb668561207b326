import { lstat, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errno } from '../../base/errno.ts';
import { makeFolder } from '../../base/makeFolder.ts';
import { asTreeRefusal, TreeUnusable } from '../errors.ts';
import type { VersionId } from '../names.ts';
import { openStamps } from '../stamps.ts';
import { UNKNOWN_TIME } from '../version/published.ts';
import { takeWriterLock, type WriterLockHolder } from '../writerLock/writerLock.ts';
import { finishFolder } from './durable.ts';
import { PublishingTree } from './publishingTree.ts';
import { recoverReplacements } from './replacement.ts';
import { isStaging, STAGING_PROBE, stagingDirs } from './staging.ts';

export interface PublishingOptions {
  /** Ends the wait for the writer lock and refuses further work. Work that has begun is completed. Default: none. */
  readonly signal?: AbortSignal;
  /** How long to wait for another run that publishes into the same tree, in milliseconds. Default 0: refuse immediately. */
  readonly waitMs?: number;
  /** Called once, when the wait begins. */
  readonly onWait?: (holder: WriterLockHolder) => void;
  /** The file that keeps the stamps of published files between runs (see Stamps). Default: none. */
  readonly stampsFile?: string | undefined;
}

/**
 * Opens a tree for writing: makes the folder if it does not exist, takes the writer lock, completes what a killed run began.
 * @throws TreeLocked, TreeUnusable, TreeNotWritable, TreeDiskFull, TreeForeign
 */
export async function openPublishingTree(dir: string, options: PublishingOptions = {}): Promise<PublishingTree> {
  const treeDir = await makeTree(dir);
  try {
    const lock = await takeWriterLock(treeDir, options);
    try {
      const recovered = await cleanUp(treeDir, () => lock.assertHeld());
      return new PublishingTree(
        treeDir,
        lock,
        recovered,
        await openStamps(options.stampsFile, treeDir),
        options.signal,
      );
    } catch (error) {
      await lock.release();
      throw error;
    }
  } catch (error) {
    throw asTreeRefusal(error, treeDir);
  }
}

/** Returns the tree's path without symlinks. Makes the folder and its parents if they do not exist. */
async function makeTree(dir: string): Promise<string> {
  const path = resolve(dir);
  const unusable = (found: string, cause: unknown): TreeUnusable =>
    new TreeUnusable(`${path} cannot be the folder of plugins: ${found}`, {
      subject: path,
      expected: 'a folder, or a path where sync can make one',
      found,
      hint: 'Choose another folder with --tree, or move away what is there.',
      cause,
    });
  try {
    const isNew = (await makeFolder(path)) === 'made';
    // Independent of the umask, because the folder is copied into images and read there by other users.
    if (isNew) await finishFolder(path, UNKNOWN_TIME);
    return await realpath(path);
  } catch (error) {
    const code = errno(error);
    const found = await lstat(path).catch(() => undefined);
    if (found?.isSymbolicLink() && (code === 'ENOENT' || code === 'EEXIST' || code === 'ELOOP'))
      throw unusable('it is a symbolic link to a path that does not exist', error);
    if (code === 'EEXIST') throw unusable('it is a file', error);
    if (code === 'ENOTDIR') throw unusable('a part of the path is a file', error);
    if (code === 'ELOOP') throw unusable('its symbolic links go in a circle', error);
    if (code === 'ENAMETOOLONG') throw unusable('the path is too long', error);
    throw asTreeRefusal(error, path);
  }
}

/** Completes the replacements that killed runs began and removes everything else that they left. */
async function cleanUp(treeDir: string, requireLock: () => Promise<void>): Promise<VersionId[]> {
  const recovered: VersionId[] = [];
  for (const dir of stagingDirs(treeDir)) {
    if (!(await isStaging(dir))) continue;
    // The folders of writers; former releases staged next to them.
    const folders = (await readdir(dir, { withFileTypes: true })).filter(entry => entry.isDirectory());
    for (const staging of [dir, ...folders.map(({ name }) => join(dir, name))])
      recovered.push(...(await recoverReplacements(treeDir, staging, requireLock)));
    await rm(dir, { recursive: true, force: true });
  }
  await rmdir(join(treeDir, STAGING_PROBE)).catch(() => undefined);
  return recovered;
}
