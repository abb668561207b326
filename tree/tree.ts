import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Catalog, type CatalogEntry, type DifferingFile, differingFiles, readCatalog } from './catalog.ts';
import { TreeDiskFull, type TreeForeign, TreeUnreadable } from './errors.ts';
import { requireSpace } from './freeSpace.ts';
import type { VersionId } from './names.ts';
import { foreignInTheWay, foreignRootFiles, previewRemoval, type Removal } from './ownership.ts';
import { openStamps, type Stamps } from './stamps.ts';
import {
  type Inspection,
  type InspectionOptions,
  inspectVersion,
  listVersions,
  readVersion,
} from './version/inspectVersion.ts';
import type { CatalogFile, PublishedVersion } from './version/published.ts';

/** A version as it is in the tree. `inaccessible`: this user may not read its folder, so nothing can be published there. */
export type Present = Inspection & { readonly inaccessible?: TreeUnreadable };

/** A tree to read, without its writer lock. A tree that does not exist has no versions. PublishingTree extends it. */
export class Tree {
  /** Absolute, without symbolic links. */
  readonly treeDir: string;
  /** What this machine knows of the tree's files, so that a run hashes each of them at most once. */
  readonly stamps: Stamps;

  constructor(treeDir: string, stamps: Stamps) {
    this.treeDir = treeDir;
    this.stamps = stamps;
  }

  /** Returns index.json; undefined if it does not exist. @throws CatalogInvalid, CatalogNewer, TreeUnreadable, TreeFault */
  readCatalog(): Promise<Catalog | undefined> {
    return readCatalog(this.treeDir);
  }

  /** Returns the files that PublishingTree.writeCatalog would change for these versions. @throws TreeUnreadable, TreeFault */
  differingFiles(entries: readonly CatalogEntry[]): Promise<DifferingFile[]> {
    return differingFiles(this.treeDir, entries);
  }

  /**
   * Returns every version that has a metadata.json, sorted; the catalog is not read.
   * @param onUnreadable called for each plugin folder that this user may not read, which is then skipped
   * @throws what `onUnreadable` throws, TreeFault
   */
  listVersions(onUnreadable: (name: string, error: TreeUnreadable) => void): Promise<VersionId[]> {
    return listVersions(this.treeDir, { onUnreadable });
  }

  /** Returns the metadata.json of a version; undefined if it cannot be read, for whatever reason. No file is hashed. */
  readVersion({ name, version }: VersionId): Promise<PublishedVersion | undefined> {
    return readVersion(this.treeDir, name, version).catch(() => undefined);
  }

  /**
   * Compares a version's files with its metadata.json. A folder that this user may not read is damage of that version alone.
   * @throws TreeNameUnfit, TreeFault
   */
  async inspect({ name, version }: VersionId, options: Omit<InspectionOptions, 'stamps'> = {}): Promise<Present> {
    try {
      return await inspectVersion(this.treeDir, name, version, { ...options, stamps: this.stamps });
    } catch (error) {
      if (!(error instanceof TreeUnreadable)) throw error;
      return { state: 'damaged', problems: [error.message], inaccessible: error };
    }
  }

  /**
   * Returns the error that publishing a version would meet: a file or folder that sync did not publish is in its way, or this
   * user may not read what is there. undefined if the version can be published.
   * @param moduleSha256 of the module to be published, if it is known @throws TreeFault
   */
  async obstacleTo(
    { name, version }: VersionId,
    moduleSha256?: string,
  ): Promise<TreeForeign | TreeUnreadable | undefined> {
    try {
      return await foreignInTheWay(this.treeDir, name, version, moduleSha256);
    } catch (error) {
      if (error instanceof TreeUnreadable) return error;
      throw error;
    }
  }

  /** Returns the errors that writing the catalog would meet; empty if there are none. @throws TreeUnreadable, TreeFault */
  obstaclesToCatalog(): Promise<TreeForeign[]> {
    return foreignRootFiles(this.treeDir);
  }

  /** Returns what PublishingTree.remove would remove and keep. @throws TreeUnreadable, TreeFault */
  previewRemoval(it: VersionId, listed?: readonly CatalogFile[]): Promise<Removal> {
    return previewRemoval(this.treeDir, it, this.stamps, listed);
  }

  /** Returns the error of a disk that has fewer than `bytes` left for this user; undefined if they fit. @throws TreeFault */
  async lackOfSpace(bytes: number): Promise<TreeDiskFull | undefined> {
    try {
      await requireSpace(this.treeDir, bytes);
      return undefined;
    } catch (error) {
      if (error instanceof TreeDiskFull) return error;
      throw error;
    }
  }
}

/** Opens a tree to read it. @param job the folder as the user wrote it, and where this machine keeps its stamps */
export async function viewTree(job: { readonly dir: string; readonly stampsFile?: string | undefined }): Promise<Tree> {
  const treeDir = await realpath(job.dir).catch(() => resolve(job.dir));
  return new Tree(treeDir, await openStamps(job.stampsFile, treeDir));
}
