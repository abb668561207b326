import { lstat, mkdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errno, isAbsent } from '../../base/errno.ts';
import { TreeForeign } from '../errors.ts';
import { STAGING_FOLDER } from '../names.ts';
import { kindOf } from '../regularFile.ts';
import { syncFolder } from './durable.ts';

/**
 * Where versions are put together before they appear in the tree: a hidden sibling of the tree, so that neither a reader
 * nor a Docker COPY of the tree takes it for content. Where there can be none (the tree is a mount point, or the folder
 * above it is not ours), a hidden folder in the tree. Made when first needed.
 */
export class Staging {
  readonly #treeDir: string;
  #dir: Promise<string> | undefined;
  #folders = 0;

  constructor(treeDir: string) {
    this.#treeDir = treeDir;
  }

  dir(): Promise<string> {
    this.#dir ??= makeStaging(this.#treeDir);
    return this.#dir;
  }

  async newFolder(): Promise<string> {
    const folder = join(await this.dir(), this.newName('version'));
    await mkdir(folder);
    return folder;
  }

  /** The lock has made this process the only one here, so counting is enough. */
  newName(what: string): string {
    this.#folders += 1;
    return `${what}-${this.#folders}`;
  }

  /** @param keep leaves it for the next run to recover from */
  async close(keep: boolean): Promise<void> {
    if (keep) return;
    const dir = await this.#dir?.catch(() => undefined);
    // Tried again where a caller, interrupted, is just writing another file into what it staged.
    if (dir !== undefined) await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

export const STAGING_PROBE = `${STAGING_FOLDER}-probe`;

/** Both places where a run may have left its staging. */
export function stagingPlaces(treeDir: string): string[] {
  const inside = join(treeDir, STAGING_FOLDER);
  return dirname(treeDir) === treeDir ? [inside] : [sibling(treeDir), inside];
}

/** Whether there is a staging folder at this place. @throws TreeForeign if it is something else */
export async function isStaging(place: string): Promise<boolean> {
  const found = await lstat(place).catch(error => {
    // A sibling that cannot be looked at is none of this user's.
    if (isAbsent(error) || errno(error) === 'EACCES') return undefined;
    throw error;
  });
  if (found === undefined || found.isDirectory()) return found !== undefined;
  throw new TreeForeign(`${place} is ${kindOf(found)}; the folder for unfinished versions belongs there`, {
    subject: place,
    expected: 'a folder, or nothing',
    found: kindOf(found),
    hint: 'Move it away, or choose another folder with --out.',
  });
}

function sibling(treeDir: string): string {
  return join(dirname(treeDir), `.${basename(treeDir)}${STAGING_FOLDER}`);
}

async function makeStaging(treeDir: string): Promise<string> {
  const [place = '', fallback] = stagingPlaces(treeDir);
  if (fallback !== undefined) {
    const [above, tree] = await Promise.all([stat(dirname(treeDir)), stat(treeDir)]);
    if (above.dev === tree.dev && (await canStageAt(place, treeDir))) return place;
  }
  const inside = fallback ?? place;
  await mkdir(inside, { mode: 0o700 });
  await syncFolder(treeDir);
  return inside;
}

/** Two mounts of one device have the same device number and yet allow no rename: only trying tells. */
async function canStageAt(place: string, treeDir: string): Promise<boolean> {
  const probe = join(place, 'probe');
  const probeInTree = join(treeDir, STAGING_PROBE);
  try {
    await mkdir(place, { mode: 0o700 });
    await mkdir(probe);
    await rename(probe, probeInTree);
    await rmdir(probeInTree);
    await syncFolder(dirname(place));
    return true;
  } catch (error) {
    await rm(place, { recursive: true, force: true }).catch(() => undefined);
    if (['EACCES', 'EPERM', 'EROFS', 'EXDEV'].includes(errno(error) ?? '')) return false;
    throw error;
  }
}
