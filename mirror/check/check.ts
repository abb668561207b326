import pMap from 'p-map';
import type { Refusal } from '../../base/refusal.ts';
import { formatReference } from '../../registry/reference.ts';
import type { VersionId } from '../../tree/names.ts';
import { foreignInTheWay } from '../../tree/ownership.ts';
import { type Present, type Tree, viewTree } from '../../tree/tree.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { differences, falseFacts } from '../lockfile/compareTree.ts';
import { missingLockfile } from '../lockfile/errors.ts';
import {
  isLockedModule,
  type LockedVersion,
  type LockedVersions,
  readLockedVersions,
} from '../lockfile/lockedVersions.ts';
import { isFrom, originOf } from '../manifest/origin.ts';
import type { WantedAlias } from '../manifest/wanted.ts';
import { type Answer, asListed, gatherFacts, otherPlatform, readOldCatalog, type VersionFacts } from '../plan/facts.ts';
import type { SyncJob } from '../plan/job.ts';
import { isSignatureRecorded } from '../plan/steps.ts';
import { versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import { type CheckFinding, checkTree, extraFindings, type VersionFinding } from './checkTree.ts';

export type { CheckFinding, VersionFinding } from './checkTree.ts';

export interface CheckReport {
  readonly findings: readonly CheckFinding[];
  /** Errors that a sync would meet as a whole: no lockfile where CI requires one, a disk too small for the locked modules. */
  readonly problems: readonly Refusal[];
  readonly hasLockfile: boolean;
  /** True if nothing differs. That a HEAD has no digest is not a difference. */
  readonly agrees: boolean;
}

/**
 * Compares manifest, lockfile, tree and registry. Looks at what sync would plan from, with one HEAD per tag; changes nothing.
 * The session's registry should be opened with `headsOnly`.
 * @throws CatalogNewer, and the lockfile's refusals
 */
export async function check(job: SyncJob, session: Session): Promise<CheckReport> {
  const { signal } = session;
  const { lockfile, changes, tree } = await openJob(job, signal);
  const old = await readOldCatalog(tree, { tolerant: true });
  const facts = await gatherFacts(job, lockfile, tree, old, 'heads', session);
  const known = {
    lockfile,
    tree,
    listed: old.state === 'read' ? old.listed : undefined,
    changes,
    platform: job.selection.platform,
  };
  const concurrency = { concurrency: job.limits.files, signal };
  const requires = job.bundle?.requires ?? new Set<string>();
  const ofVersions = await pMap(
    facts,
    async one => (await checkVersion(one, known)).map(finding => withBase(finding, one.before?.digest, requires)),
    concurrency,
  );
  const aliases = await pMap(
    job.selection.aliases,
    async alias => {
      const present = await tree.inspect(alias, { rehash: job.tree.rehash, signal });
      return { present, findings: await checkAlias(alias, present, known) };
    },
    concurrency,
  );
  const ofManifest = [...ofVersions.flat(), ...aliases.flatMap(({ findings }) => findings)];
  const copies = [...facts, ...aliases].map(({ present }) => present);
  const findings = [...ofManifest, ...(await checkTree(job, lockfile, tree, old, copies, ofManifest))];
  const lack = await tree.lackOfSpace(bytesToFetch(findings, lockfile));
  const isMissing = !lockfile.exists && job.lockfile.mode === 'frozen in CI';
  return {
    findings,
    problems: [...(isMissing ? [missingLockfile(lockfile.path, 'CI')] : []), ...(lack === undefined ? [] : [lack])],
    hasLockfile: lockfile.exists,
    agrees: !isMissing && findings.every(({ kind }) => kind === 'untold'),
  };
}

/**
 * Compares manifest, lockfile and registry as check does, whatever the tree has: for a machine without one. A missing lockfile is a
 * problem.
 */
export async function checkLockfile(job: SyncJob, session: Session): Promise<CheckReport> {
  const { lockfile, changes, tree } = await openJob(job, session.signal);
  const { comparison, exists, path } = lockfile;
  const facts = await gatherFacts(job, lockfile, tree, { state: 'missing', listed: new Map() }, 'heads', session);
  const answers = await Promise.all(
    facts.map(async one => [...ofLocalFile(one), ...(await ofAnswer(one, undefined, one.before, changes))]),
  );
  const unlocked = facts.flatMap(({ wanted }): VersionFinding[] => {
    const key = versionKey(wanted);
    const detail = changes.get(key) ?? (comparison.added.some(it => versionKey(it) === key) ? NOT_LOCKED : undefined);
    return detail === undefined || !exists
      ? []
      : [{ kind: 'unlocked', name: wanted.name, version: wanted.version, detail }];
  });
  const findings = [...answers.flat(), ...unlocked, ...extraFindings([], comparison.removed)];
  return {
    findings,
    problems: exists ? [] : [missingLockfile(path, 'lock only')],
    hasLockfile: exists,
    agrees: exists && findings.every(({ kind }) => kind === 'untold'),
  };
}

async function openJob(job: SyncJob, signal: AbortSignal): Promise<Pick<Known, 'lockfile' | 'tree' | 'changes'>> {
  // Every difference is reported as a finding, so no lockfile is refused for one.
  const lockfile = await readLockedVersions({ ...job, lockfile: { ...job.lockfile, mode: 'renewed' } }, signal);
  const changes = new Map(lockfile.comparison.changed.map(it => [versionKey(it.wanted), it.words]));
  return { lockfile, tree: await viewTree(job.tree), changes };
}

/** A local file is its own registry: what it is now, compared with the lockfile. */
function ofLocalFile({ wanted, answer, before }: VersionFacts): VersionFinding[] {
  const { name, version, source } = wanted;
  if (source.kind !== 'file' || answer?.kind === 'error' || before === undefined) return [];
  const foundDigest = answer?.digest;
  if (foundDigest === undefined || foundDigest === before.digest) return [];
  const detail = `${source.written} has changed since it was locked`;
  return [{ kind: 'moved', name, version, detail, expectedDigest: before.digest, foundDigest }];
}

const NOT_LOCKED = 'in the manifest, not in the lockfile';

/** Kinds that sync fixes by fetching. */
const FETCHED: ReadonlySet<CheckFinding['kind']> = new Set(['missing', 'damaged', 'stale']);

function bytesToFetch(findings: readonly CheckFinding[], { agreeing }: LockedVersions): number {
  const keys = new Set(findings.flatMap(it => ('name' in it && FETCHED.has(it.kind) ? [versionKey(it)] : [])));
  return [...keys].reduce((sum, key) => sum + (agreeing.get(key)?.sizeBytes ?? 0), 0);
}

/** Everything that each version is compared with. */
interface Known {
  readonly lockfile: LockedVersions;
  readonly tree: Tree;
  /** By version key, the sha256 of each metadata.json in the catalog; undefined without one, which is a finding of its own. */
  readonly listed: ReadonlyMap<string, string> | undefined;
  /** By version key, in words: entries of the lockfile that are not what the manifest asks for. */
  readonly changes: ReadonlyMap<string, string>;
  readonly platform: string | undefined;
}

async function checkVersion(facts: VersionFacts, known: Known): Promise<VersionFinding[]> {
  const { lockfile, changes, listed } = known;
  const { wanted, before } = facts;
  const { name, version, signatures } = wanted;
  const key = versionKey(wanted);
  const present = await withObstacle(facts.present, wanted, known, before?.module?.sha256);
  const metadata = present.state === 'sound' ? present.metadata : undefined;
  const findings: VersionFinding[] = [
    ...ofPresence(name, version, present, before).map(finding => ({
      ...finding,
      ...(signatures === undefined ? {} : { detail: `${finding.detail}; ${ONLY_SIGNED}`, needsSignature: true }),
    })),
    ...ofCatalog(name, version, present, listed),
    ...(await ofAnswer(facts, metadata, before, changes)),
  ];
  if (metadata !== undefined && !isSignatureRecorded(wanted, metadata, before))
    findings.push({
      kind: 'stale',
      name,
      version,
      detail: 'the lockfile does not say that its signature was verified under the manifest’s policy',
      needsSignature: true,
    });
  const change = changes.get(key);
  const entry = lockfile.agreeing.get(key);
  const other = metadata === undefined ? undefined : otherPlatform(metadata, known.platform);
  // A locked version of another platform is reported as a change of the lockfile.
  if (other !== undefined && change === undefined) findings.push({ kind: 'stale', name, version, detail: other });
  if (change !== undefined) findings.push({ kind: 'unlocked', name, version, detail: change });
  else if (lockfile.exists && entry === undefined)
    findings.push({ kind: 'unlocked', name, version, detail: NOT_LOCKED });
  else if (entry !== undefined && metadata !== undefined && !findings.some(({ kind }) => kind === 'stale')) {
    // The lockfile has the manifest's own references, `wanted` those of --registry.
    const compare = isFrom(metadata, originOf(wanted)) ? falseFacts : differences;
    for (const words of compare(entry, metadata))
      findings.push({ kind: 'unlocked', name, version, detail: `it ${words}` });
  }
  return findings;
}

/** A version that sync would fetch, and that a delta leaves to its base. */
function withBase(finding: VersionFinding, digest: string | undefined, requires: ReadonlySet<string>): VersionFinding {
  if (digest === undefined || !FETCHED.has(finding.kind) || !requires.has(digest)) return finding;
  return { ...finding, detail: `${finding.detail}; the bundle is a delta and leaves it to its base`, inBase: true };
}

const ONLY_SIGNED = 'sync fetches it only if its signature satisfies the manifest’s policy';

/** A damaged version, and what else is in the way of publishing it again. @throws TreeFault */
async function withObstacle(
  present: Present,
  { name, version }: VersionId,
  { tree }: Known,
  moduleSha256?: string,
): Promise<Present> {
  if (present.state !== 'damaged' || present.foreign !== undefined || present.inaccessible !== undefined)
    return present;
  const foreign = await foreignInTheWay(tree.treeDir, name, version, moduleSha256);
  if (foreign?.subject === undefined) return present;
  const problems = [...present.problems, `${foreign.subject} is ${foreign.found}`];
  return { ...present, problems, foreign: [foreign.subject] };
}

function ofPresence(
  name: string,
  version: string,
  present: Present,
  locked: LockedVersion | undefined,
): VersionFinding[] {
  if (present.state === 'missing') return [{ kind: 'missing', name, version, detail: 'not in the tree' }];
  if (present.state === 'damaged') {
    const { problems, foreign } = present;
    const unreadable = present.unreadable || present.inaccessible !== undefined;
    const more = { ...(foreign === undefined ? {} : { foreign }), ...(unreadable ? { unreadable } : {}) };
    return [{ kind: 'damaged', name, version, detail: problems.join('; '), ...more }];
  }
  const foundDigest = present.metadata.digest;
  if (locked === undefined) return [];
  if (foundDigest !== locked.digest) {
    const detail = `the tree has ${foundDigest}, the lockfile has ${locked.digest}`;
    return [{ kind: 'stale', name, version, detail, expectedDigest: locked.digest, foundDigest }];
  }
  if (locked.module === undefined || isLockedModule(locked.module, present.metadata)) return [];
  const detail = `the tree has a plugin.wasm of sha256 ${present.metadata.sha256}, the lockfile has another or from another layer (${locked.module.sha256})`;
  return [{ kind: 'stale', name, version, detail }];
}

function ofCatalog(
  name: string,
  version: string,
  present: Present,
  listed: ReadonlyMap<string, string> | undefined,
): VersionFinding[] {
  if (present.state !== 'sound' || listed === undefined) return [];
  const isListed = listed.has(versionKey({ name, version })) && asListed(present, listed).state === 'sound';
  return isListed ? [] : [{ kind: 'damaged', name, version, detail: 'it is not what the tree’s index.json lists' }];
}

/** Compares the tree and the lockfile with the registry, or with the local file as it is now. */
async function ofAnswer(
  { wanted, answer }: VersionFacts,
  metadata: PublishedVersion | undefined,
  locked: LockedVersion | undefined,
  changes: Known['changes'],
): Promise<VersionFinding[]> {
  const { name, version, source } = wanted;
  if (answer?.kind === 'error') return [await ofError(wanted, answer)];
  const found = source.kind === 'image' ? (source.reference.digest ?? answer?.digest) : answer?.digest;
  if (source.kind === 'file') {
    if (metadata === undefined || found === undefined || metadata.digest === found) return [];
    const { reference } = metadata;
    const detail =
      reference === `file:${source.written}`
        ? `${source.written} has changed since`
        : `the tree has it from ${reference}, the manifest names file:${source.written}`;
    return [{ kind: 'stale', name, version, detail, expectedDigest: found, foundDigest: metadata.digest }];
  }
  const expectedDigest = locked?.digest ?? metadata?.digest;
  if (found === undefined || expectedDigest === undefined || found === expectedDigest) return [];
  const named = formatReference(source.reference);
  const isChanged = changes.has(versionKey(wanted)) || source.reference.digest !== undefined;
  if (metadata !== undefined && (isChanged || !isFrom(metadata, named))) {
    const detail =
      metadata.reference === named
        ? `the tree has ${metadata.digest} from ${named}, which is ${found} now`
        : `the tree has it from ${metadata.reference} (${metadata.digest}), the manifest names ${named}, another image`;
    return [{ kind: 'stale', name, version, detail, expectedDigest: found, foundDigest: metadata.digest }];
  }
  const detail = `its tag has moved from ${expectedDigest} to ${found}`;
  return [{ kind: 'moved', name, version, detail, expectedDigest, foundDigest: found }];
}

async function ofError(
  { name, version, source }: VersionFacts['wanted'],
  { error }: Answer & { readonly kind: 'error' },
): Promise<VersionFinding> {
  const { lacksHeadDigest, notFoundIn } = await import('../plan/registryAnswers.ts');
  if (source.kind === 'image' && notFoundIn(error) !== undefined) {
    const detail = `the registry answered HEAD: it has no ${formatReference(source.reference)}`;
    return { kind: 'gone', name, version, detail, error };
  }
  if (lacksHeadDigest(error)) {
    const detail = 'the answer to HEAD has no digest, so it is not known whether its tag has moved; sync asks by GET';
    return { kind: 'untold', name, version, detail };
  }
  return { kind: 'unreachable', name, version, detail: error.message, error };
}

async function checkAlias(alias: WantedAlias, found: Present, known: Known): Promise<VersionFinding[]> {
  const { name, version, target } = alias;
  const present = await withObstacle(found, alias, known);
  if (present.state !== 'sound') return ofPresence(name, version, present, undefined);
  const { aliasOf, sha256 } = present.metadata;
  if (aliasOf === target) {
    const real = await known.tree.readVersion({ name, version: target });
    if (real !== undefined && real.sha256 !== sha256)
      return [{ kind: 'stale', name, version, detail: `it is not what ${target} is now` }];
    return ofCatalog(name, version, present, known.listed);
  }
  const was = aliasOf === undefined ? 'a version of its own' : `an alias of ${aliasOf}`;
  return [{ kind: 'stale', name, version, detail: `in the tree it is ${was}, in the manifest an alias of ${target}` }];
}
