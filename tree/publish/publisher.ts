import { constants, copyFile, lstat, mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errno, isAbsent, isForbidden } from '../../base/errno.ts';
import { buildCatalog, type CatalogEntry, catalogText, inventoryText } from '../catalog/buildCatalog.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { asTreeRefusal, TreeDiskFull } from '../errors.ts';
import { diskFull } from '../freeSpace.ts';
import { CATALOG_FILE, INVENTORY_FILE, MODULE_FILE, requireFit, requireFitFile } from '../names.ts';
import { kindOf, readRegular } from '../regularFile.ts';
import type { Stamps } from '../stamps.ts';
import type { PublishedVersion } from '../version/published.ts';
import { locateVersion } from '../version/readVersion.ts';
import { type CatalogFile, UNKNOWN_TIME } from '../version/versionFiles.ts';
import type { TreeLock } from '../writerLock/writerLock.ts';
import { setTime, settleFile, settleFolder, syncFolder } from './durable.ts';
import { publishedNames, refuseForeign, requireOurs } from './ownership.ts';
import { type Removal, removeVersion } from './removal.ts';
import { carryOut, declareReplacement } from './replacement.ts';
import { completeStaged, stagedWrong } from './staged.ts';
import { Staging } from './staging.ts';

/** A private folder on the tree's file system. The caller writes plugin.wasm and the image's other files into it. */
export interface Staged {
  readonly dir: string;
}

export interface VersionKey {
  readonly name: string;
  readonly version: string;
}

export type { Removal };

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

  /** Stages a copy of a published version without the files named, to be published again with others. Errors as publish. */
  stageCopy(published: PublishedVersion, without?: ReadonlySet<string>): Promise<Staged>;

  /** Publishes a copy of a published version under another version; answers its metadata. Errors as publish. */
  publishAlias(target: PublishedVersion, version: string): Promise<PublishedVersion>;

  /**
   * Removes the files of a version that were published from here, by their bytes: `listed` is what index.json said of
   * them, by default it is metadata.json that tells. Call it after writeCatalog without that version, so that no reader of
   * the catalog meets a hole. A version that is not there is no error.
   */
  remove(name: string, version: string, listed?: readonly CatalogFile[]): Promise<Removal>;

  /** Deletes a staged folder. Needed only where publish is never reached; close would do it, too. */
  discard(staged: Staged): Promise<void>;

  /** Writes snapshot-inventory.json and then index.json, durably. Unchanged files are left alone. After an abort, too. */
  writeCatalog(versions: readonly CatalogEntry[]): Promise<Catalog>;

  /** Removes the staging, saves the stamps, gives the lock back. May be called twice. */
  close(): Promise<void>;
}

/** A tree whose lock is held. See Publishing for what each method promises. */
export class OpenTree implements Publishing {
  readonly treeDir: string;
  readonly recovered: readonly VersionKey[];
  readonly stamps: Stamps;
  readonly #lock: TreeLock;
  readonly #signal: AbortSignal | undefined;
  readonly #staging: Staging;
  /** Name folders in which something appeared or went away: not yet seen onto the disk. */
  readonly #touched = new Set<string>();
  /** Staged folders whose replacement has been declared and not carried out: the next run ends them if this one cannot. */
  readonly #declared = new Set<string>();
  /** What has begun and not ended: closing waits for it. */
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  constructor(treeDir: string, lock: TreeLock, recovered: readonly VersionKey[], stamps: Stamps, signal?: AbortSignal) {
    this.treeDir = treeDir;
    this.recovered = recovered;
    this.stamps = stamps;
    this.#lock = lock;
    this.#signal = signal;
    this.#staging = new Staging(treeDir);
  }

  async stage(): Promise<Staged> {
    this.#requireOpen();
    return { dir: await this.#orRefuse(0, this.#staging.newFolder()) };
  }

  async publish(staged: Staged, metadata: PublishedVersion): Promise<void> {
    try {
      this.#requireOpen();
      await this.#orRefuse(metadata.sizeBytes, this.#publish(staged.dir, metadata));
    } finally {
      if (!this.#declared.has(staged.dir)) await this.discard(staged);
    }
  }

  async stageCopy(published: PublishedVersion, without: ReadonlySet<string> = new Set()): Promise<Staged> {
    const staged = await this.stage();
    try {
      await this.#orRefuse(published.sizeBytes, this.#copyFiles(published, without, staged.dir));
      return staged;
    } catch (error) {
      await this.discard(staged);
      throw error;
    }
  }

  async publishAlias(target: PublishedVersion, version: string): Promise<PublishedVersion> {
    const staged = await this.stageCopy(target);
    const metadata = { ...target, version, aliasOf: target.version };
    await this.publish(staged, metadata);
    return metadata;
  }

  async remove(name: string, version: string, listed?: readonly CatalogFile[]): Promise<Removal> {
    this.#requireOpen();
    return this.#orRefuse(0, this.#remove(name, version, listed));
  }

  async discard(staged: Staged): Promise<void> {
    await rm(staged.dir, { recursive: true, force: true });
  }

  async writeCatalog(versions: readonly CatalogEntry[]): Promise<Catalog> {
    this.#requireNotClosed();
    const catalog = buildCatalog(versions);
    const [text, inventory] = [catalogText(catalog), inventoryText(catalog)];
    await this.#orRefuse(
      text.length + inventory.length,
      (async () => {
        for (const { name } of catalog.plugins) this.#touched.add(name);
        await this.#lock.assertHeld();
        // What the catalog names has to be on the disk before it does.
        await this.#settleNames();
        // Both are written before either takes its place: a disk that is full shall not leave half of the change.
        const changed = [await this.#stageFile(INVENTORY_FILE, inventory), await this.#stageFile(CATALOG_FILE, text)];
        for (const file of changed) if (file !== undefined) await rename(file.from, file.to);
        await syncFolder(this.treeDir);
      })(),
    );
    return catalog;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#running);
    try {
      await this.#orRefuse(0, this.#settleNames());
      await this.#staging.close(this.#declared.size > 0);
      await this.stamps.save();
    } finally {
      await this.#lock.release();
    }
    // Last, since the lock itself was an entry of this folder.
    await setTime(this.treeDir, UNKNOWN_TIME).catch(() => undefined);
  }

  async #publish(stagedDir: string, metadata: PublishedVersion): Promise<void> {
    const { name, version } = metadata;
    const files = await completeStaged(stagedDir, metadata);
    await this.#lock.assertHeld();
    const location = await locateVersion(this.treeDir, name, version);
    refuseForeign(this.treeDir, location);
    if (location.state === 'missing') await this.#addVersion(stagedDir, name, version);
    else await this.#replaceVersion(stagedDir, metadata, files);
    for (const file of files) {
      const path = `${name}/${version}/${file.name}`;
      this.stamps.record(path, await lstat(join(this.treeDir, path), { bigint: true }), file.sha256);
    }
  }

  async #addVersion(stagedDir: string, name: string, version: string): Promise<void> {
    const folder = join(this.treeDir, name);
    this.#touched.add(name);
    try {
      await mkdir(folder);
      await settleFolder(folder, UNKNOWN_TIME);
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw error;
    }
    try {
      await rename(stagedDir, join(folder, version));
    } catch (error) {
      await rmdir(folder).catch(() => undefined);
      throw error;
    }
  }

  async #replaceVersion(stagedDir: string, metadata: PublishedVersion, files: readonly CatalogFile[]): Promise<void> {
    const { name, version, created } = metadata;
    const folder = `${name}/${version}`;
    const owned = await publishedNames(this.treeDir, name, version);
    await requireOurs(this.treeDir, folder, files, owned);
    const names = files.map(file => file.name);
    const stale = await this.#onlyFiles(
      folder,
      [...owned].filter(file => !names.includes(file)),
    );
    const stagingDir = await this.#staging.dir();
    const replacement = { name, version, created, stagedDir, files: names, stale };
    const intent = await declareReplacement(this.treeDir, stagingDir, replacement);
    this.#declared.add(stagedDir);
    await carryOut(this.treeDir, stagingDir, intent);
    this.#declared.delete(stagedDir);
    for (const file of stale) this.stamps.forget(`${folder}/${file}`);
  }

  async #onlyFiles(folder: string, files: readonly string[]): Promise<string[]> {
    const found: string[] = [];
    for (const file of files) {
      const stat = await lstat(join(this.treeDir, folder, file)).catch(() => undefined);
      if (stat?.isFile()) found.push(file);
    }
    return found;
  }

  async #copyFiles(target: PublishedVersion, without: ReadonlySet<string>, dir: string): Promise<void> {
    const { name, version } = target;
    requireFit(name, version);
    for (const file of Object.keys(target.files)) requireFitFile(file);
    const location = await locateVersion(this.treeDir, name, version);
    refuseForeign(this.treeDir, location);
    if (location.state === 'missing') throw stagedWrong(target, 'a published version to be copied', 'none');
    for (const file of [MODULE_FILE, ...Object.keys(target.files)]) {
      if (without.has(file)) continue;
      const from = join(this.treeDir, name, version, file);
      const stat = await lstat(from);
      if (!stat.isFile())
        refuseForeign(this.treeDir, { state: 'foreign', path: `${name}/${version}/${file}`, kind: kindOf(stat) });
      await copyFile(from, join(dir, file), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    }
  }

  async #remove(name: string, version: string, listed: readonly CatalogFile[] | undefined): Promise<Removal> {
    await this.#lock.assertHeld();
    const options = { stamps: this.stamps, ...(listed === undefined ? {} : { listed }) };
    const removal = await removeVersion(this.treeDir, this.#staging, { name, version }, options);
    if (removal.removed.length > 0) this.#touched.add(name);
    for (const path of removal.removed) this.stamps.forget(path);
    return removal;
  }

  async #settleNames(): Promise<void> {
    for (const name of this.#touched) {
      this.#touched.delete(name);
      const folder = join(this.treeDir, name);
      const stat = await lstat(folder).catch(error => {
        if (isAbsent(error)) return undefined;
        throw error;
      });
      if (!stat?.isDirectory() || stat.mtimeMs === UNKNOWN_TIME.getTime()) continue;
      await setTime(folder, UNKNOWN_TIME);
      await syncFolder(folder);
    }
  }

  /** Writes a file of the tree itself beside its place; undefined if it is there already with these bytes. */
  async #stageFile(file: string, text: string): Promise<{ from: string; to: string } | undefined> {
    const to = join(this.treeDir, file);
    const old = await readRegular(to, Buffer.byteLength(text)).catch(error => {
      // It is replaced by a rename, which asks for rights on the folder only.
      if (isForbidden(error)) return undefined;
      throw error;
    });
    if (typeof old === 'object' && old.bytes.equals(Buffer.from(text))) {
      await setTime(to, UNKNOWN_TIME);
      return undefined;
    }
    const stat = await lstat(to).catch(() => undefined);
    if (stat !== undefined && !stat.isFile())
      refuseForeign(this.treeDir, { state: 'foreign', path: file, kind: kindOf(stat) });
    const from = join(await this.#staging.dir(), this.#staging.newName('file'));
    await settleFile(from, UNKNOWN_TIME, text);
    return { from, to };
  }

  #requireOpen(): void {
    this.#requireNotClosed();
    this.#signal?.throwIfAborted();
  }

  #requireNotClosed(): void {
    if (this.#closed) throw new Error(`The publishing into ${this.treeDir} has been closed`);
  }

  /** File system errors become refusals; a full disk is told with what was needed. */
  async #orRefuse<T>(neededBytes: number, work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } catch (error) {
      const refusal = asTreeRefusal(error, this.treeDir);
      throw refusal instanceof TreeDiskFull
        ? await diskFull(this.treeDir, neededBytes, { cause: refusal.cause })
        : refusal;
    } finally {
      this.#running.delete(work);
    }
  }
}
