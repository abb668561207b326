import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the folder of this user's caches (XDG Base Directory Specification); undefined if the user has none. An empty or
 * relative variable is ignored, as the specification asks.
 */
export function cacheHome(env: Environment): string | undefined {
  const xdg = env.XDG_CACHE_HOME;
  const caches = xdg?.startsWith('/') ? xdg : inHome('.cache');
  return caches === undefined ? undefined : join(caches, 'plugin-mirror');
}

/** Returns the folder that keeps blobs between runs: the one of --cache-dir, or one in this user's caches, if there are any. */
export function blobCacheDir(env: Environment, chosen: string | undefined): string | undefined {
  if (chosen !== undefined) return resolve(chosen);
  const home = cacheHome(env);
  return home === undefined ? undefined : join(home, 'blobs');
}

/**
 * Returns the file that keeps size, time and inode of a tree's files since this machine last hashed them; undefined if this user
 * has no folder for caches.
 */
export function stampsFileOf(env: Environment, treeDir: string): string | undefined {
  const home = cacheHome(env);
  const name = createHash('sha256').update(resolve(treeDir)).digest('hex').slice(0, 32);
  return home === undefined ? undefined : join(home, 'stamps', name);
}

/** homedir() throws if HOME is not set and the user id has no entry in passwd: in containers, cron and CI sandboxes. */
function inHome(folder: string): string | undefined {
  try {
    const home = homedir();
    return isAbsolute(home) ? join(home, folder) : undefined;
  } catch {
    return undefined;
  }
}
