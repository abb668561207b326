import pMap from 'p-map';
import { asError, Refusal } from '../../base/refusal.ts';
import { plural } from '../../base/words.ts';
import { blobMissing } from '../../layout/errors.ts';
import { RegistryNotFound } from '../../registry/errors.ts';
import { NOT_DISTRIBUTED } from '../../registry/images/gatherImage.ts';
import { LockedImageGone } from '../lockfile/errors.ts';
import type { LockedVersions } from '../lockfile/lockedVersions.ts';
import { originOf } from '../manifest/origin.ts';
import { BundleBaseMissing, type BundleUse } from '../plan/job.ts';
import type { FetchStep, SyncPlan, VersionStep } from '../plan/plan.ts';
import type { Outcome } from '../report.ts';
import type { Session } from '../session.ts';

/** Versions cannot be published from a bundle, so nothing of it was published. */
class BundleIncomplete extends Refusal {
  readonly code = 'BUNDLE_INCOMPLETE';
}

/** Blobs are hashed one after the other by one thread; two keep the disk busy meanwhile. */
const VERSIONS_IN_WORK = 2;
/** Errors that the bundle has, and not the tree or the signature. */
const OF_THE_BUNDLE = /^(?:LAYOUT|BUNDLE|REGISTRY|IMAGE)_/;

/**
 * Verifies everything that a plan takes from a bundle, before anything is published: each blob is read and hashed.
 * @returns the versions that cannot be published, and the error of the run; undefined if the bundle is whole
 */
export async function findLacks(
  { job: { bundle }, lockfile, versions }: SyncPlan,
  session: Session,
): Promise<{ readonly outcomes: readonly Outcome[]; readonly problem: BundleIncomplete } | undefined> {
  if (bundle === undefined) return undefined;
  const found = await pMap(versions, step => lackOf(step, lockfile, bundle, session), {
    concurrency: VERSIONS_IN_WORK,
    signal: session.signal,
  });
  const outcomes = found.filter(outcome => outcome !== undefined);
  const [lacking] = bundle.lacking;
  if (outcomes.length === 0 && lacking !== undefined) return { outcomes, problem: lackingOf(bundle, lacking) };
  if (outcomes.length === 0) return undefined;
  const problem = new BundleIncomplete(
    `Nothing was published: ${plural(outcomes.length, 'version')} cannot be read from ${bundle.path}`,
    {
      subject: bundle.path,
      expected: 'a bundle with all that the tree lacks',
      found: `${outcomes.length} of ${versions.length} versions missing or damaged`,
      hint: 'Copy the bundle again, or load the one before it first if it is a delta. The tree is as it was.',
    },
  );
  return { outcomes, problem };
}

function lackingOf({ path, lacking }: BundleUse, first: string): BundleIncomplete {
  return new BundleIncomplete(`Nothing was published: ${path} does not contain everything that its index.json names`, {
    subject: path,
    expected: 'each manifest that index.json names',
    found: `no ${first}${lacking.length === 1 ? '' : `, and ${lacking.length - 1} more`}`,
    hint: 'Copy the bundle again, or make it again. The tree is as it was.',
  });
}

async function lackOf(
  step: VersionStep,
  lockfile: LockedVersions,
  bundle: BundleUse,
  session: Session,
): Promise<Outcome | undefined> {
  const met = step.action === 'fail' ? step.error : step.action === 'fetch' ? await readAll(step, session) : undefined;
  const digest = step.action === 'fetch' ? step.digest : lockfile.before(step.wanted)?.digest;
  // Its hint is about a registry.
  const cause = met instanceof LockedImageGone ? met.cause : met;
  const lacking = bundle.lacking.find(it => it === digest);
  const error = cause instanceof RegistryNotFound && lacking !== undefined ? blobMissing(bundle.path, lacking) : cause;
  if (!(error instanceof Refusal) || !OF_THE_BUNDLE.test(error.code)) return undefined;
  const { name, version } = step.wanted;
  const isLeft = digest !== undefined && bundle.requires.has(digest) && /NOT_FOUND|MISSING/.test(error.code);
  return {
    name,
    version,
    status: 'failed',
    reference: originOf(step.wanted),
    error: isLeft ? baseMissing(step, digest, bundle.path, error) : error,
    warnings: [],
  };
}

async function readAll({ image }: FetchStep, { registry, signal }: Session): Promise<Error | undefined> {
  if (image === undefined) return undefined;
  const { config, layers } = image.image.manifest;
  const opened = await registry.get();
  try {
    for (const blob of [config, ...layers])
      if (!NOT_DISTRIBUTED.test(blob.mediaType)) (await opened.openBlob(image.reference, blob, signal)).destroy();
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return asError(error);
  }
}

function baseMissing({ wanted }: VersionStep, digest: string, path: string, cause: Error): BundleBaseMissing {
  return new BundleBaseMissing(`${path} is a delta, and the tree lacks what its base brings`, {
    subject: `${wanted.name} ${wanted.version}`,
    faultIn: path,
    expected: `${wanted.name} ${wanted.version} in the tree, as ${digest}`,
    found: 'a version that is missing, damaged or another one',
    hint: 'Load the bundle that it was made from (--since) first, or use a whole bundle.',
    cause,
  });
}
