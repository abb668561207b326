import pMap from 'p-map';
import { asError, Refusal } from '../../base/refusal.ts';
import { TreeDiskFull } from '../../tree/errors.ts';
import type { PublishingTree } from '../../tree/publish/publishingTree.ts';
import { hasVariants } from '../../tree/version/codings.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { openedLayers } from '../extract/layers/openedLayers.ts';
import { originOf } from '../manifest/origin.ts';
import type { WantedAlias } from '../manifest/wanted.ts';
import { catalogEntries, prunedExtra, stayingExtras, unverifiedAmong } from '../plan/catalog.ts';
import { servable } from '../plan/facts.ts';
import {
  type AliasStep,
  type FetchStep,
  type KeepStep,
  layerBytes,
  type SyncPlan,
  type VersionStep,
} from '../plan/plan.ts';
import { AliasTargetFailed, isAliasOf } from '../plan/steps.ts';
import { type Done, type Extra, type Outcome, type SyncReport, versionKey, withoutSubject } from '../report.ts';
import type { Session } from '../session.ts';
import type { Fetched } from './fetchPlugin.ts';

/**
 * Carries out a plan: versions, compressed forms, aliases, the catalog, then pruning. The failure of one plugin stops no
 * other. Whatever happens, a stopped run included, the tree has every version whole, the new one or the old one, and the
 * catalog lists what is there. Errors of the run as a whole are in the report's `problems`.
 */
export async function carryOut(plan: SyncPlan, tree: PublishingTree, session: Session): Promise<SyncReport> {
  const started = performance.now();
  const { job, lockfile } = plan;
  const previous = new Map(job.selection.versions.map(it => [versionKey(it), lockfile.before(it)?.digest]));
  const { codings } = job.tree;
  let versions = await publishVersions(plan, tree, session);
  if (versions.some(({ metadata }) => metadata !== undefined && !hasVariants(metadata, codings))) {
    const { publishVariants } = await import('./publishVariants.ts');
    versions = await publishVariants(versions, codings, tree, session);
  }
  const done = [...versions, ...(await publishAliases(plan.aliases, versions, tree, session))];
  const published = done.flatMap(({ metadata }) => metadata ?? []);
  const others = [...(await remainingCopies(plan, done, tree)), ...plan.catalog.unselected];
  const { extras, problems } = await publishCatalog(plan, [...published, ...others], done, tree, session);
  return {
    tree: tree.treeDir,
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
async function publishVersions({ job, versions }: SyncPlan, tree: PublishingTree, session: Session): Promise<Done[]> {
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
      const result = signal.aborted ? undefined : await publishVersion(step, tree, session);
      if (result?.outcome.error instanceof TreeDiskFull) withoutRoom.set(step, result);
      else if (result !== undefined) finish(step, result);
    },
    { concurrency: job.limits.versions },
  );
  // Versions that were staged at the same time took the room of each other; one after the other some of them may fit.
  for (const [step, result] of withoutRoom) {
    const again = withoutRoom.size > 1 && !signal.aborted ? await publishVersion(step, tree, session) : undefined;
    finish(step, again ?? result);
  }
  return versions.flatMap(step => done.get(step) ?? []);
}

/** The copies that are served of versions and aliases that this run could not mirror, or did not come to. */
async function remainingCopies(
  { job, versions, aliases }: SyncPlan,
  done: readonly Done[],
  tree: PublishingTree,
): Promise<PublishedVersion[]> {
  const results = new Map(done.map(one => [versionKey(one.outcome), one]));
  const steps = [...versions, ...aliases].map(step => ({ ...step, it: 'wanted' in step ? step.wanted : step.alias }));
  const remaining = steps.filter(({ it }) => results.get(versionKey(it))?.metadata === undefined);
  const copies = await pMap(
    remaining,
    async ({ it, action, copy }) =>
      // A failed step may have changed its copy, so that one is inspected again.
      action === 'fail' || !results.has(versionKey(it)) ? copy : servable(await tree.inspect(it)),
    { concurrency: job.limits.files },
  );
  return copies.flatMap(copy => copy ?? []);
}

/** Writes the catalog and then prunes, so that no reader of the catalog meets a version that is gone. */
async function publishCatalog(
  plan: SyncPlan,
  served: readonly PublishedVersion[],
  done: readonly Done[],
  tree: PublishingTree,
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
    const staying = await stayingExtras(tree, plan, keptAfterAll, signal.aborted);
    const listed = [...served, ...staying.flatMap(({ metadata }) => metadata ?? [])];
    if (pruned.length > 0) onEvent({ type: 'pruning', extras: pruned.map(({ extra }) => extra) });
    // An empty catalog would turn a server's "not ready", which gateways try again, into a 404, which they do not.
    if (listed.length > 0 || plan.old.state !== 'missing')
      await tree.writeCatalog(catalogEntries(job, lockfile.used, listed));
    const extras: Extra[] = [];
    for (const { found, extra } of pruned) {
      const { name, version } = extra;
      if (signal.aborted) extras.push({ name, version, removed: false });
      else extras.push(prunedExtra(extra, await tree.remove(name, version, found.listed)));
    }
    return { extras: [...extras, ...staying.map(({ extra }) => extra)], problems: [] };
  } catch (error) {
    // Every version is whole by now, so the error is reported together with what was done.
    if (!(error instanceof Refusal)) throw error;
    return { extras: [], problems: [error] };
  }
}

/** Carries out one step of the plan. A failure is an outcome; undefined if the run was stopped in the middle of it. */
async function publishVersion(step: VersionStep, tree: PublishingTree, session: Session): Promise<Done | undefined> {
  if (step.action === 'fail') return failed(step, step.error);
  try {
    if (step.action === 'keep') return succeeded('kept', await keep(step, tree));
    const { metadata, outcome } = succeeded('fetched', await fetch(step, tree, session));
    return { ...(metadata === undefined ? {} : { metadata }), outcome: { ...outcome, change: step.reason } };
  } catch (error) {
    if (session.signal.aborted) return undefined;
    return failed(step, asError(error));
  } finally {
    session.meter.end(versionKey(step.wanted));
  }
}

/** The outcome of a version that stays in the tree as it is. */
export function keptVersion({ metadata, warnings }: KeepStep): Done {
  return succeeded('kept', { metadata, warnings });
}

/** The bytes stay the same; only their recorded origin may change. */
async function keep({ metadata, origin, warnings }: KeepStep, tree: PublishingTree): Promise<Fetched> {
  if (origin === undefined) return { metadata, warnings };
  const changed = { ...metadata, reference: origin };
  await tree.publish(await tree.stageCopy(metadata), changed);
  return { metadata: changed, warnings };
}

async function fetch(step: FetchStep, tree: PublishingTree, session: Session): Promise<Fetched> {
  const { wanted, image } = step;
  // Loaded when something is fetched, and only then: reading archives is most of this program's code.
  const { adoptLocal, fetchPlugin } = await import('./fetchPlugin.ts');
  if (wanted.source.kind === 'file') return adoptLocal(wanted, wanted.source, tree, session.signal);
  if (image === undefined) throw new Error(`${versionKey(wanted)}: the plan has no image for it`);
  session.meter.start(versionKey(wanted), openedLayers(image.image.manifest));
  return fetchPlugin(step, image, tree, session);
}

function succeeded(status: 'fetched' | 'kept', { metadata, warnings }: Fetched): Done {
  const { name, version, reference, digest, sha256, sizeBytes } = metadata;
  const notes = warnings.map(warning => withoutSubject(warning, metadata));
  return { metadata, outcome: { name, version, status, reference, digest, sha256, sizeBytes, warnings: notes } };
}

function failed({ wanted }: VersionStep, error: Error): Done {
  const { name, version } = wanted;
  return { outcome: { name, version, status: 'failed', reference: originOf(wanted), error, warnings: [] } };
}

/** Publishes the aliases of what was published. A copy that is its target's already is left alone. */
async function publishAliases(
  aliases: readonly AliasStep[],
  versions: readonly Done[],
  tree: PublishingTree,
  { signal, onEvent }: Session,
): Promise<Done[]> {
  const targets = new Map(versions.map(done => [versionKey(done.outcome), done]));
  const done: Done[] = [];
  for (const step of aliases) {
    const target = targets.get(`${step.alias.name}/${step.alias.target}`);
    if (signal.aborted || target === undefined) continue;
    const result = await publishAlias(step, target, tree).catch(error => failedAlias(step.alias, target, error));
    done.push(result);
    onEvent({ type: 'finished', outcome: result.outcome });
  }
  return done;
}

async function publishAlias(step: AliasStep, target: Done, tree: PublishingTree): Promise<Done> {
  const { alias } = step;
  if (target.metadata === undefined) throw new AliasTargetFailed(alias, target.outcome.error);
  if (step.action === 'fail') throw step.error;
  // The target may have changed since the plan was made: its origin, or its compressed forms.
  const isCurrent = step.action === 'keep' && isAliasOf(step.copy, target.metadata);
  if (isCurrent) return aliasOutcome(alias, step.copy, { unchanged: true });
  return aliasOutcome(alias, await tree.publishAlias(target.metadata, alias.version));
}

/** The outcome of an alias that the tree has. */
export function aliasOutcome(
  alias: WantedAlias,
  metadata: PublishedVersion,
  changes: { readonly unchanged?: true } = {},
): Done {
  const { name, version, reference, digest, sha256, sizeBytes } = metadata;
  return {
    metadata,
    outcome: {
      name,
      version,
      status: 'aliased',
      aliasOf: alias.target,
      reference,
      digest,
      sha256,
      sizeBytes,
      ...changes,
      warnings: [],
    },
  };
}

function failedAlias(alias: WantedAlias, target: Done, error: unknown): Done {
  const { name, version } = alias;
  const { reference } = target.outcome;
  const reason = asError(error);
  return {
    outcome: { name, version, status: 'failed', aliasOf: alias.target, reference, error: reason, warnings: [] },
  };
}
