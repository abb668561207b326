import type { BigIntStats } from 'node:fs';
import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { distrustOf, makePrivateFolder } from '../base/makeFolder.ts';

/**
 * Remembers files whose bytes this machine has hashed: size, mtime, ctime and inode, by path below the tree. While all four
 * are the same, the bytes are taken to be the same, because no program can set ctime back. The stamps are one file outside
 * the tree, because inodes are a fact of this machine. They are a cache: a file that cannot be read, or that another user could
 * have written, counts as empty, and a failure to write it is no failure of the run.
 */
export interface Stamps {
  /** Whether the file at `path` (below the tree) had this sha256 when it was hashed, and has not changed since. */
  matches(path: string, stat: BigIntStats, sha256: string): boolean;
  record(path: string, stat: BigIntStats, sha256: string): void;
  forget(path: string): void;
  /** Writes the file if anything changed; false if it could not be written. */
  save(): Promise<boolean>;
}

const FORMAT = 'plugin-mirror stamps 1';

/** @param stampsFile where the stamps are kept; undefined keeps them in memory only. @param treeDir the resolved path */
export async function openStamps(stampsFile: string | undefined, treeDir: string): Promise<Stamps> {
  const stamps = stampsFile === undefined ? undefined : await readStamps(stampsFile, treeDir);
  return new StampFile(stampsFile, treeDir, stamps);
}

class StampFile implements Stamps {
  readonly #stampsFile: string | undefined;
  readonly #treeDir: string;
  readonly #stamps: Map<string, string>;
  #changed = false;

  constructor(stampsFile: string | undefined, treeDir: string, stamps = new Map<string, string>()) {
    this.#stampsFile = stampsFile;
    this.#treeDir = treeDir;
    this.#stamps = stamps;
  }

  matches(path: string, stat: BigIntStats, sha256: string): boolean {
    return this.#stamps.get(path) === stamp(stat, sha256);
  }

  record(path: string, stat: BigIntStats, sha256: string): void {
    const text = stamp(stat, sha256);
    if (this.#stamps.get(path) === text) return;
    this.#stamps.set(path, text);
    this.#changed = true;
  }

  forget(path: string): void {
    this.#changed = this.#stamps.delete(path) || this.#changed;
  }

  async save(): Promise<boolean> {
    if (this.#stampsFile === undefined || !this.#changed) return true;
    const lines = [FORMAT, this.#treeDir, ...[...this.#stamps].map(([path, text]) => `${text} ${path}`)];
    const temporary = `${this.#stampsFile}.${process.pid}.tmp`;
    try {
      await makePrivateFolder(dirname(this.#stampsFile));
      await writeFile(temporary, `${lines.join('\n')}\n`, { mode: 0o600, flag: 'wx' });
      await rename(temporary, this.#stampsFile);
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined);
      return false;
    }
    this.#changed = false;
    return true;
  }
}

function stamp(stat: BigIntStats, sha256: string): string {
  return `${stat.size},${stat.mtimeNs},${stat.ctimeNs},${stat.ino},${sha256}`;
}

async function readStamps(stampsFile: string, treeDir: string): Promise<Map<string, string> | undefined> {
  const text = await readOwnFile(stampsFile).catch(() => '');
  const [format, tree, ...lines] = text.split('\n');
  // A file that was cut short by a crash lacks its last newline; then none of its lines can be trusted.
  if (format !== FORMAT || tree !== treeDir || lines.pop() !== '') return undefined;
  const stamps = new Map<string, string>();
  for (const line of lines) {
    const space = line.indexOf(' ');
    if (space > 0) stamps.set(line.slice(space + 1), line.slice(0, space));
  }
  return stamps;
}

/** Returns the text of a file; empty if another user may have written it. @throws the errors of stat, open and read */
async function readOwnFile(stampsFile: string): Promise<string> {
  const folder = dirname(stampsFile);
  if (distrustOf(folder, await stat(folder)) !== undefined) return '';
  const file = await open(stampsFile, 'r');
  try {
    return distrustOf(stampsFile, await file.stat()) === undefined ? await file.readFile('utf8') : '';
  } finally {
    await file.close();
  }
}
