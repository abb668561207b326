import { constants, type Dirent } from 'node:fs';
import { copyFile, type FileHandle, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { digestOf } from '../../base/digest.ts';
import { addTo } from '../../base/groups.ts';
import { distrustOf, makePrivateFolder } from '../../base/makeFolder.ts';
import { MANIFEST_BYTES, type ManifestStore } from '../images/fetchImage.ts';
import { type Digest, isDigest } from '../reference.ts';
import { DiskFault, ifExists, onDisk } from './diskFault.ts';

export interface CacheEntry {
  readonly digest: Digest;
  readonly kind: 'blob' | 'partial';
  readonly path: string;
  readonly sizeBytes: number;
  readonly usedAt: Date;
}

let serial = 0;
/** Names of the parts that this process has open. */
const growing = new Set<string>();

/**
 * A folder of blobs: whole ones in `blobs/<algorithm>/<hex>`, incomplete ones in
 * `parts/<algorithm>-<hex>.<host>.<pid>.<n>.part`. Any number of processes may use it, and be killed, without a lock: a whole
 * blob appears by rename, and only the process that created a part writes it. A part left by another process is copied, because
 * in containers that share a folder neither pid nor host name proves that the process has ended.
 *
 * Nothing is read from or written to a folder in which another user of this machine could place files: all operations on blobs
 * and parts throw a DiskFault then. Other users get no access to folders and files made here.
 */
export class CacheFolder {
  readonly dir: string;
  readonly #parts: string;
  #made: Promise<void> | undefined;
  #trusted: Promise<void> | undefined;
  #leftovers: Promise<Map<string, string[]>> | undefined;
  /** Names of the parts that this object created and has closed. */
  readonly #left = new Set<string>();

  constructor(dir: string) {
    this.dir = dir;
    this.#parts = join(dir, 'parts');
  }

  blobPath(digest: Digest): string {
    const [algorithm = '', hex = ''] = digest.split(':');
    return join(this.dir, 'blobs', algorithm, hex);
  }

  /** Opens a whole blob for reading, unverified; undefined if it is missing. @throws DiskFault */
  async openBlob(digest: Digest): Promise<FileHandle | undefined> {
    await this.requireTrust();
    const path = this.blobPath(digest);
    return ifExists(async () => {
      const file = await open(path, 'r');
      const stats = await file.stat();
      if (stats.isFile() && distrustOf(path, stats) === undefined) return file;
      await file.close();
      return undefined;
    });
  }

  async removeBlob(digest: Digest): Promise<void> {
    await ifExists(() => unlink(this.blobPath(digest)));
  }

  /** Creates an empty part. @throws DiskFault */
  async createPart(digest: Digest): Promise<{ path: string; file: FileHandle }> {
    await this.#make();
    const path = this.#newPartPath(digest);
    const file = await onDisk(() => open(path, 'wx+', 0o600));
    growing.add(basename(path));
    return { path, file };
  }

  /** Takes over the longest part of a blob that this or another process left; undefined if there is none. @throws DiskFault */
  async adoptPart(digest: Digest): Promise<{ path: string; file: FileHandle; sizeBytes: number } | undefined> {
    this.#leftovers ??= this.#listLeftovers();
    const leftovers = await this.#leftovers;
    const names = leftovers.get(partKey(digest));
    leftovers.delete(partKey(digest));
    if (names === undefined) return undefined;
    const found = await Promise.all(
      names.map(async name => {
        const path = join(this.#parts, name);
        const stats = await ifExists(() => stat(path));
        return { name, sizeBytes: stats?.isFile() && distrustOf(path, stats) === undefined ? stats.size : 0 };
      }),
    );
    found.sort((a, b) => b.sizeBytes - a.sizeBytes);
    const longest = found[0]?.sizeBytes === 0 ? undefined : found.shift();
    for (const { name } of found) if (!mayBeAlive(name)) await ifExists(() => unlink(join(this.#parts, name)));
    if (longest === undefined) return undefined;
    return this.#takeOver(longest.name, digest);
  }

  async #takeOver(name: string, digest: Digest) {
    const source = join(this.#parts, name);
    let path = source;
    if (!this.#left.delete(name)) {
      path = this.#newPartPath(digest);
      const copied = await ifExists(async () => {
        await copyFile(source, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
        return true;
      });
      if (copied === undefined) return undefined;
      if (!mayBeAlive(name)) await ifExists(() => unlink(source));
    }
    const file = await ifExists(() => open(path, 'r+'));
    if (file === undefined) return undefined;
    growing.add(basename(path));
    await onDisk(() => file.chmod(0o600)); // a copy has the mode of its source
    const { size } = await onDisk(() => file.stat());
    return { path, file, sizeBytes: size };
  }

  /** Closes the use of a part that this process may resume later. */
  async leavePart(digest: Digest, path: string): Promise<void> {
    const leftovers = await this.#leftovers;
    const name = basename(path);
    growing.delete(name);
    this.#left.add(name);
    if (leftovers !== undefined) addTo(leftovers, partKey(digest), name);
  }

  /** Renames a part to the whole blob; false if it was removed or a folder has its name. Open files stay readable either way. */
  async commit(digest: Digest, path: string): Promise<boolean> {
    growing.delete(basename(path));
    const renamed = await ifExists(async () => {
      try {
        await rename(path, this.blobPath(digest));
        return true;
      } catch (error) {
        if (!isFolderInTheWay(error)) throw error;
        await unlink(path);
        return false;
      }
    });
    return renamed ?? false;
  }

  async remove(path: string): Promise<void> {
    growing.delete(basename(path));
    await ifExists(() => unlink(path));
  }

  /** Lists blobs and parts, least recently used first; other files are ignored. @throws DiskFault */
  async list(): Promise<CacheEntry[]> {
    const found: CacheEntry[] = [];
    for (const algorithm of ['sha256', 'sha512']) {
      const dir = join(this.dir, 'blobs', algorithm);
      for (const { name } of await filesIn(dir)) await describe(found, 'blob', join(dir, name), `${algorithm}:${name}`);
    }
    for (const { name } of await filesIn(this.#parts))
      await describe(found, 'partial', join(this.#parts, name), name.split('.')[0]?.replace('-', ':') ?? '');
    return found.sort((a, b) => a.usedAt.getTime() - b.usedAt.getTime() || (a.path < b.path ? -1 : 1));
  }

  async #make(): Promise<void> {
    this.#made ??= onDisk(async () => {
      for (const folder of this.#folders()) await makePrivateFolder(folder);
      this.#trusted = undefined; // the folders that were missing exist now
    });
    await this.#made;
    await this.requireTrust();
  }

  /** @throws DiskFault if another user owns one of the folders or may write to it. Missing ones are trusted. */
  async requireTrust(): Promise<void> {
    this.#trusted ??= (async () => {
      for (const folder of this.#folders()) {
        const stats = await ifExists(() => stat(folder));
        const distrust = stats && distrustOf(folder, stats);
        if (distrust !== undefined)
          throw new DiskFault(new Error(`${distrust}; change that, or name another folder with --cache-dir`));
      }
    })();
    await this.#trusted;
  }

  #folders(): string[] {
    const blobs = join(this.dir, 'blobs');
    return [this.dir, this.#parts, blobs, join(blobs, 'sha256'), join(blobs, 'sha512')];
  }

  async #listLeftovers(): Promise<Map<string, string[]>> {
    await this.#make();
    const leftovers = new Map<string, string[]>();
    for (const { name } of await filesIn(this.#parts)) {
      addTo(leftovers, name.split('.')[0] ?? '', name);
    }
    return leftovers;
  }

  #newPartPath(digest: Digest): string {
    const own = `${HOST}.${process.pid}.${Date.now().toString(36)}${(serial++).toString(36)}`;
    return join(this.#parts, `${partKey(digest)}.${own}.part`);
  }
}

const HOST = Buffer.from(hostname()).toString('base64url').slice(0, 40) || 'host';

/** Returns false if the process that created a part seems to have ended on this machine. Used only to tidy up. */
function mayBeAlive(name: string): boolean {
  const [, host, pid] = name.split('.');
  if (host !== HOST || !(Number(pid) > 0)) return true;
  if (Number(pid) === process.pid) return growing.has(name);
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}

/** One blob that cannot be kept does not make the folder unusable. */
function isFolderInTheWay(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['EISDIR', 'ENOTEMPTY', 'EEXIST'].includes(String(error.code));
}

function partKey(digest: Digest): string {
  return digest.replace(':', '-');
}

async function filesIn(dir: string): Promise<Dirent[]> {
  const entries = await ifExists(() => readdir(dir, { withFileTypes: true }));
  return (entries ?? []).filter(entry => entry.isFile());
}

async function describe(found: CacheEntry[], kind: CacheEntry['kind'], path: string, digest: string): Promise<void> {
  if (!isDigest(digest)) return;
  const stats = await ifExists(() => stat(path));
  if (stats !== undefined) found.push({ digest, kind, path, sizeBytes: stats.size, usedAt: stats.mtime });
}

/**
 * Manifests and indexes in the cache folder, in files named by their digests like those of blobs. A folder that cannot be used
 * counts as an empty one: BlobStore reports the fault.
 */
export class ManifestCache implements ManifestStore {
  readonly #folder: CacheFolder;
  #isUsable = true;

  constructor(folder: CacheFolder) {
    this.#folder = folder;
  }

  /** A damaged file is removed. */
  read(digest: Digest): Promise<Buffer | undefined> {
    return this.#attempt(async () => {
      const file = await this.#folder.openBlob(digest);
      if (file === undefined) return undefined;
      try {
        const { size } = await onDisk(() => file.stat());
        if (size > MANIFEST_BYTES) return undefined;
        const bytes = await onDisk(() => file.readFile());
        if (digestOf(bytes, digest) === digest) {
          const now = new Date();
          await file.utimes(now, now).catch(() => {}); // eviction goes by this time; a read-only cache is fine
          return bytes;
        }
      } finally {
        await file.close();
      }
      await this.#folder.removeBlob(digest);
      return undefined;
    });
  }

  async keep(digest: Digest, bytes: Buffer): Promise<void> {
    await this.#attempt(async () => {
      const { path, file } = await this.#folder.createPart(digest);
      try {
        await onDisk(() => file.writeFile(bytes));
      } catch (error) {
        await this.#folder.remove(path).catch(() => {});
        throw error;
      } finally {
        await file.close();
      }
      await this.#folder.commit(digest, path);
    });
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (!this.#isUsable) return undefined;
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DiskFault)) throw error;
      this.#isUsable = false;
      return undefined;
    }
  }
}
