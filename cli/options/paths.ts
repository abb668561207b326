import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where this user's caches go: XDG Base Directory Specification, with its default; an empty or relative value is none. */
export function cacheHome(env: Environment): string {
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.cache'), 'plugin-mirror');
}

/** Where blobs are kept unless --cache-dir says otherwise. */
export function blobCacheDir(env: Environment, chosen: string | undefined): string {
  return chosen === undefined ? join(cacheHome(env), 'blobs') : resolve(chosen);
}

/** Where this machine remembers what the files of a tree looked like when it last hashed them. */
export function stampsFileOf(env: Environment, treeDir: string): string {
  const name = createHash('sha256').update(resolve(treeDir)).digest('hex').slice(0, 32);
  return join(cacheHome(env), 'stamps', name);
}
