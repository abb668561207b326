import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

/** Returns the folder of this user's caches (XDG Base Directory Specification). An empty or relative variable is ignored, as the specification asks. */
export function cacheHome(env: Environment): string {
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.cache'), 'plugin-mirror');
}

/** Returns the folder that keeps blobs between runs: the one of --cache-dir, or one in this user's caches. */
export function blobCacheDir(env: Environment, chosen: string | undefined): string {
  return chosen === undefined ? join(cacheHome(env), 'blobs') : resolve(chosen);
}

/** Returns the file that keeps size, time and inode of a tree's files since this machine last hashed them. */
export function stampsFileOf(env: Environment, treeDir: string): string {
  const name = createHash('sha256').update(resolve(treeDir)).digest('hex').slice(0, 32);
  return join(cacheHome(env), 'stamps', name);
}
