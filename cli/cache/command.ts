import process from 'node:process';
import { Command } from 'commander';
import { addOptions } from '../options/declare.ts';
import { blobCacheDir } from '../options/paths.ts';
import { CACHE_CLEAN_OPTIONS, CACHE_LS_OPTIONS, type CacheFlags } from '../options/tables.ts';
import { formatBytes } from '../render/format.ts';

export function cacheCommand(): Command {
  const ls = new Command('ls').description('list the entries, least recently used first');
  const cleanUp = new Command('clean').description('remove the entries');
  return new Command('cache')
    .description('List or remove the blobs and parts of blobs that are kept between runs.')
    .addCommand(addOptions(ls, CACHE_LS_OPTIONS).action(list))
    .addCommand(addOptions(cleanUp, CACHE_CLEAN_OPTIONS).action(clean));
}

async function list({ cacheDir }: CacheFlags): Promise<void> {
  const { listCache } = await import('../../registry/blobs/cache.ts');
  const dir = blobCacheDir(process.env, cacheDir);
  const entries = await listCache(dir);
  const lines = entries.map(
    ({ digest, kind, sizeBytes, usedAt }) =>
      `${kind.padEnd(7)} ${formatBytes(sizeBytes).padStart(7)}  ${usedAt.toISOString()}  ${digest}`,
  );
  const total = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  process.stdout.write(`${[...lines, `${entries.length} entries, ${formatBytes(total)} in ${dir}`].join('\n')}\n`);
}

async function clean({ cacheDir, keep = 0 }: CacheFlags): Promise<void> {
  const { cleanCache } = await import('../../registry/blobs/cache.ts');
  const dir = blobCacheDir(process.env, cacheDir);
  const { removed, freedBytes, keptBytes } = await cleanCache(dir, { keepBytes: keep * 1024 * 1024 });
  process.stdout.write(
    `removed ${removed} entries, ${formatBytes(freedBytes)}; ${formatBytes(keptBytes)} kept in ${dir}\n`,
  );
}
