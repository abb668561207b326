import { Refusal } from '../../base/refusal.ts';
import { TreeDiskFull, TreeLockLost, TreeNotWritable } from '../../tree/errors.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import type { PublishingTree } from '../../tree/publish/publishingTree.ts';
import { type Tree, viewTree } from '../../tree/tree.ts';
import { hasVariants } from '../../tree/version/codings.ts';
import { untrueLockfile } from '../lockfile/compareTree.ts';
import { FrozenLockUntrue, LockUnwritable } from '../lockfile/errors.ts';
import {
  type LockedVersions,
  readLockedVersions,
  renewLockfile,
  rereadLockedVersions,
} from '../lockfile/lockedVersions.ts';
import { catalogEntries, unverifiedAmong } from '../plan/catalog.ts';
import type { SyncJob } from '../plan/job.ts';
import type { SyncPlan, VersionStep } from '../plan/plan.ts';
import { planSync } from '../plan/planSync.ts';
import { planAliases } from '../plan/steps.ts';
import { type Done, type SyncReport, versionKey } from '../report.ts';
import { Session } from '../session.ts';
import { aliasOutcome, carryOut, keptVersion } from './carryOut.ts';

export type { LockfileUse } from '../lockfile/lockedVersions.ts';
export { type BundleUse, makeJob, requireNamed, type SyncJob } from '../plan/job.ts';
export { bytesToDownload, layerBytes, type SyncPlan } from '../plan/plan.ts';

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
  let tree: PublishingTree;
  try {
    tree = await openTree(job, session);
  } catch (error) {
    if (!(error instanceof TreeNotWritable) || !read.frozen) throw error;
    const report = await reportUnchanged(job, read, session);
    if (report === undefined) throw error;
    return report;
  }
  try {
    const lockfile = await rereadLockedVersions(read, job, signal);
    const plan = await planSync(job, lockfile, tree, session).catch((error: unknown) => {
      if (!signal.aborted) throw error;
      return undefined;
    });
    if (plan === undefined) return { ...reportOn(tree, session), interrupted: true };
    const fatal = plan.problems.find(it => it instanceof TreeDiskFull || it instanceof LockUnwritable);
    if (fatal !== undefined) throw fatal;
    if (job.bundle !== undefined) {
      const { findLacks } = await import('./preflight.ts');
      const lacks = await findLacks(plan, session);
      if (lacks !== undefined)
        return { ...reportOn(tree, session), outcomes: lacks.outcomes, problems: [lacks.problem] };
    }
    const report = await carryOut(plan, tree, session);
    const problem = await finishIfHeld(plan, report, tree);
    return problem === undefined ? report : { ...report, problems: [...report.problems, problem] };
  } finally {
    await tree.close();
  }
}

/** A run that has lost the tree to another one leaves the lockfile to it as well, and says so even if it notices only afterwards. */
async function finishIfHeld(plan: SyncPlan, report: SyncReport, tree: PublishingTree): Promise<Refusal | undefined> {
  try {
    await tree.requireLock();
    const problem = await finishLockfile(plan, report, tree);
    if (problem === undefined) await tree.requireLock();
    return problem;
  } catch (error) {
    if (error instanceof TreeLockLost)
      return report.problems.some(it => it instanceof TreeLockLost) ? undefined : error;
    throw error;
  }
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
  const { findLacks } = await import('./preflight.ts');
  const lacks = await findLacks(plan, session);
  if (lacks === undefined) return plan;
  const errors = new Map(lacks.outcomes.map(outcome => [versionKey(outcome), outcome.error]));
  const versions = plan.versions.map((step): VersionStep => {
    const error = errors.get(versionKey(step.wanted));
    return error === undefined ? step : { action: 'fail', wanted: step.wanted, copy: step.copy, error };
  });
  const aliases = await planAliases(job, versions, tree, session.signal);
  return { ...plan, versions, aliases, problems: [...plan.problems, lacks.problem] };
}

function openTree(
  { tree: { dir, waitMs, stampsFile } }: SyncJob,
  { signal, onEvent }: Session,
): Promise<PublishingTree> {
  return openPublishingTree(dir, {
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

/** The report of a run that has done nothing. */
function reportOn({ treeDir }: Tree, { registry }: Session): SyncReport {
  return {
    tree: treeDir,
    outcomes: [],
    drift: [],
    extras: [],
    unverified: [],
    problems: [],
    interrupted: false,
    ...registry.traffic,
    durationMs: 0,
    published: [],
  };
}

/**
 * The report of a frozen run that has nothing to do, for a tree that cannot be written to: every version, alias, compressed
 * form and the catalog are as they are to be. undefined if anything would have to be fetched or written. The tree is read
 * without its writer lock, since a read-only mount has no other writer here, and no registry is asked.
 */
async function reportUnchanged(
  job: SyncJob,
  lockfile: LockedVersions,
  { signal, onEvent }: Session,
): Promise<SyncReport | undefined> {
  const openRegistry = () => Promise.reject(new Error('no registry is asked'));
  const offline = new Session({ openRegistry, signal });
  const tree = await viewTree(job.tree);
  const plan = await planSync(job, lockfile, tree, offline);
  const { versions, aliases, catalog } = plan;
  const kept = versions.flatMap(step => (step.action === 'keep' && step.origin === undefined ? [step] : []));
  const linked = aliases.flatMap(step => (step.action === 'keep' ? [step] : []));
  if (kept.length < versions.length || linked.length < aliases.length) return undefined;
  if (kept.some(({ metadata }) => !hasVariants(metadata, job.tree.codings))) return undefined;
  if (catalog.pruned.length > 0 || catalog.error !== undefined) return undefined;
  const done: Done[] = [
    ...kept.map(keptVersion),
    ...linked.map(({ alias, copy }) => aliasOutcome(alias, copy, { unchanged: true })),
  ];
  const published = done.flatMap(({ metadata }) => metadata ?? []);
  const staying = catalog.staying.flatMap(({ metadata }) => metadata ?? []);
  const served = [...published, ...catalog.unselected, ...staying];
  if ((await tree.differingFiles(catalogEntries(job, lockfile.used, served))).length > 0) return undefined;
  for (const { outcome } of done) onEvent({ type: 'finished', outcome });
  return {
    ...reportOn(tree, offline),
    outcomes: done.map(({ outcome }) => outcome),
    drift: plan.drift,
    extras: catalog.staying.map(({ extra }) => extra),
    unverified: unverifiedAmong(catalog.unselected, job, lockfile),
    problems: plan.problems,
    published,
  };
}

/** Writes the lockfile from a report, or compares a frozen one with it. Returns the lockfile's error, if it has one. */
async function finishLockfile(
  { job: { manifest }, lockfile, versions, problems }: SyncPlan,
  report: SyncReport,
  tree: PublishingTree,
): Promise<Refusal | undefined> {
  if (!lockfile.used) return undefined;
  if (lockfile.frozen && versions.every(({ action }) => action === 'keep'))
    return problems.find(problem => problem instanceof FrozenLockUntrue);
  if (lockfile.frozen)
    return untrueLockfile(
      report.published.map(metadata => ({ key: versionKey(metadata), is: metadata })),
      lockfile,
    );
  try {
    await renewLockfile(lockfile, manifest, report, () => tree.requireLock());
    return undefined;
  } catch (error) {
    // The tree is whole by now, so the error is reported together with what was done.
    if (error instanceof Refusal) return error;
    throw error;
  }
}
