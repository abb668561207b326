import process from 'node:process';
import { Command, Option } from 'commander';
import { path, wholeNumber } from '../options/environment.ts';
import { blobCacheDir } from '../options/paths.ts';
import { formatBytes } from '../render/format.ts';

interface CacheFlags {
  readonly cacheDir?: string;
  readonly keep?: number;
}

export function cacheCommand(): Command {
  const cacheDir = () =>
    new Option('--cache-dir <dir>', 'folder of the cache').env('PLUGIN_MIRROR_CACHE_DIR').argParser(path);
  return new Command('cache')
    .description('List or remove the blobs and parts of blobs that are kept between runs.')
    .addCommand(
      new Command('ls').description('list the entries, least recently used first').addOption(cacheDir()).action(list),
    )
    .addCommand(
      new Command('clean')
        .description('remove the entries')
        .addOption(cacheDir())
        .addOption(
          new Option('--keep <MiB>', 'keep this much of the most recently used entries').argParser(
            wholeNumber(0, 1_048_576),
          ),
        )
        .action(clean),
    );
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
