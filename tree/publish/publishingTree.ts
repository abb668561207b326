import { createHash } from 'node:crypto';
import { constants, copyFile, lstat, mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errno, isAbsent, isForbidden } from '../../base/errno.ts';
import {
  buildCatalog,
  type Catalog,
  type CatalogEntry,
  catalogText,
  inventoryText,
  MAX_CATALOG_BYTES,
} from '../catalog.ts';
import { asTreeRefusal, CatalogTooLarge, TreeDiskFull } from '../errors.ts';
import { diskFullError } from '../freeSpace.ts';
import {
  CATALOG_FILE,
  INVENTORY_FILE,
  METADATA_FILE,
  MODULE_FILE,
  requireFit,
  requireFitFile,
  type VersionId,
} from '../names.ts';
import { publishedNames, type Removal, requireNotForeign, requireOurs } from '../ownership.ts';
import { kindOf, readRegular } from '../regularFile.ts';
import type { Stamps } from '../stamps.ts';
import { Tree } from '../tree.ts';
import { locateVersion } from '../version/inspectVersion.ts';
import { type CatalogFile, fileTime, type PublishedVersion, UNKNOWN_TIME } from '../version/published.ts';
import type { WriterLock } from '../writerLock/writerLock.ts';
import { finishFile, finishFolder, setTime, syncFolder } from './durable.ts';
import { applyReplacement, declareReplacement } from './replacement.ts';
import { completeStaged, Staging, stagedWrongError } from './staging.ts';

/** A private folder on the tree's file system, into which the caller writes plugin.wasm and the image's other files. */
export interface Staged {
  readonly dir: string;
}

/** The only writer of a tree: it holds the writer lock. Calls for different versions may run at the same time. */
export class PublishingTree extends Tree {
  /** Replacements that a killed run began and that opening the tree completed. */
  readonly recovered: readonly VersionId[];
  readonly #lock: WriterLock;
  readonly #signal: AbortSignal | undefined;
  readonly #staging: Staging;
  /** Plugin folders whose entries have changed and are not yet synced to the disk. */
  readonly #touched = new Set<string>();
  /** Staged folders with an intent that is not carried out yet; the next run does it if this one cannot. */
  readonly #declared = new Set<string>();
  /** Work in progress, which close awaits. */
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  constructor(
    treeDir: string,
    lock: WriterLock,
    recovered: readonly VersionId[],
    stamps: Stamps,
    signal?: AbortSignal,
  ) {
    super(treeDir, stamps);
    this.recovered = recovered;
    this.#lock = lock;
    this.#signal = signal;
    this.#staging = new Staging(treeDir, lock.token);
  }

  async stage(): Promise<Staged> {
    this.#requireOpen();
    return { dir: await this.#orRefuse(0, this.#staging.newFolder()) };
  }

  /**
   * Publishes a staged folder as `metadata.name`/`metadata.version`. Writes metadata.json, metadata.txt and
   * plugin.wasm.sha256; the caller has put plugin.wasm and the files of `metadata.files` into the folder and hashed them. A
   * new version appears by one rename. In an existing version each file is replaced by one rename, so that plugin.wasm is
   * complete at every moment. The staged folder is removed afterwards, on success and on failure.
   * @throws TreeForeign, TreeStagedWrong, TreeDiskFull, TreeNameUnfit
   */
  async publish(staged: Staged, metadata: PublishedVersion): Promise<void> {
    try {
      this.#requireOpen();
      await this.#orRefuse(metadata.sizeBytes, this.#publish(staged.dir, metadata));
    } finally {
      if (!this.#declared.has(staged.dir)) await this.discard(staged);
    }
  }

  /** Stages a copy of a published version without some of its files, to be published again with others. Throws as publish. */
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

  /** Publishes a copy of a published version under another version and returns its metadata. Throws as publish. */
  async publishAlias(target: PublishedVersion, version: string): Promise<PublishedVersion> {
    const staged = await this.stageCopy(target);
    const metadata = { ...target, version, aliasOf: target.version };
    await this.publish(staged, metadata);
    return metadata;
  }

  /**
   * Removes the published files of a version, compared by their bytes. `listed` are the files as index.json listed them;
   * default: as metadata.json lists them. To be called after writeCatalog has left the version out, so that no reader of the
   * catalog misses a file. Does nothing if the version does not exist.
   */
  async remove(name: string, version: string, listed?: readonly CatalogFile[]): Promise<Removal> {
    this.#requireOpen();
    return this.#orRefuse(0, this.#remove(name, version, listed));
  }

  /** Removes a staged folder that will not be published; close does so as well. */
  async discard(staged: Staged): Promise<void> {
    await rm(staged.dir, { recursive: true, force: true });
  }

  /** @throws TreeLockLost if another process has taken the writer lock over */
  requireLock(): Promise<void> {
    return this.#lock.assertHeld();
  }

  /** Writes snapshot-inventory.json and then index.json and syncs them to the disk. Works after an abort as well. */
  async writeCatalog(versions: readonly CatalogEntry[]): Promise<Catalog> {
    this.#requireNotClosed();
    const catalog = buildCatalog(versions);
    const [text, inventory] = [catalogText(catalog), inventoryText(catalog)];
    requireReadable(this.treeDir, text);
    await this.#orRefuse(
      text.length + inventory.length,
      (async () => {
        for (const { name } of catalog.plugins) this.#touched.add(name);
        await this.#lock.assertHeld();
        // The versions must be on the disk before the catalog that names them.
        await this.#syncTouched();
        // Both are written before the first rename, so that a full disk does not leave half of the change.
        const changed = [await this.#stageFile(INVENTORY_FILE, inventory), await this.#stageFile(CATALOG_FILE, text)];
        for (const file of changed) {
          if (file === undefined) continue;
          await this.#lock.assertHeld();
          await rename(file.from, file.to);
        }
        await syncFolder(this.treeDir);
      })(),
    );
    return catalog;
  }

  /** Removes the staging folder, saves the stamps and releases the writer lock. Can be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#running);
    let isHeld = true;
    try {
      isHeld = await this.#isLockHeld();
      if (isHeld) await this.#orRefuse(0, this.#syncTouched());
      await this.#staging.close(isHeld && this.#declared.size > 0);
      if (isHeld) await this.stamps.save();
    } finally {
      await this.#lock.release();
    }
    if (!isHeld) return;
    // Last, because the lock file was an entry of this folder.
    await setTime(this.treeDir, UNKNOWN_TIME).catch(() => undefined);
  }

  async #publish(stagedDir: string, metadata: PublishedVersion): Promise<void> {
    const { name, version } = metadata;
    const files = await completeStaged(stagedDir, metadata);
    await this.#lock.assertHeld();
    const location = await locateVersion(this.treeDir, name, version);
    requireNotForeign(this.treeDir, location);
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
      await finishFolder(folder, UNKNOWN_TIME);
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw error;
    }
    try {
      await this.#lock.assertHeld();
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
    await applyReplacement(this.treeDir, stagingDir, intent, () => this.#lock.assertHeld());
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
    requireNotForeign(this.treeDir, location);
    if (location.state === 'missing') throw stagedWrongError(target, 'a published version to copy', 'none');
    for (const file of [MODULE_FILE, ...Object.keys(target.files)]) {
      if (without.has(file)) continue;
      const from = join(this.treeDir, name, version, file);
      const stat = await lstat(from);
      if (!stat.isFile())
        requireNotForeign(this.treeDir, { state: 'foreign', path: `${name}/${version}/${file}`, kind: kindOf(stat) });
      await copyFile(from, join(dir, file), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    }
  }

  /**
   * Compares bytes, not names: a file that a user has put in place of a published one is kept. The folders are removed if they
   * are then empty.
   */
  async #remove(name: string, version: string, listed: readonly CatalogFile[] | undefined): Promise<Removal> {
    await this.#lock.assertHeld();
    const removal = await this.previewRemoval({ name, version }, listed);
    const { removed, foreign } = removal;
    if ((await locateVersion(this.treeDir, name, version)).state !== 'folder') return removal;
    if (removed.length === 0 && foreign.length > 0) return removal;
    const folder = join(this.treeDir, name, version);
    const ours = removed.map(path => basename(path));
    // By one rename if nothing else is in the folder, so that a kill leaves all or nothing. Otherwise with metadata.json last,
    // so that a later run still knows which of the remaining files were published.
    await this.#lock.assertHeld();
    if (foreign.length > 0 || !(await moveOut(folder, this.#staging))) {
      for (const file of [
        ...ours.filter(entry => entry !== METADATA_FILE),
        ...ours.filter(entry => entry === METADATA_FILE),
      ]) {
        await this.#lock.assertHeld();
        await rm(join(folder, file), { force: true });
      }
      await removeEmpty(folder);
    }
    await removeEmpty(join(this.treeDir, name));
    if (removed.length > 0) this.#touched.add(name);
    for (const path of removed) this.stamps.forget(path);
    return removal;
  }

  async #syncTouched(): Promise<void> {
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

  /** Writes a file of the tree itself into the staging folder; undefined if the tree already has it with these bytes. */
  async #stageFile(file: string, text: string): Promise<{ from: string; to: string } | undefined> {
    const to = join(this.treeDir, file);
    const time = fileTime(createHash('sha256').update(text).digest('hex'));
    const old = await readRegular(to, Buffer.byteLength(text)).catch(error => {
      // The rename that replaces it needs rights on the folder only.
      if (isForbidden(error)) return undefined;
      throw error;
    });
    if (typeof old === 'object' && old.bytes.equals(Buffer.from(text))) {
      await setTime(to, time);
      return undefined;
    }
    const stat = await lstat(to).catch(() => undefined);
    if (stat !== undefined && !stat.isFile())
      requireNotForeign(this.treeDir, { state: 'foreign', path: file, kind: kindOf(stat) });
    const from = join(await this.#staging.dir(), this.#staging.newName('file'));
    await finishFile(from, time, text);
    return { from, to };
  }

  #requireOpen(): void {
    this.#requireNotClosed();
    this.#signal?.throwIfAborted();
  }

  #requireNotClosed(): void {
    if (this.#closed) throw new Error(`The tree ${this.treeDir} has been closed for writing`);
  }

  #isLockHeld(): Promise<boolean> {
    return this.#lock.assertHeld().then(
      () => true,
      () => false,
    );
  }

  /**
   * Turns file system errors into refusals; that of a full disk names the bytes needed. A lost lock is reported first: its next
   * holder removes the staged files, which causes other errors.
   */
  async #orRefuse<T>(neededBytes: number, work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } catch (error) {
      await this.#lock.assertHeld();
      const refusal = asTreeRefusal(error, this.treeDir);
      throw refusal instanceof TreeDiskFull
        ? await diskFullError(this.treeDir, neededBytes, { cause: refusal.cause })
        : refusal;
    } finally {
      this.#running.delete(work);
    }
  }
}

async function moveOut(folder: string, staging: Staging): Promise<boolean> {
  const away = join(await staging.dir(), staging.newName('removed'));
  try {
    await rename(folder, away);
  } catch (error) {
    // overlayfs refuses to rename a folder of a lower layer.
    if (errno(error) === 'EXDEV') return false;
    throw error;
  }
  await rm(away, { recursive: true, force: true });
  return true;
}

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch(error => {
    if (errno(error) !== 'ENOTEMPTY' && errno(error) !== 'EEXIST' && errno(error) !== 'ENOENT') throw error;
  });
}

/** No reader takes a larger catalog, so the former one stays. @throws CatalogTooLarge */
function requireReadable(treeDir: string, text: string): void {
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes <= MAX_CATALOG_BYTES) return;
  throw new CatalogTooLarge(`The tree has too many versions: its ${CATALOG_FILE} would be too large to be served`, {
    subject: `${treeDir}/${CATALOG_FILE}`,
    expected: `at most ${MAX_CATALOG_BYTES} bytes, about 10,000 versions with all their documents`,
    found: `${sizeBytes} bytes`,
    hint: 'The former index.json stays. Divide the plugins into several manifests and trees, or remove versions from the manifest.',
  });
}
