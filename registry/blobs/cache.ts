import { Refusal } from '../../base/refusal.ts';
import { type CacheEntry, CacheFolder } from './cacheFolder.ts';
import { DiskFault } from './diskFault.ts';

/** The path given as the cache is no folder, or may not be read or changed by this user. */
export class CacheUnusable extends Refusal {
  readonly code = 'CACHE_UNUSABLE';

  constructor(dir: string, fault: DiskFault) {
    super(
      `The cache folder ${dir} cannot be used: ${fault.errno === 'ENOTDIR' ? 'it, or a part of its path, is no folder' : fault.errno}`,
      {
        subject: dir,
        expected: 'a folder that this user may read and write',
        found: fault.errno,
        hint: 'Name another with --cache-dir, or give this user the right to it. A sync goes on without a cache.',
        cause: fault,
      },
    );
  }
}

/** A part nobody has touched for this long will not be resumed; one younger than the second may be growing right now. */
const STALE_PART_MS = 7 * 24 * 3_600_000;
const FRESH_PART_MS = 10 * 60_000;

export interface CacheCleaning {
  readonly removed: number;
  readonly freedBytes: number;
  readonly keptBytes: number;
}

/** What a cache folder holds, least recently used first. A folder that is not there holds nothing. @throws CacheUnusable */
export async function listCache(dir: string): Promise<CacheEntry[]> {
  return refusing(dir, () => new CacheFolder(dir).list());
}

/**
 * Removes the least recently used blobs and parts of blobs until at most `keepBytes` are left (default 0: all of them). Safe
 * while others use the folder: who has a blob open reads it to its end. @throws CacheUnusable
 */
export async function cleanCache(dir: string, options: { readonly keepBytes?: number } = {}): Promise<CacheCleaning> {
  return refusing(dir, () => remove(new CacheFolder(dir), options.keepBytes ?? 0, () => false));
}

/** The same at the end of a run: stale parts go in any case, parts that may be growing stay in any case. */
export async function evict(folder: CacheFolder, keepBytes: number, now = Date.now()): Promise<CacheCleaning> {
  const ageMs = (entry: CacheEntry) => now - entry.usedAt.getTime();
  for (const entry of await folder.list())
    if (entry.kind === 'partial' && ageMs(entry) > STALE_PART_MS) await folder.remove(entry.path);
  return remove(folder, keepBytes, entry => entry.kind === 'partial' && ageMs(entry) < FRESH_PART_MS);
}

async function refusing<T>(dir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DiskFault ? new CacheUnusable(dir, error) : error;
  }
}

async function remove(
  folder: CacheFolder,
  keepBytes: number,
  spare: (entry: CacheEntry) => boolean,
): Promise<CacheCleaning> {
  const entries = await folder.list();
  let keptBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  let removed = 0;
  let freedBytes = 0;
  for (const entry of entries) {
    if (keptBytes <= keepBytes) break;
    if (spare(entry)) continue;
    await folder.remove(entry.path);
    keptBytes -= entry.sizeBytes;
    freedBytes += entry.sizeBytes;
    removed++;
  }
  return { removed, freedBytes, keptBytes };
}
