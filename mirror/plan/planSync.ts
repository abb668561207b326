import { join } from 'node:path';
import pMap from 'p-map';
import type { Tree } from '../../tree/tree.ts';
import { type KnownVersion, untrueLockfile } from '../lockfile/compareTree.ts';
import { LockUnwritable } from '../lockfile/errors.ts';
import type { LockedVersions } from '../lockfile/lockedVersions.ts';
import { requireWritable } from '../lockfile/lockfile.ts';
import { versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import { planCatalog } from './catalog.ts';
import { gatherFacts, type OldCatalog, readOldCatalog } from './facts.ts';
import type { SyncJob } from './job.ts';
import { bytesToDownload, bytesToWrite, type SyncPlan, type VersionStep } from './plan.ts';
import { decide, findDrift, planAliases, resolveStep } from './steps.ts';

/**
 * Decides everything that a run will do: looks at the tree, asks the registry for digests, image manifests and signatures,
 * and writes nothing. Under a frozen lockfile the registry is asked only for versions that are to be fetched.
 * @throws CatalogNewer, TreeUnreadable (of index.json), TreeFault, and the signal's reason
 */
export async function planSync(
  job: SyncJob,
  lockfile: LockedVersions,
  tree: Tree,
  session: Session,
): Promise<SyncPlan> {
  const { signal } = session;
  const old = await readOldCatalog(tree);
  const facts = await gatherFacts(job, lockfile, tree, old, lockfile.frozen ? 'nothing' : 'images', session);
  const versions = await pMap(facts, one => resolveStep(decide(one), tree, session), {
    concurrency: job.limits.questions,
    signal,
  });
  const count = (action: VersionStep['action']) => versions.filter(step => step.action === action).length;
  session.onEvent({
    type: 'planned',
    fetch: count('fetch'),
    keep: count('keep'),
    fail: count('fail'),
    sizeBytes: bytesToDownload(versions),
  });
  const aliases = await planAliases(job, versions, tree, signal);
  const catalog = await planCatalog(job, tree, old, failingNames({ versions, aliases }), (name, error) => {
    if (mayList(old, name)) throw error;
    const message = 'this user may not read that folder, which the catalog does not list: it is left as it is';
    session.onEvent({ type: 'warning', subject: join(tree.treeDir, name), message });
  });
  const untrue = lockfile.frozen ? untrueLockfile(knownIn(versions), lockfile) : undefined;
  const lack = await tree.lackOfSpace(bytesToWrite(versions));
  const problems = [
    ...(await tree.obstaclesToCatalog()),
    ...(lack === undefined ? [] : [lack]),
    ...(await lackOfLockfile(lockfile, versions)),
    ...(catalog.error === undefined ? [] : [catalog.error]),
    ...catalog.problems,
    ...(untrue === undefined ? [] : [untrue]),
  ];
  return { job, lockfile, versions, aliases, drift: facts.flatMap(findDrift), old, catalog, problems };
}

/** Returns a LockUnwritable if this run will change the lockfile and cannot write it, else an empty list. */
async function lackOfLockfile(lockfile: LockedVersions, versions: readonly VersionStep[]): Promise<LockUnwritable[]> {
  const changes = versions.some(
    step => step.action === 'fetch' && lockfile.before(step.wanted)?.digest !== step.digest,
  );
  if (!lockfile.used || lockfile.frozen || !changes) return [];
  try {
    await requireWritable(lockfile.path);
    return [];
  } catch (error) {
    if (error instanceof LockUnwritable) return [error];
    throw error;
  }
}

/** Whether leaving a plugin out of the new catalog could take published versions from gateways. */
function mayList(old: OldCatalog, name: string): boolean {
  if (old.state === 'read') return old.catalog.plugins.some(plugin => plugin.name === name);
  return old.state !== 'missing';
}

/** The facts about each version that are known without its blobs. */
function knownIn(versions: readonly VersionStep[]): KnownVersion[] {
  return versions.flatMap(step => {
    const is = step.action === 'keep' ? step.metadata : step.action === 'fetch' ? step.image?.image : undefined;
    return is === undefined ? [] : [{ key: versionKey(step.wanted), is }];
  });
}

/** Names of plugins of which the plan refuses something that the manifest names. */
function failingNames({ versions, aliases }: Pick<SyncPlan, 'versions' | 'aliases'>): Set<string> {
  return new Set([
    ...versions.flatMap(step => (step.action === 'fail' ? [step.wanted.name] : [])),
    ...aliases.flatMap(step => (step.action === 'fail' ? [step.alias.name] : [])),
  ]);
}
