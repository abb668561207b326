import type { Refusal } from '../../base/refusal.ts';
import { TreeDiskFull, TreeLockLost, TreeNotWritable } from '../../tree/errors.ts';
import { openPublishing, type Publishing } from '../../tree/publish/openPublisher.ts';
import { LockUnwritable } from '../lockfile/errors.ts';
import { readLockedVersions, rereadLockedVersions } from '../lockfile/lockedVersions.ts';
import { planAliases } from '../plan/aliases.ts';
import { type SyncJob, viewTree } from '../plan/job.ts';
import type { SyncPlan, VersionStep } from '../plan/plan.ts';
import { planSync } from '../plan/planSync.ts';
import { carryOut } from '../publish/carryOut.ts';
import { type SyncReport, versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import { finishLockfile } from './finishLockfile.ts';

export type { LockfileUse } from '../lockfile/lockedVersions.ts';
export { lockfilePath } from '../lockfile/lockfile.ts';
export { limitsOf, type SyncJob } from '../plan/job.ts';
export { bytesToDownload, layerBytes, type SyncPlan } from '../plan/plan.ts';
export { jobToInspect, requireNamed, selectVersions } from '../plan/selection.ts';

/**
 * Mirrors what a job asks for: plans under the tree's writer lock, carries the plan out, and writes the lockfile from the
 * report before the writer lock is given back, so that no other run sees the tree and its lockfile disagree.
 * @throws FrozenLockMissing, FrozenLockDiffers, the lockfile's own refusals, and what concerns the run as a whole: a tree
 * that another run holds or that cannot be written, a disk that is too small, a lockfile that would change and cannot
 */
export async function sync(job: SyncJob, session: Session): Promise<SyncReport> {
  const started = performance.now();
  const report = await run(job, session);
  return { ...report, durationMs: Math.round(performance.now() - started) };
}

async function run(job: SyncJob, session: Session): Promise<SyncReport> {
  const { signal } = session;
  const read = await readLockedVersions(job, signal);
  let publishing: Publishing;
  try {
    publishing = await openTree(job, session);
  } catch (error) {
    if (!(error instanceof TreeNotWritable) || !read.frozen) throw error;
    const { reportUnchanged } = await import('./unchanged.ts');
    const report = await reportUnchanged(job, read, session);
    if (report === undefined) throw error;
    return report;
  }
  try {
    const lockfile = await rereadLockedVersions(read, job, signal);
    const plan = await planSync(job, lockfile, publishing, session).catch((error: unknown) => {
      if (!signal.aborted) throw error;
      return undefined;
    });
    if (plan === undefined) return nothingDone(publishing.treeDir, session);
    const fatal = plan.problems.find(it => it instanceof TreeDiskFull || it instanceof LockUnwritable);
    if (fatal !== undefined) throw fatal;
    if (job.bundle !== undefined) {
      const { findLacks } = await import('../publish/preflight.ts');
      const lacks = await findLacks(plan, job.bundle, session);
      if (lacks !== undefined)
        return {
          ...nothingDone(publishing.treeDir, session),
          interrupted: false,
          outcomes: lacks.outcomes,
          problems: [lacks.problem],
        };
    }
    const report = await carryOut(plan, publishing, session);
    const problem = await finishIfHeld(plan, report, publishing);
    return problem === undefined ? report : { ...report, problems: [...report.problems, problem] };
  } finally {
    await publishing.close();
  }
}

/** A run that has lost the tree to another one leaves the lockfile to it as well. */
async function finishIfHeld(plan: SyncPlan, report: SyncReport, publishing: Publishing): Promise<Refusal | undefined> {
  try {
    await publishing.requireLock();
  } catch (error) {
    if (error instanceof TreeLockLost)
      return report.problems.some(it => it instanceof TreeLockLost) ? undefined : error;
    throw error;
  }
  return finishLockfile(plan, report);
}

/**
 * Returns the plan of a job, for a dry run: the tree, the lockfile and the cache stay as they are. A bundle is verified as by
 * the run itself: the versions that it lacks fail. Throws the errors of readLockedVersions and planSync.
 */
export async function previewSync(job: SyncJob, session: Session): Promise<SyncPlan> {
  const lockfile = await readLockedVersions(job, session.signal);
  const tree = await viewTree(job.tree);
  const plan = await planSync(job, lockfile, tree, session);
  if (job.bundle === undefined) return plan;
  const { findLacks } = await import('../publish/preflight.ts');
  const lacks = await findLacks(plan, job.bundle, session);
  if (lacks === undefined) return plan;
  const errors = new Map(lacks.outcomes.map(outcome => [versionKey(outcome), outcome.error]));
  const versions = plan.versions.map((step): VersionStep => {
    const error = errors.get(versionKey(step.wanted));
    return error === undefined ? step : { action: 'fail', wanted: step.wanted, copy: step.copy, error };
  });
  const aliases = await planAliases(job, versions, tree, session.signal);
  return { ...plan, versions, aliases, problems: [...plan.problems, lacks.problem] };
}

function openTree({ tree: { dir, waitMs, stampsFile } }: SyncJob, { signal, onEvent }: Session): Promise<Publishing> {
  return openPublishing(dir, {
    signal,
    waitMs,
    onWait: holder =>
      onEvent({
        type: 'waiting',
        message: `waiting for another sync of this tree (process ${holder.pid} on ${holder.host})`,
      }),
    stampsFile,
  });
}

/** The report of a run that was stopped before its plan was made. */
function nothingDone(treeDir: string, { registry }: Session): SyncReport {
  return {
    tree: treeDir,
    outcomes: [],
    drift: [],
    extras: [],
    unverified: [],
    problems: [],
    interrupted: true,
    ...registry.traffic,
    durationMs: 0,
    published: [],
  };
}
