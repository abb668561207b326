import { Refusal } from '../../base/refusal.ts';
import { type CacheEntry, CacheFolder } from './cacheFolder.ts';
import { DiskFault } from './diskFault.ts';

/** The cache path is not a folder, or this user may not read or write it, or it cannot hold a blob. */
export class CacheUnusable extends Refusal {
  readonly code = 'CACHE_UNUSABLE';
}

/** A part that was last written this long ago will not be resumed; one younger than the second may still be growing. */
const STALE_PART_MS = 7 * 24 * 3_600_000;
const FRESH_PART_MS = 10 * 60_000;

export interface CacheCleaning {
  readonly removed: number;
  readonly freedBytes: number;
  readonly keptBytes: number;
}

/** Lists the blobs and parts in a cache folder, least recently used first. A missing folder is empty. @throws CacheUnusable */
export async function listCache(dir: string): Promise<CacheEntry[]> {
  return withRefusal(dir, () => new CacheFolder(dir).list());
}

/**
 * Removes the least recently used blobs and parts of blobs until at most `keepBytes` are left; default 0, which removes all.
 * Safe while other processes use the folder: an open blob can be read to its end. @throws CacheUnusable
 */
export async function cleanCache(dir: string, options: { readonly keepBytes?: number } = {}): Promise<CacheCleaning> {
  return withRefusal(dir, () => remove(new CacheFolder(dir), options.keepBytes ?? 0, () => false));
}

/**
 * Trims the folder at the end of a run: parts older than a week are removed, parts that may still be growing are kept.
 * @throws DiskFault, also if another user may write to the folder
 */
export async function evict(folder: CacheFolder, keepBytes: number, now = Date.now()): Promise<CacheCleaning> {
  await folder.requireTrust();
  const ageMs = (entry: CacheEntry) => now - entry.usedAt.getTime();
  for (const entry of await folder.list())
    if (entry.kind === 'partial' && ageMs(entry) > STALE_PART_MS) await folder.remove(entry.path);
  return remove(folder, keepBytes, entry => entry.kind === 'partial' && ageMs(entry) < FRESH_PART_MS);
}

async function withRefusal<T>(dir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DiskFault ? unusableError(dir, error) : error;
  }
}

function unusableError(dir: string, fault: DiskFault): CacheUnusable {
  const reason = fault.errno === 'ENOTDIR' ? 'it, or a part of its path, is not a folder' : fault.errno;
  return new CacheUnusable(`The cache folder ${dir} cannot be used: ${reason}`, {
    subject: dir,
    expected: 'a folder that this user may read and write',
    found: fault.errno,
    hint: 'Name another folder with --cache-dir, or give this user access to it. A sync continues without a cache.',
    cause: fault,
  });
}

async function remove(
  folder: CacheFolder,
  keepBytes: number,
  mustKeep: (entry: CacheEntry) => boolean,
): Promise<CacheCleaning> {
  const entries = await folder.list();
  let keptBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  let removed = 0;
  let freedBytes = 0;
  for (const entry of entries) {
    if (keptBytes <= keepBytes) break;
    if (mustKeep(entry)) continue;
    await folder.remove(entry.path);
    keptBytes -= entry.sizeBytes;
    freedBytes += entry.sizeBytes;
    removed++;
  }
  return { removed, freedBytes, keptBytes };
}
