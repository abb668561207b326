import pMap from 'p-map';
import { Refusal } from '../../base/refusal.ts';
import { TreeDiskFull } from '../../tree/errors.ts';
import type { Publishing } from '../../tree/publish/openPublisher.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { catalogEntries, prunedExtra, stayingExtras, unverifiedAmong } from '../plan/catalog.ts';
import { layerBytes, type SyncPlan, type VersionStep } from '../plan/plan.ts';
import { inspect, servable } from '../plan/survey.ts';
import { type Extra, type Outcome, type SyncReport, versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import { publishAliases } from './publishAliases.ts';
import { publishVariants } from './publishVariants.ts';
import { type Done, publishVersion } from './publishVersion.ts';

/**
 * Carries out a plan: versions, compressed forms, aliases, the catalog, then pruning. The failure of one plugin stops no
 * other. Whatever happens, a stopped run included, the tree has every version whole, the new one or the old one, and the
 * catalog lists what is there. Errors of the run as a whole are in the report's `problems`.
 */
export async function carryOut(plan: SyncPlan, publishing: Publishing, session: Session): Promise<SyncReport> {
  const started = performance.now();
  const { job, lockfile } = plan;
  const previous = new Map(job.selection.versions.map(it => [versionKey(it), lockfile.before(it)?.digest]));
  const fetched = await publishVersions(plan, publishing, session);
  const versions = await publishVariants(fetched, job.tree.codings, publishing, session);
  const done = [...versions, ...(await publishAliases(plan.aliases, versions, publishing, session))];
  const published = done.flatMap(({ metadata }) => metadata ?? []);
  const others = [...(await remainingCopies(plan, done, publishing)), ...plan.catalog.unselected];
  const { extras, problems } = await publishCatalog(plan, [...published, ...others], done, publishing, session);
  return {
    tree: publishing.treeDir,
    outcomes: done.map(({ outcome }) => withPreviousDigest(outcome, previous.get(versionKey(outcome)))),
    drift: plan.drift,
    extras,
    unverified: unverifiedAmong(others, job, lockfile),
    problems: [...problems, ...plan.catalog.problems],
    interrupted: session.signal.aborted,
    ...session.registry.traffic,
    durationMs: Math.round(performance.now() - started),
    published,
  };
}

function withPreviousDigest(outcome: Outcome, previousDigest: string | undefined): Outcome {
  const { digest, status } = outcome;
  if (previousDigest === undefined || digest === undefined || digest === previousDigest) return outcome;
  return status === 'fetched' || status === 'kept' ? { ...outcome, previousDigest } : outcome;
}

/** In the plan's order; without the steps that a stopped run did not come to. */
async function publishVersions({ job, versions }: SyncPlan, publishing: Publishing, session: Session): Promise<Done[]> {
  const { signal, onEvent } = session;
  const done = new Map<VersionStep, Done>();
  const finish = (step: VersionStep, result: Done): void => {
    done.set(step, result);
    onEvent({ type: 'finished', outcome: result.outcome });
  };
  const withoutRoom = new Map<VersionStep, Done>();
  // The largest first, so that no big module is left for the end, when nothing else is in work.
  await pMap(
    [...versions].sort((one, other) => layerBytes(other) - layerBytes(one)),
    async step => {
      const result = signal.aborted ? undefined : await publishVersion(step, publishing, session);
      if (result?.outcome.error instanceof TreeDiskFull) withoutRoom.set(step, result);
      else if (result !== undefined) finish(step, result);
    },
    { concurrency: job.limits.versions },
  );
  // Versions that were staged at the same time took the room of each other; one after the other some of them may fit.
  for (const [step, result] of withoutRoom) {
    const again = withoutRoom.size > 1 && !signal.aborted ? await publishVersion(step, publishing, session) : undefined;
    finish(step, again ?? result);
  }
  return versions.flatMap(step => done.get(step) ?? []);
}

/** The copies that are served of versions and aliases that this run could not mirror, or did not come to. */
async function remainingCopies(
  { job, versions, aliases }: SyncPlan,
  done: readonly Done[],
  publishing: Publishing,
): Promise<PublishedVersion[]> {
  const results = new Map(done.map(one => [versionKey(one.outcome), one]));
  const steps = [...versions, ...aliases].map(step => ({ ...step, it: 'wanted' in step ? step.wanted : step.alias }));
  const remaining = steps.filter(({ it }) => results.get(versionKey(it))?.metadata === undefined);
  const copies = await pMap(
    remaining,
    async ({ it, action, copy }) =>
      // A failed step may have changed its copy, so that one is inspected again.
      action === 'fail' || !results.has(versionKey(it)) ? copy : servable(await inspect(publishing, it)),
    { concurrency: job.limits.files },
  );
  return copies.flatMap(copy => copy ?? []);
}

/** Writes the catalog and then prunes, so that no reader of the catalog meets a version that is gone. */
async function publishCatalog(
  plan: SyncPlan,
  served: readonly PublishedVersion[],
  done: readonly Done[],
  publishing: Publishing,
  { signal, onEvent }: Session,
): Promise<{ readonly extras: readonly Extra[]; readonly problems: readonly Error[] }> {
  const { job, lockfile, catalog } = plan;
  if (catalog.error !== undefined) return { extras: [], problems: [catalog.error] };
  try {
    const failed = new Set(
      done.filter(({ outcome }) => outcome.status === 'failed').map(({ outcome }) => outcome.name),
    );
    const isKept = (name: string) => signal.aborted || failed.has(name);
    const pruned = catalog.pruned.filter(({ extra }) => !isKept(extra.name));
    const keptAfterAll = catalog.pruned.filter(({ extra }) => isKept(extra.name));
    const staying = await stayingExtras(publishing, catalog, keptAfterAll, signal.aborted);
    const listed = [...served, ...staying.flatMap(({ metadata }) => metadata ?? [])];
    if (pruned.length > 0) onEvent({ type: 'pruning', extras: pruned.map(({ extra }) => extra) });
    // An empty catalog would turn a server's "not ready", which gateways try again, into a 404, which they do not.
    if (listed.length > 0 || catalog.exists) await publishing.writeCatalog(catalogEntries(job, lockfile.used, listed));
    const extras: Extra[] = [];
    for (const { found, extra } of pruned) {
      const { name, version } = extra;
      if (signal.aborted) extras.push({ name, version, removed: false });
      else extras.push(prunedExtra(extra, await publishing.remove(name, version, found.listed)));
    }
    return { extras: [...extras, ...staying.map(({ extra }) => extra)], problems: [] };
  } catch (error) {
    // Every version is whole by now, so the error is reported together with what was done.
    if (!(error instanceof Refusal)) throw error;
    return { extras: [], problems: [error] };
  }
}
