import { readCatalog } from '../../tree/readCatalog.ts';
import { LockUnreadable, readLock } from './lock.ts';

/** Where a tree's catalog and a lock disagree, each in words; empty if they agree. @throws the lock's and the catalog's refusals */
export async function compareTree(treeDir: string, lockPath: string): Promise<string[]> {
  const lock = await readLock(lockPath);
  if (lock === undefined) throw new LockUnreadable(lockPath, 'no such file');
  const catalog = await readCatalog(treeDir);
  const versions = (catalog?.plugins ?? []).flatMap(plugin =>
    plugin.versions.map(version => ({ name: plugin.name, ...version })),
  );
  const published = new Map(
    versions.filter(it => it.aliasOf === undefined).map(it => [`${it.name}/${it.version}`, it]),
  );
  const locked = new Set(lock.entries.map(({ name, version }) => `${name}/${version}`));
  const differing = lock.entries.flatMap(entry => {
    const found = published.get(`${entry.name}/${entry.version}`);
    const subject = `${entry.name} ${entry.version}`;
    if (found === undefined) return [`${subject} is locked, but not in the tree`];
    const digest = entry.kind === 'image' ? entry.digest : `sha256:${entry.sha256}`;
    if (found.digest !== digest) return [`${subject} is ${found.digest} in the tree, ${digest} in the lock`];
    if (found.sha256 !== entry.sha256)
      return [`${subject} has a plugin.wasm of sha256 ${found.sha256} in the tree, ${entry.sha256} in the lock`];
    return [];
  });
  const unlocked = [...published.keys()]
    .filter(key => !locked.has(key))
    .map(key => `${key.replace('/', ' ')} is in the tree, but not locked`);
  return [...differing, ...unlocked];
}
