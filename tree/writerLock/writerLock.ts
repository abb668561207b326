import { randomUUID } from 'node:crypto';
import { link, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { errno, isAbsent } from '../../base/errno.ts';
import { TreeLocked, TreeLockLost } from '../errors.ts';
import { LOCK_FILE } from '../names.ts';
import { readRegular } from '../regularFile.ts';
import { holderState, type LockRecord, ownRecord, STALE_AFTER_MS } from './holder.ts';

/** Who holds a tree's lock. */
export interface LockHolder {
  /** Undefined if the lock cannot be read. */
  readonly pid: number | undefined;
  readonly host: string;
  /** ISO 8601, by the holder's clock. */
  readonly since: string;
}

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Default 0: refuse at once. */
  readonly waitMs?: number;
  readonly onWait?: (holder: LockHolder) => void;
}

export interface TreeLock {
  /** @throws TreeLockLost if another process took the lock over */
  assertHeld(): Promise<void>;
  release(): Promise<void>;
}

const POLL_MS = 100;
const HEARTBEAT_MS = 10_000;

/**
 * Takes `<tree>/.lock`, which is what makes one writer of a tree. The lock is in the tree itself, since that is the one
 * place that every process sees, whatever else of the machine it sees. A lock is stale if its process is gone (same
 * machine) or has not written to it for a minute (another machine, by the file server's clock alone).
 * @throws TreeLocked, the signal's reason
 */
export async function lockTree(treeDir: string, { signal, waitMs = 0, onWait }: LockOptions): Promise<TreeLock> {
  const deadline = performance.now() + waitMs;
  let waiting = false;
  for (;;) {
    signal?.throwIfAborted();
    const outcome = await attempt(treeDir);
    if ('lock' in outcome) return outcome.lock;
    if (performance.now() >= deadline) throw locked(treeDir, outcome.holder);
    if (!waiting) onWait?.(outcome.holder);
    waiting = true;
    // The abort itself is told at the head of the loop, with the reason that the signal gives.
    await delay(POLL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  }
}

type Outcome = { readonly lock: TreeLock } | { readonly holder: LockHolder };

/** A process that wants the lock. Its token is never used again: the protocol below rests on that. */
interface Candidate {
  readonly path: string;
  readonly record: LockRecord;
  /** When its file was written, by the file server's clock. */
  readonly mtimeMs: number;
}

interface Seen {
  readonly token: string;
  readonly held: boolean;
  readonly certain: boolean;
  readonly holder: LockHolder;
}

async function attempt(treeDir: string): Promise<Outcome> {
  const lockPath = `${treeDir}/${LOCK_FILE}`;
  // Looked at first, so that a refusal leaves no trace in a tree that somebody else has just completed.
  const first = await look(lockPath, undefined);
  if (first?.held && first.certain) return { holder: first.holder };
  const candidate = await makeCandidate(treeDir);
  try {
    for (;;) {
      if (await claim(candidate, lockPath)) return { lock: await hold(treeDir, candidate) };
      const seen = await look(lockPath, candidate);
      if (seen === undefined) continue;
      const inTheWay = seen.held ? seen : await takeOver(treeDir, candidate, seen);
      if (inTheWay === 'retry') continue;
      return inTheWay === 'taken' ? { lock: await hold(treeDir, candidate) } : { holder: inTheWay.holder };
    }
  } finally {
    await rm(candidate.path, { force: true });
  }
}

/**
 * Replaces a stale lock. Only one process may do so: the one that created `.lock.<token of the stale lock>`, which link(2)
 * grants once. If that process died over it, the right passes to whoever creates `.lock.<its token>`, and so on. The
 * stale lock is overwritten by rename, so that there is no moment without a lock; tokens are never used twice, so that
 * whoever comes late finds another token in the lock and begins again.
 */
async function takeOver(treeDir: string, candidate: Candidate, stale: Seen): Promise<Seen | 'retry' | 'taken'> {
  const lockPath = `${treeDir}/${LOCK_FILE}`;
  const rights = [`${lockPath}.${stale.token}`];
  for (;;) {
    const right = rights.at(-1) ?? lockPath;
    if (await claim(candidate, right)) break;
    const rival = await look(right, candidate);
    if (rival === undefined) return 'retry';
    if (rival.held) return rival;
    rights.push(`${lockPath}.${rival.token}`);
  }
  const now = await look(lockPath, candidate);
  if (now?.token !== stale.token) {
    await rm(rights.at(-1) ?? candidate.path, { force: true });
    return 'retry';
  }
  await rename(candidate.path, lockPath);
  for (const right of rights) await rm(right, { force: true });
  return 'taken';
}

async function makeCandidate(treeDir: string): Promise<Candidate> {
  const record = await ownRecord(randomUUID());
  const path = `${treeDir}/${LOCK_FILE}-${record.token}`;
  await writeNew(path, record);
  return { path, record, mtimeMs: (await lstat(path)).mtimeMs };
}

/** Puts the candidate's record under a path that nobody has; false if somebody has. */
async function claim({ path: from, record }: Candidate, path: string): Promise<boolean> {
  try {
    // Whole at once, unlike a file that is created and then written.
    await link(from, path);
    return true;
  } catch (error) {
    if (errno(error) === 'EEXIST') return false;
    if (!NO_LINKS.has(errno(error) ?? '')) throw error;
  }
  // Whoever reads it in between sees no record, and takes that for a lock as long as it is fresh.
  return writeNew(path, record).then(
    () => true,
    error => {
      if (errno(error) === 'EEXIST') return false;
      throw error;
    },
  );
}

/** What file systems without hard links answer to link(2). */
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

async function look(path: string, candidate: Candidate | undefined): Promise<Seen | undefined> {
  const stat = await lstat(path).catch(error => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
  const read = await readRegular(path, 64 * 1024);
  if (stat === undefined || read === undefined) return undefined;
  const text = typeof read === 'string' ? '' : read.bytes.toString('utf8');
  // Without a file of our own, just written, there is no telling the file server's time: then what may be held is not.
  const quietMs = candidate === undefined ? undefined : candidate.mtimeMs - stat.mtimeMs;
  const { held, certain, record } = await holderState(text, quietMs);
  return {
    token: record?.token ?? `unreadable-${stat.ino}-${stat.mtimeMs}`,
    held,
    certain,
    holder: record ?? { pid: undefined, host: 'an unknown host', since: stat.mtime.toISOString() },
  };
}

async function hold(treeDir: string, candidate: Candidate): Promise<TreeLock> {
  const lockPath = `${treeDir}/${LOCK_FILE}`;
  const text = JSON.stringify(candidate.record);
  const handle = await open(lockPath, 'r+');
  const { ino } = await handle.stat({ bigint: true });
  // Leftovers in the way of nobody: not worth failing for.
  await sweep(treeDir, candidate).catch(() => undefined);
  let beat = Promise.resolve();
  const heartbeat = setInterval(() => {
    // The same bytes again: only the time of writing is meant. A beat that fails is made good by the next one.
    beat = handle.write(text, 0).then(
      () => undefined,
      () => undefined,
    );
  }, HEARTBEAT_MS).unref();
  const isOurs = async (): Promise<boolean> =>
    lstat(lockPath, { bigint: true }).then(
      stat => stat.ino === ino,
      () => false,
    );
  return {
    async assertHeld() {
      if (await isOurs()) return;
      throw new TreeLockLost(`The lock of ${treeDir} was lost to another process`, {
        subject: treeDir,
        expected: `${lockPath} as process ${candidate.record.pid} wrote it`,
        found: 'another file, or none',
        hint: 'Run it again. This happens if a process is suspended for longer than a minute, or if the lock is deleted by hand.',
      });
    },
    async release() {
      clearInterval(heartbeat);
      await beat;
      if (await isOurs()) await rm(lockPath, { force: true });
      await handle.close();
    },
  };
}

/** Removes what killed candidates left behind. */
async function sweep(treeDir: string, candidate: Candidate): Promise<void> {
  for (const entry of await readdir(treeDir)) {
    if (!entry.startsWith(`${LOCK_FILE}-`) && !entry.startsWith(`${LOCK_FILE}.`)) continue;
    const seen = await look(`${treeDir}/${entry}`, candidate);
    if (seen !== undefined && !seen.held) await rm(`${treeDir}/${entry}`, { force: true });
  }
}

function locked(treeDir: string, { pid, host, since }: LockHolder): TreeLocked {
  const holder = pid === undefined ? 'another process' : `process ${pid} on ${host}`;
  return new TreeLocked(`${treeDir} is being written by ${holder} since ${since}`, {
    subject: treeDir,
    expected: 'one sync at a time in one folder',
    found: `${holder}, since ${since}`,
    hint: `Wait for it to end, or let sync do so with --wait SECONDS. If it is no longer there, its lock (${treeDir}/${LOCK_FILE}) counts as stale after ${STALE_AFTER_MS / 1000} seconds.`,
  });
}
