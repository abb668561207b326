import { isCatalogUnchanged } from '../../tree/catalog.ts';
import type { LockedVersions } from '../lockfile/lockedVersions.ts';
import { catalogEntries, unverifiedAmong } from '../plan/catalog.ts';
import { type SyncJob, viewTree } from '../plan/job.ts';
import { planSync } from '../plan/planSync.ts';
import { aliasOutcome } from '../publish/publishAliases.ts';
import { hasVariants } from '../publish/publishVariants.ts';
import { type Done, keptVersion } from '../publish/publishVersion.ts';
import type { SyncReport } from '../report.ts';
import { Session } from '../session.ts';

/**
 * The report of a frozen run that has nothing to do, for a tree that cannot be written to: every version, alias, compressed
 * form and the catalog are as they are to be. undefined if anything would have to be fetched or written. The tree is read
 * without its writer lock, since a read-only mount has no other writer here, and no registry is asked.
 */
export async function reportUnchanged(
  job: SyncJob,
  lockfile: LockedVersions,
  { signal, onEvent }: Session,
): Promise<SyncReport | undefined> {
  const offline = new Session({ openRegistry: () => Promise.reject(new Error('no registry is asked')), signal });
  const plan = await planSync(job, lockfile, await viewTree(job.tree), offline);
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
  if (!(await isCatalogUnchanged(plan.treeDir, catalogEntries(job, lockfile.used, served)))) return undefined;
  for (const { outcome } of done) onEvent({ type: 'finished', outcome });
  return {
    tree: plan.treeDir,
    outcomes: done.map(({ outcome }) => outcome),
    drift: plan.drift,
    extras: catalog.staying.map(({ extra }) => extra),
    unverified: unverifiedAmong(catalog.unselected, job, lockfile),
    problems: plan.problems,
    interrupted: false,
    requests: 0,
    bytesDownloaded: 0,
    durationMs: 0,
    published,
  };
}
