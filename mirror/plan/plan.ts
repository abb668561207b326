import { RegistryNotFound } from '../../registry/errors.ts';
import { type Image, platformText } from '../../registry/image.ts';
import { formatReference } from '../../registry/reference.ts';
import type { PublishedVersion } from '../../tree/version/published.ts';
import { type Held, type HeldModule, isHeldModule } from '../lockfile/held.ts';
import { isFrom, originOf } from '../manifest/origin.ts';
import type { WantedVersion } from '../manifest/wanted.ts';
import { type Drift, versionKey } from '../report.ts';
import { fingerprintOf } from '../signatures/policy.ts';

/** Everything known of one wanted version before it is decided what to do about it. */
export interface Findings {
  readonly wanted: WantedVersion;
  /** What stands in the tree. */
  readonly present: Present;
  /** What the manifest pins or the lock holds; undefined if the tag decides. */
  readonly held: Held | undefined;
  /** What the lock said before this run, where an update was asked for, too; undefined if nothing. */
  readonly before?: Held | undefined;
  /** What the registry (or the local file) said; undefined if it was not asked. */
  readonly answer: Answer | undefined;
}

export type Present =
  | { readonly state: 'missing' }
  /**
   * `foreign`: paths below the tree where something stands that sync will not replace. `barred`: its folder may not be looked
   * into, so that nothing can be published there.
   */
  | {
      readonly state: 'damaged';
      readonly problems: readonly string[];
      readonly metadata?: PublishedVersion;
      readonly foreign?: readonly string[];
      readonly barred?: Error;
    }
  | { readonly state: 'sound'; readonly metadata: PublishedVersion };

/** `image` is there if the manifest came along with the digest. */
export type Answer =
  | { readonly kind: 'digest'; readonly digest: string; readonly image?: Image }
  | { readonly kind: 'error'; readonly error: Error };

export type PlanStep =
  | {
      readonly action: 'keep';
      readonly wanted: WantedVersion;
      readonly metadata: PublishedVersion;
      /** Where it is said to come from now, if its metadata.json says otherwise: the same bytes under another name. */
      readonly origin?: string;
      readonly warnings: readonly string[];
    }
  | {
      readonly action: 'fetch';
      readonly wanted: WantedVersion;
      readonly digest: string;
      readonly reason: 'missing' | 'damaged' | 'changed';
      /** In words, for people: what is damaged, what it was before. */
      readonly because: string;
      /** What plugin.wasm must be, if a lock says so. */
      readonly module?: HeldModule;
      /** Which image of an index, if a lock says so. */
      readonly platform?: string;
      /** Already at hand if the answer brought it. */
      readonly image?: Image;
    }
  | { readonly action: 'fail'; readonly wanted: WantedVersion; readonly error: Error };

export interface Plan {
  readonly steps: readonly PlanStep[];
  readonly drift: readonly Drift[];
}

/** Decides, version by version; pure. What is held wins over what a tag says now; the difference is drift. */
export function makePlan(findings: readonly Findings[]): Plan {
  return { steps: findings.map(decide), drift: findings.flatMap(findDrift) };
}

function decide(findings: Findings): PlanStep {
  const { wanted, present, answer, before } = findings;
  if (present.state === 'damaged' && present.barred !== undefined)
    return { action: 'fail', wanted, error: present.barred };
  // A local file is what it is now: only an image can be held to what it was.
  const held = wanted.source.kind === 'file' ? undefined : findings.held;
  const digest = held?.digest ?? (answer?.kind === 'digest' ? answer.digest : undefined);
  if (digest === undefined)
    return { action: 'fail', wanted, error: answer?.kind === 'error' ? answer.error : nobodyAsked(wanted) };
  const vouched = present.state === 'sound' && isVouched(wanted, present.metadata, before);
  if (present.state === 'sound' && vouched && isAsHeld(present.metadata, { ...held, digest }))
    return {
      action: 'keep',
      wanted,
      metadata: present.metadata,
      ...(isFrom(present.metadata, originOf(wanted)) ? {} : { origin: originOf(wanted) }),
      warnings: unasked(answer),
    };
  const answered = answer?.kind === 'digest' && answer.digest === digest ? answer.image : undefined;
  const [module, platform] = [held?.module, held?.platform];
  // What a tag was asked for is the platform of this run, which need not be the lock's.
  const image = platform === undefined || platform === platformOf(answered) ? answered : undefined;
  return {
    action: 'fetch',
    wanted,
    digest,
    ...explain(present, digest, vouched),
    ...(module === undefined ? {} : { module }),
    ...(platform === undefined ? {} : { platform }),
    ...(image === undefined ? {} : { image }),
  };
}

function platformOf(image: Image | undefined): string | undefined {
  return image?.platform === undefined ? undefined : platformText(image.platform);
}

function isAsHeld(metadata: PublishedVersion, { digest, module }: Held): boolean {
  return metadata.digest === digest && (module === undefined || isHeldModule(module, metadata));
}

/**
 * Whether nobody's signature is asked for, or the lock says that it was verified under today's policy, of the very bytes
 * that stand in the tree. Whoever can write to the tree can write that into metadata.json and index.json, too: their word
 * counts only where the lock, which lies elsewhere and is reviewed, says the same. Anything else is fetched and verified.
 */
export function isVouched(
  { signatures }: WantedVersion,
  metadata: PublishedVersion,
  locked: Held | undefined,
): boolean {
  if (signatures === undefined) return true;
  if (locked?.signature === undefined || !isAsHeld(metadata, locked)) return false;
  const { policy, signer, digest } = locked.signature;
  const { signature } = metadata;
  const isSame = signature?.policy === policy && signature.signer === signer && signature.digest === digest;
  return isSame && policy === fingerprintOf(signatures);
}

function nobodyAsked(wanted: WantedVersion): Error {
  return new Error(`${versionKey(wanted)}: nobody was asked for its digest`);
}

function explain(
  present: Present,
  digest: string,
  vouched: boolean,
): { reason: 'missing' | 'damaged' | 'changed'; because: string } {
  if (present.state === 'missing') return { reason: 'missing', because: 'not in the tree' };
  if (present.state === 'damaged') return { reason: 'damaged', because: present.problems.join('; ') };
  if (!vouched) return { reason: 'changed', because: 'no lock says that its signature was verified under this policy' };
  return { reason: 'changed', because: `was ${present.metadata.digest}, is to be ${digest}` };
}

function unasked(answer: Answer | undefined): string[] {
  if (answer?.kind !== 'error') return [];
  const { error } = answer;
  if (!(error instanceof RegistryNotFound))
    return [`kept as it is locked; whether its tag moved is not known: ${error.message}`];
  const found = error.found === undefined ? '' : ` (${error.found})`;
  return [`kept as it is locked, though its tag is gone: ${error.message}${found}`];
}

function findDrift({ wanted, present, held: pinned, answer, before }: Findings): Drift[] {
  const held = pinned ?? (before === undefined ? publishedOf(wanted, present) : undefined);
  if (held === undefined || answer?.kind !== 'digest' || answer.digest === held.digest) return [];
  const { name, version, source } = wanted;
  if (source.kind === 'file') {
    const [lockedDigest, foundDigest] = [held.digest, answer.digest];
    return [{ name, version, reference: `file:${source.written}`, lockedDigest, foundDigest, local: true }];
  }
  if (source.reference.digest !== undefined) return [];
  const { registry, repository, tag } = source.reference;
  const created = answer.image?.manifest.annotations?.['org.opencontainers.image.created'];
  return [
    {
      name,
      version,
      reference: `${registry}/${repository}:${tag}`,
      lockedDigest: held.digest,
      foundDigest: answer.digest,
      ...(pinned === undefined ? { followed: true as const } : {}),
      ...(created === undefined ? {} : { foundCreated: created }),
    },
  ];
}

/** Where no lock holds a tag, what was published from it before tells that it has moved. */
function publishedOf({ source }: WantedVersion, present: Present): Pick<Held, 'digest'> | undefined {
  if (source.kind === 'file' || present.state !== 'sound') return undefined;
  return present.metadata.reference === formatReference(source.reference) ? present.metadata : undefined;
}
