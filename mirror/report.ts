import type { Refusal } from '../base/refusal.ts';
import type { VersionId } from '../tree/names.ts';
import type { PublishedVersion } from '../tree/version/published.ts';

export type OutcomeStatus = 'fetched' | 'kept' | 'aliased' | 'failed';

/** The result for one version or alias of the manifest. */
export interface Outcome {
  readonly name: string;
  readonly version: string;
  readonly status: OutcomeStatus;
  readonly reference: string;
  readonly aliasOf?: string;
  /** True of an alias that the tree had already. */
  readonly unchanged?: true;
  readonly digest?: string;
  /** The digest that was locked before, if this run replaced it. */
  readonly previousDigest?: string;
  readonly sha256?: string;
  readonly sizeBytes?: number;
  readonly error?: Refusal | Error;
  /** Of a fetched version: whether the tree lacked it, had damaged files, or had another image. */
  readonly change?: 'missing' | 'damaged' | 'changed';
  /** Notes for the operator about a version that was mirrored: no ABI export, a tag that could not be checked … */
  readonly warnings: readonly string[];
}

/** An outcome, with the metadata of the version that the tree has now, if it has one that this run mirrored. */
export interface Done {
  readonly outcome: Outcome;
  readonly metadata?: PublishedVersion;
}

/** A tag that no longer leads to the locked digest, or a local file that is no longer the locked one. */
export interface Drift {
  readonly name: string;
  readonly version: string;
  readonly reference: string;
  readonly lockedDigest: string;
  readonly foundDigest: string;
  /** RFC 3339, when the image behind the tag was made, if it says so. */
  readonly foundCreated?: string;
  /** True of a local file: it is taken as it is now, while a tag is followed only by an update. */
  readonly local?: true;
  /** True of a tag that is not locked: it was followed, and `lockedDigest` is what was published before. */
  readonly followed?: true;
}

/** A version that the tree has, or its catalog lists, and the manifest does not name. */
export interface Extra extends VersionId {
  /** It was pruned. */
  readonly removed: boolean;
  /** Why --prune kept it: a version of the same plugin failed in this run, or --only leaves it out. */
  readonly kept?: 'failed' | 'unselected';
  /** Its damage, in words. */
  readonly damage?: string;
  /** True of a version that is so damaged that the catalog no longer lists it. */
  readonly unlisted?: true;
  /**
   * True of what an earlier pruning had to leave. Neither the catalog nor a metadata.json as it was published says which of its
   * files were published from here, so pruning does not touch it either.
   */
  readonly leftover?: true;
  /** Paths below the tree that stay, since their bytes are not the published ones. */
  readonly leftPaths?: readonly string[];
}

export interface SyncReport {
  /** The tree's folder, absolute. */
  readonly tree: string;
  /** In the manifest's order, aliases after the versions. */
  readonly outcomes: readonly Outcome[];
  readonly drift: readonly Drift[];
  /** Versions that the manifest does not name. */
  readonly extras: readonly Extra[];
  /** Named by the manifest, still published, and not verified under its signature policy by this run or the lockfile. */
  readonly unverified: readonly VersionId[];
  /** Errors of the run as a whole, met when its plugins were done, such as a lockfile that cannot be written. */
  readonly problems: readonly Error[];
  /** True if the run was stopped from outside. Versions that are reported as fetched are whole and published. */
  readonly interrupted: boolean;
  readonly bytesDownloaded: number;
  readonly requests: number;
  readonly durationMs: number;
  /** The metadata of every version and alias that this run mirrored: the lockfile is written from it. */
  readonly published: readonly PublishedVersion[];
}

/** True if the run published, replaced or removed a version or an alias. */
export function hasChanged({ outcomes, extras }: SyncReport): boolean {
  const isNew = ({ status, unchanged }: Outcome) => status === 'fetched' || (status === 'aliased' && !unchanged);
  return outcomes.some(isNew) || extras.some(it => it.removed);
}

export function countOutcomes(report: SyncReport): Record<OutcomeStatus, number> {
  const counts: Record<OutcomeStatus, number> = { fetched: 0, kept: 0, aliased: 0, failed: 0 };
  for (const outcome of report.outcomes) counts[outcome.status] += 1;
  return counts;
}

export function hasFailed(report: SyncReport): boolean {
  return report.problems.length > 0 || report.outcomes.some(outcome => outcome.status === 'failed');
}

/** `NAME/VERSION`, the identity of a published version everywhere in this room. */
export function versionKey(it: VersionId): string {
  return `${it.name}/${it.version}`;
}

/** A text about a version, without the version that it begins with. */
export function withoutSubject(text: string, { name, version }: VersionId): string {
  const subject = `${name} ${version}: `;
  return text.startsWith(subject) ? text.slice(subject.length) : text;
}
