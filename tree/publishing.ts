import type { Catalog } from './catalog.ts';
import type { LockHolder } from './lock.ts';
import type { PublishedVersion } from './published.ts';
import type { Stamps } from './stamps.ts';

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

/** A private folder on the tree's file system. The caller writes plugin.wasm and the image's other files into it. */
export interface Staged {
  readonly dir: string;
}

export interface VersionKey {
  readonly name: string;
  readonly version: string;
}

export interface Removal {
  /** Paths below the tree that are gone. */
  readonly removed: readonly string[];
  /** Paths below the tree that stay because they were not published from here. */
  readonly foreign: readonly string[];
}

/** The one writer of a tree: whoever has one holds the tree's lock. Calls for different versions may run side by side. */
export interface Publishing {
  /** The tree, absolute, symlinks resolved. */
  readonly treeDir: string;
  /** Replacements that a killed run had begun and that opening brought to their end. */
  readonly recovered: readonly VersionKey[];
  /** To be given to inspectVersion, so that a run hashes each file at most once. Saved by close. */
  readonly stamps: Stamps;

  stage(): Promise<Staged>;

  /**
   * Publishes what was staged as `metadata.name`/`metadata.version`. metadata.json, metadata.txt and plugin.wasm.sha256
   * are written here; plugin.wasm and everything in `metadata.files` must lie in the staged folder, hashed by the caller.
   * A new version appears by one rename; in an existing one each file is replaced by one rename, so that plugin.wasm is
   * there and whole at every moment. The staged folder is gone afterwards, on success and on failure.
   * @throws TreeForeign, TreeStagedWrong, TreeDiskFull, TreeNameUnfit
   */
  publish(staged: Staged, metadata: PublishedVersion): Promise<void>;

  /** Publishes a copy of a published version under another version; answers its metadata. Errors as publish. */
  publishAlias(target: PublishedVersion, version: string): Promise<PublishedVersion>;

  /**
   * Removes the files of a version that were published from here. Call it after writeCatalog without that version, so
   * that no reader of the catalog meets a hole. A version that is not there is no error.
   */
  remove(name: string, version: string): Promise<Removal>;

  /** Deletes a staged folder. Needed only where publish is never reached; close would do it, too. */
  discard(staged: Staged): Promise<void>;

  /** Writes snapshot-inventory.json and then index.json, durably. Unchanged files are left alone. */
  writeCatalog(versions: readonly { metadata: PublishedVersion; pinned: boolean }[]): Promise<Catalog>;

  /** Removes the staging, saves the stamps, gives the lock back. May be called twice. */
  close(): Promise<void>;
}

/**
 * Opens a tree for writing: makes the folder if need be, takes its lock, ends what a killed run had begun.
 * @throws TreeLocked, TreeUnusable, TreeNotWritable, TreeDiskFull
 */
export async function openPublishing(treeDir: string, options: PublishingOptions = {}): Promise<Publishing> {
  throw new Error(`not built yet: ${treeDir} ${Object.keys(options)}`);
}
