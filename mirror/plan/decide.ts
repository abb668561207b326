import { Refusal } from '../../base/refusal.ts';
import { RegistryNotFound } from '../../registry/errors.ts';
import { platformText } from '../../registry/image.ts';
import { formatReference, type Reference } from '../../registry/reference.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { requirePluginSize } from '../extract/layers/openedLayers.ts';
import { isLockedModule, type LockedVersion } from '../lockfile/locked.ts';
import { isFrom, originOf } from '../manifest/origin.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { type Drift, versionKey } from '../report.ts';
import { fingerprintOf } from '../signatures/policy.ts';
import type { Answer, VersionFacts } from './facts.ts';
import type { FetchStep, VersionStep } from './plan.ts';
import { damageOf, type Present, servable } from './survey.ts';

/** Decides what becomes of one version; pure. A locked digest wins over what the tag says now; the difference is drift. */
export function decide(facts: VersionFacts): VersionStep {
  const { wanted, usable, answer, before } = facts;
  const copy = servable(facts.present);
  const fail = (error: Error): VersionStep => ({ action: 'fail', wanted, copy, error });
  if (usable.inaccessible !== undefined) return fail(usable.inaccessible);
  // A local file is taken as it is now: only an image can be locked.
  const locked = wanted.source.kind === 'file' ? undefined : facts.locked;
  const digest = locked?.digest ?? (answer?.kind === 'digest' ? answer.digest : undefined);
  if (digest === undefined) return fail(answer?.kind === 'error' ? answer.error : notAsked(wanted));
  const proven = usable.state === 'sound' && isSignatureRecorded(wanted, usable.metadata, before);
  if (usable.state === 'sound' && proven && isAsLocked(usable.metadata, { ...locked, digest })) {
    const { metadata } = usable;
    const origin = originOf(wanted);
    const warnings = warningsOf(answer);
    return { action: 'keep', wanted, copy, metadata, ...(isFrom(metadata, origin) ? {} : { origin }), warnings };
  }
  const { module, platform } = locked ?? {};
  const image = imageIn(answer, wanted, digest, platform);
  const tooLarge = sizeErrorOf(image);
  if (tooLarge !== undefined) return fail(tooLarge);
  return {
    action: 'fetch',
    wanted,
    copy,
    digest,
    ...explain(usable, digest, proven),
    ...(module === undefined ? {} : { module }),
    ...(platform === undefined ? {} : { platform }),
    ...image,
  };
}

/** The image that came with the answer, if it is the one to fetch. The tag was asked for the platform of this run. */
function imageIn(
  answer: Answer | undefined,
  { source }: WantedVersion,
  digest: string,
  platform: string | undefined,
): Pick<FetchStep, 'image'> {
  const image = answer?.kind === 'digest' && answer.digest === digest ? answer.image : undefined;
  if (image === undefined || source.kind === 'file') return {};
  const has = image.platform === undefined ? undefined : platformText(image.platform);
  if (platform !== undefined && platform !== has) return {};
  const reference: Reference = { ...source.reference, digest: image.digest };
  return { image: { reference, image } };
}

/** An image that declares a layer of an impossible size fails before anything is downloaded, in the dry run as well. */
function sizeErrorOf({ image }: Pick<FetchStep, 'image'>): Error | undefined {
  try {
    if (image !== undefined) requirePluginSize(formatReference(image.reference), image.image.manifest);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  return undefined;
}

function isAsLocked(metadata: PublishedVersion, { digest, module }: LockedVersion): boolean {
  return metadata.digest === digest && (module === undefined || isLockedModule(module, metadata));
}

/**
 * Returns true if the policy requires no signature, or if the lockfile records that the signature of the bytes in the tree was
 * verified under this policy. The tree's own record is no proof, because a user who can write to the tree can forge it; the
 * lockfile is kept elsewhere and reviewed. Without that record, the image is fetched and verified again.
 */
export function isSignatureRecorded(
  { signatures }: WantedVersion,
  metadata: PublishedVersion,
  locked: LockedVersion | undefined,
): boolean {
  if (signatures === undefined) return true;
  if (locked?.signature === undefined || !isAsLocked(metadata, locked)) return false;
  const { policy, signer, digest } = locked.signature;
  const { signature } = metadata;
  const isSame = signature?.policy === policy && signature.signer === signer && signature.digest === digest;
  return isSame && policy === fingerprintOf(signatures);
}

function notAsked(wanted: WantedVersion): Error {
  return new Error(`${versionKey(wanted)}: its digest was not asked for`);
}

function explain(present: Present, digest: string, proven: boolean): Pick<FetchStep, 'reason' | 'because'> {
  if (present.state === 'missing') return { reason: 'missing', because: 'not in the tree' };
  if (present.state === 'damaged') return { reason: 'damaged', because: damageOf(present) };
  if (!proven)
    return {
      reason: 'changed',
      because: 'the lockfile does not say that its signature was verified under this policy',
    };
  return { reason: 'changed', because: `was ${present.metadata.digest}, is to be ${digest}` };
}

function warningsOf(answer: Answer | undefined): string[] {
  if (answer?.kind !== 'error') return [];
  const { error } = answer;
  if (!(error instanceof RegistryNotFound))
    return [`kept as it is locked; whether its tag moved is not known: ${error.message}`];
  const found = error.found === undefined ? '' : ` (${error.found})`;
  return [`kept as it is locked, though its tag is gone: ${error.message}${found}`];
}

/** Where the lockfile and the tag (or the local file) differ; empty if they agree. */
export function findDrift({ wanted, usable, locked, answer, before }: VersionFacts): Drift[] {
  const fixed = locked ?? (before === undefined ? publishedFrom(wanted, usable) : undefined);
  if (fixed === undefined || answer?.kind !== 'digest' || answer.digest === fixed.digest) return [];
  const { name, version, source } = wanted;
  const [lockedDigest, foundDigest] = [fixed.digest, answer.digest];
  if (source.kind === 'file')
    return [{ name, version, reference: `file:${source.written}`, lockedDigest, foundDigest, local: true }];
  if (source.reference.digest !== undefined) return [];
  const { registry, repository, tag } = source.reference;
  const created = answer.image?.manifest.annotations?.['org.opencontainers.image.created'];
  return [
    {
      name,
      version,
      reference: `${registry}/${repository}:${tag}`,
      lockedDigest,
      foundDigest,
      ...(locked === undefined ? { followed: true as const } : {}),
      ...(created === undefined ? {} : { foundCreated: created }),
    },
  ];
}

/** Without a lockfile, what was published from a tag before shows that it has moved. */
function publishedFrom({ source }: WantedVersion, present: Present): Pick<LockedVersion, 'digest'> | undefined {
  if (source.kind === 'file' || present.state !== 'sound') return undefined;
  return present.metadata.reference === formatReference(source.reference) ? present.metadata : undefined;
}
