import { stat } from 'node:fs/promises';
import { TreeUnusable } from '../tree/errors.ts';
import { kindOf } from '../tree/regular.ts';

/**
 * What is no folder is a mistake of whoever named it, and no sync makes one of it. What is missing may come yet.
 * @throws TreeUnusable
 */
export async function requireFolder(treeDir: string): Promise<void> {
  const stats = await stat(treeDir).catch(() => undefined);
  if (stats === undefined || stats.isDirectory()) return;
  throw new TreeUnusable(`${treeDir} cannot be the folder of the plugins: it is ${kindOf(stats)}`, {
    subject: treeDir,
    expected: 'a folder that sync has published into, or is to',
    found: kindOf(stats),
    hint: 'Name the folder that index.json lies in with --tree.',
  });
}
