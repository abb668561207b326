import { readdir, rename, rm } from 'node:fs/promises';
import { WRITER_LOCK_FILE } from '../names.ts';
import { type Candidate, claim, type FoundLock, inspectLock } from './candidate.ts';

/**
 * Replaces a stale lock. Returns `taken`, `retry` if the lock has changed meanwhile, or the lock of a process that is ahead.
 *
 * Only one process may replace it: the one that creates `.lock.<token of the stale lock>`, which link(2) allows once. If that
 * process dies in between, the right passes to the process that creates `.lock.<its token>`, and so on. The stale lock is
 * overwritten by rename, so the tree is never without a lock. A late process finds a token that it does not expect, because
 * tokens are never used twice, and starts again.
 */
export async function takeOver(
  treeDir: string,
  candidate: Candidate,
  stale: FoundLock,
): Promise<FoundLock | 'retry' | 'taken'> {
  const lockPath = `${treeDir}/${WRITER_LOCK_FILE}`;
  const rights = [`${lockPath}.${stale.token}`];
  for (;;) {
    const right = rights.at(-1) ?? lockPath;
    if (await claim(candidate, right)) break;
    const rival = await inspectLock(right, candidate);
    if (rival === undefined) return 'retry';
    if (rival.held) return rival;
    rights.push(`${lockPath}.${rival.token}`);
  }
  const now = await inspectLock(lockPath, candidate);
  if (now?.token !== stale.token) {
    await rm(rights.at(-1) ?? candidate.path, { force: true });
    return 'retry';
  }
  await rename(candidate.path, lockPath);
  for (const right of rights) await rm(right, { force: true });
  return 'taken';
}

/** Removes the files of candidates that were killed. */
export async function removeDeadCandidates(treeDir: string, candidate: Candidate): Promise<void> {
  for (const entry of await readdir(treeDir)) {
    if (!entry.startsWith(`${WRITER_LOCK_FILE}-`) && !entry.startsWith(`${WRITER_LOCK_FILE}.`)) continue;
    const found = await inspectLock(`${treeDir}/${entry}`, candidate);
    if (found !== undefined && !found.held) await rm(`${treeDir}/${entry}`, { force: true });
  }
}
