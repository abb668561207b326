import { digestOf } from '../images/digestOf.ts';
import { MANIFEST_BYTES, type ManifestStore } from '../images/fetchImage.ts';
import type { Digest } from '../reference.ts';
import type { CacheFolder } from './cacheFolder.ts';
import { DiskFault, onDisk } from './diskFault.ts';

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
