import pMap from 'p-map';
import { canonicalJson } from '../../base/canonicalJson.ts';
import { asError, Refusal } from '../../base/refusal.ts';
import { RegistryNotFound } from '../../registry/errors.ts';
import { type Image, platformText } from '../../registry/image.ts';
import { type Digest, formatReference, type Reference } from '../../registry/reference.ts';
import type { Present, Tree } from '../../tree/tree.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { requirePluginSize } from '../extract/layers/openedLayers.ts';
import { LockBytesDiffer, LockedImageGone } from '../lockfile/errors.ts';
import { isLockedModule, type LockedVersion } from '../lockfile/lockedVersions.ts';
import { asLocalRefusal } from '../manifest/localFile.ts';
import { isFrom, originOf } from '../manifest/origin.ts';
import type { WantedAlias, WantedVersion } from '../manifest/wanted.ts';
import { type Drift, versionKey } from '../report.ts';
import type { Session } from '../session.ts';
import { fingerprintOf } from '../signatures/policy.ts';
import { type Answer, damageOf, servable, type VersionFacts } from './facts.ts';
import type { SyncJob } from './job.ts';
import type { AliasStep, FetchStep, ResolvedImage, VersionStep } from './plan.ts';

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

/**
 * Takes a fetch as far as it can go without a blob of the plugin: nothing foreign is in its way, its image manifest is there,
 * the locked layer is in it, its signature satisfies the policy, a local file is a module. A step that cannot be carried out
 * becomes a refusal with its error.
 */
export async function resolveStep(step: VersionStep, tree: Tree, session: Session): Promise<VersionStep> {
  if (step.action !== 'fetch') return step;
  const { wanted, copy } = step;
  try {
    const error = await tree.obstacleTo(wanted, step.module?.sha256);
    if (error !== undefined) throw error;
    if (wanted.source.kind === 'image') return { ...step, image: await resolveImage(step, wanted.source, session) };
    const { inspectModule } = await import('../extract/module/inspectModule.ts');
    await inspectModule(wanted.source.path, `${wanted.name} ${wanted.version}`, 'built');
    return step;
  } catch (error) {
    session.signal.throwIfAborted();
    const { source } = wanted;
    const refusal = source.kind === 'file' ? asLocalRefusal(error, source.path, versionKey(wanted)) : error;
    return { action: 'fail', wanted, copy, error: asError(refusal) };
  }
}

async function resolveImage(
  step: FetchStep,
  source: { readonly reference: Reference },
  { registry, signal }: Session,
): Promise<ResolvedImage> {
  const { wanted } = step;
  const reference = { ...source.reference, digest: step.digest as Digest };
  const known = step.image?.image;
  const image =
    known ??
    (await (await registry.get()).fetchImage(reference, signal, step.platform).catch(async (error: unknown) => {
      throw await asLocked(step, error);
    }));
  requireLayer(step, image);
  if (wanted.signatures === undefined) return { reference, image };
  const { verifySignatures } = await import('../signatures/verifySignatures.ts');
  const signature = await verifySignatures(wanted.signatures, image, reference, await registry.get(), signal);
  return { reference, image, ...(signature === undefined ? {} : { signature }) };
}

/** A locked layer that the image does not have is missed before anything is downloaded. @throws LockBytesDiffer */
function requireLayer({ wanted, module }: FetchStep, { manifest }: Image): void {
  const layer = module?.layerDigest;
  if (layer === undefined || manifest.layers.some(({ digest }) => digest === layer)) return;
  const found = manifest.layers.map(({ digest }) => digest).join(', ');
  throw new LockBytesDiffer(wanted.name, wanted.version, `the layer ${layer}`, found === '' ? 'no layers' : found);
}

/** Where the lockfile, and not the manifest, names a digest that the registry no longer has, an update is the way out. */
async function asLocked({ wanted, module, digest }: FetchStep, error: unknown): Promise<unknown> {
  if (module === undefined || isPinned(wanted)) return error;
  const { notFoundIn } = await import('./registryAnswers.ts');
  const gone = notFoundIn(error);
  return gone === undefined ? error : new LockedImageGone(wanted.name, wanted.version, digest, gone);
}

function isPinned({ source }: WantedVersion): boolean {
  return source.kind === 'file' || source.reference.digest !== undefined;
}

/** An alias fails because its target does: a consequence of `cause`, never a fault of its own. */
export class AliasTargetFailed extends Refusal {
  readonly code = 'ALIAS_TARGET_FAILED';
  /** Of the target, `NAME/VERSION`. */
  readonly target: string;

  constructor(alias: WantedAlias, cause: Error | undefined) {
    const target = `${alias.name}/${alias.target}`;
    super(`${versionKey(alias)} is an alias of version ${alias.target}, which could not be mirrored`, {
      subject: versionKey(alias),
      expected: `a published ${target}`,
      hint: `Fix ${target}; the next sync publishes its aliases as well.`,
      consequenceOf: cause,
    });
    this.target = target;
  }
}

/** Decides what becomes of each alias, from the steps of its target and its own copy in the tree. @throws TreeFault */
export function planAliases(
  job: SyncJob,
  versions: readonly VersionStep[],
  tree: Tree,
  signal: AbortSignal,
): Promise<AliasStep[]> {
  const targets = new Map(versions.map(step => [versionKey(step.wanted), step]));
  return pMap(
    job.selection.aliases,
    async alias => {
      const present = await tree.inspect(alias, { signal });
      const step = decideAlias(alias, targets.get(`${alias.name}/${alias.target}`), present);
      if (step.action !== 'alias') return step;
      const error = await tree.obstacleTo(alias);
      return error === undefined ? step : { action: 'fail', alias, error, copy: step.copy };
    },
    { concurrency: job.limits.files, signal },
  );
}

function decideAlias(alias: WantedAlias, target: VersionStep | undefined, present: Present): AliasStep {
  const copy = servable(present);
  const fail = (error: Error): AliasStep => ({ action: 'fail', alias, error, copy });
  const link = (because: string): AliasStep => ({ action: 'alias', alias, because, copy });
  if (target === undefined || target.action === 'fail') return fail(new AliasTargetFailed(alias, target?.error));
  if (present.state === 'missing') return link('not in the tree');
  if (present.state === 'damaged')
    return present.inaccessible === undefined ? link(damageOf(present)) : fail(present.inaccessible);
  const { metadata } = present;
  if (metadata.aliasOf !== alias.target)
    return link(`was ${metadata.aliasOf === undefined ? 'a version of its own' : `→ ${metadata.aliasOf}`}`);
  const isCurrent = target.action === 'keep' && target.origin === undefined && isAliasOf(metadata, target.metadata);
  return isCurrent ? { action: 'keep', alias, copy: metadata } : link(`follows ${alias.target}`);
}

/** True if an alias' metadata is its target's, except for the version. */
export function isAliasOf(alias: PublishedVersion, target: PublishedVersion): boolean {
  if (alias.aliasOf !== target.version) return false;
  const { aliasOf: _, ...rest } = alias;
  return canonicalJson({ ...rest, version: target.version }) === canonicalJson(target);
}
