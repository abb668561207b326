import { lstat, open, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { TreeLocked, TreeLockLost } from '../errors.ts';
import { WRITER_LOCK_FILE } from '../names.ts';
import { type Candidate, claim, inspectLock, makeCandidate, type WriterLockHolder } from './candidate.ts';
import { STALE_AFTER_MS } from './holder.ts';
import { removeDeadCandidates, takeOver } from './takeOver.ts';

export type { WriterLockHolder };

export interface WriterLockOptions {
  /** Ends the wait; takeWriterLock then throws its reason. */
  readonly signal?: AbortSignal;
  /** How long to wait for another holder, in milliseconds. Default 0: refuse immediately. */
  readonly waitMs?: number;
  /** Called once, when the wait begins. */
  readonly onWait?: (holder: WriterLockHolder) => void;
}

/** The right to write into a tree. Not the lockfile: that is manifest.lock.json, which lists what to publish. */
export interface WriterLock {
  /** Unique to this holder. */
  readonly token: string;
  /** @throws TreeLockLost if another process took the lock over */
  assertHeld(): Promise<void>;
  release(): Promise<void>;
}

const POLL_MS = 100;
const HEARTBEAT_MS = 10_000;

/**
 * Takes `<tree>/.lock`, so that a tree has one writer at a time. The lock is in the tree itself because the tree is the only
 * thing that all of its writers see: they may run in different containers or on different machines. A lock is stale if its
 * process is gone (same machine) or has not written to it for a minute (another machine, by the file server's clock).
 * @throws TreeLocked, the signal's reason
 */
export async function takeWriterLock(
  treeDir: string,
  { signal, waitMs = 0, onWait }: WriterLockOptions,
): Promise<WriterLock> {
  const deadline = performance.now() + waitMs;
  let waiting = false;
  for (;;) {
    signal?.throwIfAborted();
    const outcome = await attempt(treeDir);
    if ('lock' in outcome) return outcome.lock;
    if (performance.now() >= deadline) throw treeLockedError(treeDir, outcome.holder);
    if (!waiting) onWait?.(outcome.holder);
    waiting = true;
    // An abort ends the delay; throwIfAborted above then throws the reason of the signal.
    await delay(POLL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  }
}

type Outcome = { readonly lock: WriterLock } | { readonly holder: WriterLockHolder };

async function attempt(treeDir: string): Promise<Outcome> {
  const lockPath = `${treeDir}/${WRITER_LOCK_FILE}`;
  // Before any file is made: a refusal then leaves the tree's modification time as it is.
  const first = await inspectLock(lockPath, undefined);
  if (first?.held && first.certain) return { holder: first.holder };
  const candidate = await makeCandidate(treeDir);
  try {
    for (;;) {
      if (await claim(candidate, lockPath)) return { lock: await hold(treeDir, candidate) };
      const found = await inspectLock(lockPath, candidate);
      if (found === undefined) continue;
      const result = found.held ? found : await takeOver(treeDir, candidate, found);
      if (result === 'retry') continue;
      return result === 'taken' ? { lock: await hold(treeDir, candidate) } : { holder: result.holder };
    }
  } finally {
    await rm(candidate.path, { force: true });
  }
}

async function hold(treeDir: string, candidate: Candidate): Promise<WriterLock> {
  const lockPath = `${treeDir}/${WRITER_LOCK_FILE}`;
  const text = JSON.stringify(candidate.record);
  const handle = await open(lockPath, 'r+');
  const { ino } = await handle.stat({ bigint: true });
  // Leftovers harm no one, so a failure to remove them is no failure of the run.
  await removeDeadCandidates(treeDir, candidate).catch(() => undefined);
  let beat = Promise.resolve();
  const heartbeat = setInterval(() => {
    // Writes the same bytes to renew the modification time. If one write fails, the next one makes up for it.
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
    token: candidate.record.token,
    async assertHeld() {
      if (await isOurs()) return;
      throw new TreeLockLost(`The writer lock of ${treeDir} was lost to another process`, {
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

function treeLockedError(treeDir: string, { pid, host, since }: WriterLockHolder): TreeLocked {
  const holder = pid === undefined ? 'another process' : `process ${pid} on ${host}`;
  return new TreeLocked(`${treeDir} has been locked by ${holder} since ${since}`, {
    subject: treeDir,
    expected: 'one sync at a time in one folder',
    found: `${holder}, since ${since}`,
    hint: `Wait for it to end, or let sync wait with --wait SECONDS. If that process is gone, its lock (${treeDir}/${WRITER_LOCK_FILE}) counts as stale after ${STALE_AFTER_MS / 1000} seconds.`,
  });
}
