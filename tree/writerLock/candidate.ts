import { randomUUID } from 'node:crypto';
import { link, lstat, open, rm } from 'node:fs/promises';
import { errno, isAbsent } from '../../base/errno.ts';
import { WRITER_LOCK_FILE } from '../names.ts';
import { readRegular } from '../regularFile.ts';
import { holderState, type LockRecord, ownRecord } from './holder.ts';

/** Who holds a tree's writer lock. */
export interface WriterLockHolder {
  /** Undefined if the lock file cannot be read. */
  readonly pid: number | undefined;
  readonly host: string;
  /** ISO 8601, by the holder's clock. */
  readonly since: string;
}

/** A process that wants the lock. The protocol rests on one rule: a token is never used twice. */
export interface Candidate {
  readonly path: string;
  readonly record: LockRecord;
  /** When its file was written, by the file server's clock. */
  readonly mtimeMs: number;
}

/** A lock file as it was found. */
export interface FoundLock {
  readonly token: string;
  readonly held: boolean;
  /** False if it was judged by its age and not by looking at the process. */
  readonly certain: boolean;
  readonly holder: WriterLockHolder;
}

export async function makeCandidate(treeDir: string): Promise<Candidate> {
  const record = await ownRecord(randomUUID());
  const path = `${treeDir}/${WRITER_LOCK_FILE}-${record.token}`;
  await writeNew(path, record);
  return { path, record, mtimeMs: (await lstat(path)).mtimeMs };
}

/** Puts the candidate's record at a path that does not exist yet. Returns false if the path exists. */
export async function claim({ path: from, record }: Candidate, path: string): Promise<boolean> {
  try {
    // A link appears with its content, unlike a file that is created first and written afterwards.
    await link(from, path);
    return true;
  } catch (error) {
    if (errno(error) === 'EEXIST') return false;
    if (!NO_LINKS.has(errno(error) ?? '')) throw error;
  }
  // A reader in between finds an empty file, which counts as held while it is fresh.
  return writeNew(path, record).then(
    () => true,
    error => {
      if (errno(error) === 'EEXIST') return false;
      throw error;
    },
  );
}

/** The errors of link(2) on file systems without hard links. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

async function writeNew(path: string, record: LockRecord): Promise<void> {
  const handle = await open(path, 'wx', 0o644);
  try {
    await handle.writeFile(JSON.stringify(record));
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/**
 * Reads a lock file; undefined if it does not exist. Its age is measured against the candidate's own file, because only that
 * has a time of the same clock; without a candidate a lock that may be held counts as held.
 */
export async function inspectLock(path: string, candidate: Candidate | undefined): Promise<FoundLock | undefined> {
  const stat = await lstat(path).catch(error => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
  const read = await readRegular(path, 64 * 1024);
  if (stat === undefined || read === undefined) return undefined;
  const text = typeof read === 'string' ? '' : read.bytes.toString('utf8');
  const quietMs = candidate === undefined ? undefined : candidate.mtimeMs - stat.mtimeMs;
  const { held, certain, record } = await holderState(text, quietMs);
  return {
    token: record?.token ?? `unreadable-${stat.ino}-${stat.mtimeMs}`,
    held,
    certain,
    holder: record ?? { pid: undefined, host: 'an unknown host', since: stat.mtime.toISOString() },
  };
}
