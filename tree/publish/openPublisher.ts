import { lstat, realpath, rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errno } from '../../base/errno.ts';
import { makeFolder } from '../../base/makeFolder.ts';
import { asTreeRefusal, TreeUnusable } from '../errors.ts';
import { openStamps } from '../stamps.ts';
import { UNKNOWN_TIME } from '../version/versionFiles.ts';
import { type LockHolder, lockTree } from '../writerLock/writerLock.ts';
import { settleFolder } from './durable.ts';
import { OpenTree, type Publishing, type VersionKey } from './publisher.ts';
import { recoverReplacements } from './replacement.ts';
import { isStaging, STAGING_PROBE, stagingPlaces } from './staging.ts';

export interface PublishingOptions {
  /** Ends the wait for the lock and refuses further work. What has begun is brought to its end. Default: never. */
  readonly signal?: AbortSignal;
  /** How long to wait for another process that publishes into the same tree. Default 0: refuse at once. */
  readonly waitMs?: number;
  /** Called once when the wait begins. */
  readonly onWait?: (holder: LockHolder) => void;
  /** Where the stamps of the published files are kept between runs (see Stamps). Default: nowhere. */
  readonly stampsFile?: string;
}

export type { Publishing } from './publisher.ts';

/**
 * Opens a tree for writing: makes the folder if need be, takes its lock, ends what a killed run had begun.
 * @throws TreeLocked, TreeUnusable, TreeNotWritable, TreeDiskFull, TreeForeign
 */
export async function openPublishing(treeDir: string, options: PublishingOptions = {}): Promise<Publishing> {
  const dir = await makeTree(treeDir);
  try {
    const lock = await lockTree(dir, options);
    try {
      const recovered = await cleanUp(dir);
      return new OpenTree(dir, lock, recovered, await openStamps(options.stampsFile, dir), options.signal);
    } catch (error) {
      await lock.release();
      throw error;
    }
  } catch (error) {
    throw asTreeRefusal(error, dir);
  }
}

/** The tree's path without symlinks; made with everything above it if it is not there. */
async function makeTree(treeDir: string): Promise<string> {
  const path = resolve(treeDir);
  const unusable = (found: string, cause: unknown): TreeUnusable =>
    new TreeUnusable(`${path} cannot be the folder of the plugins: ${found}`, {
      subject: path,
      expected: 'a folder, or a path where one can be made',
      found,
      hint: 'Choose another folder with --out, or move away what is there.',
      cause,
    });
  try {
    const isNew = (await makeFolder(path)) === 'made';
    // Not what an umask leaves of it: this folder is copied into images and read there by other users.
    if (isNew) await settleFolder(path, UNKNOWN_TIME);
    return await realpath(path);
  } catch (error) {
    const code = errno(error);
    const found = await lstat(path).catch(() => undefined);
    if (found?.isSymbolicLink() && (code === 'ENOENT' || code === 'EEXIST' || code === 'ELOOP'))
      throw unusable('it is a symbolic link that leads nowhere', error);
    if (code === 'EEXIST') throw unusable('it is a file', error);
    if (code === 'ENOTDIR') throw unusable('a part of the path is a file', error);
    if (code === 'ELOOP') throw unusable('its symbolic links go in a circle', error);
    if (code === 'ENAMETOOLONG') throw unusable('the path is too long', error);
    throw asTreeRefusal(error, path);
  }
}

/** What killed runs left: replacements are brought to their end, everything else goes. */
async function cleanUp(treeDir: string): Promise<VersionKey[]> {
  const recovered: VersionKey[] = [];
  for (const place of stagingPlaces(treeDir)) {
    if (!(await isStaging(place))) continue;
    recovered.push(...(await recoverReplacements(treeDir, place)));
    await rm(place, { recursive: true, force: true });
  }
  await rmdir(join(treeDir, STAGING_PROBE)).catch(() => undefined);
  return recovered;
}
