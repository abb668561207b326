import process from 'node:process';
import { Command } from 'commander';
import { printable } from '../../base/printable.ts';
import { formatBytes } from '../../base/words.ts';
import { addOptions } from '../options/declare.ts';
import { OptionInvalid } from '../options/errors.ts';
import { CACHE_CLEAN_OPTIONS, CACHE_LS_OPTIONS, type CacheFlags } from '../options/tables.ts';
import { blobCacheDir } from '../options/userFolders.ts';
import { print } from '../render/print.ts';

export function cacheCommand(): Command {
  const ls = new Command('ls').description('list the entries, least recently used first');
  const cleanUp = new Command('clean').description('remove the entries');
  return new Command('cache')
    .description('List or remove the blobs and partial downloads that are kept between runs.')
    .helpCommand('help [command]', 'show the help of a command')
    .addCommand(addOptions(ls, CACHE_LS_OPTIONS).action(list))
    .addCommand(addOptions(cleanUp, CACHE_CLEAN_OPTIONS).action(clean));
}

async function list({ cacheDir }: CacheFlags): Promise<void> {
  const { listCache } = await import('../../registry/blobs/cache.ts');
  const dir = requireCacheDir(cacheDir);
  const entries = await listCache(dir);
  const lines = entries.map(
    ({ digest, kind, sizeBytes, usedAt }) =>
      `${kind.padEnd(7)} ${formatBytes(sizeBytes).padStart(7)}  ${usedAt.toISOString()}  ${digest}`,
  );
  const total = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  print(`${[...lines, `${entries.length} entries, ${formatBytes(total)} in ${printable(dir)}`].join('\n')}\n`);
}

async function clean({ cacheDir, keep = 0 }: CacheFlags): Promise<void> {
  const { cleanCache } = await import('../../registry/blobs/cache.ts');
  const dir = requireCacheDir(cacheDir);
  const { removed, freedBytes, keptBytes } = await cleanCache(dir, { keepBytes: keep * 1024 * 1024 });
  print(
    `removed ${removed} entries, ${formatBytes(freedBytes)}; ${formatBytes(keptBytes)} kept in ${printable(dir)}\n`,
  );
}

/** @throws OptionInvalid */
function requireCacheDir(chosen: string | undefined): string {
  const dir = blobCacheDir(process.env, chosen);
  if (dir !== undefined) return dir;
  throw new OptionInvalid('This user has no home folder, and so no cache', {
    subject: '--cache-dir',
    expected: 'a home folder, XDG_CACHE_HOME or --cache-dir',
    found: 'none of them',
    hint: 'Name the folder of the cache with --cache-dir.',
  });
}
