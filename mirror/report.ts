import type { Refusal } from '../base/refusal.ts';

export type OutcomeStatus = 'fetched' | 'kept' | 'aliased' | 'failed';

/** What became of one version (or alias) of the manifest. */
export interface Outcome {
  readonly name: string;
  readonly version: string;
  readonly status: OutcomeStatus;
  readonly reference: string;
  readonly aliasOf?: string;
  readonly digest?: string;
  readonly sha256?: string;
  readonly sizeBytes?: number;
  readonly error?: Refusal | Error;
  /** What the operator should know although it went well: no ABI export, a tag that could not be asked … */
  readonly warnings: readonly string[];
}

/** A tag that no longer leads to the digest that the lock holds, or a local file that is no longer the one it holds. */
export interface Drift {
  readonly name: string;
  readonly version: string;
  readonly reference: string;
  readonly lockedDigest: string;
  readonly foundDigest: string;
  /** RFC 3339, when the image behind the tag was made, if it says so. */
  readonly foundCreated?: string;
  /** True of a local file: it is taken as it is now, unlike a tag, which is followed only by an update. */
  readonly local?: true;
  /** True where no lock holds the tag: it was followed, and `lockedDigest` is what was published before. */
  readonly followed?: true;
}

/** One published version. */
export interface Published {
  readonly name: string;
  readonly version: string;
}

/** A version that the tree has, or its catalog listed, and the manifest does not name. */
export interface Extra extends Published {
  /** It was pruned. */
  readonly removed: boolean;
  /** Why --prune spared it: a version of the same plugin failed in this run, or --only leaves it out. */
  readonly kept?: 'failed' | 'unselected';
  /** What is wrong with it, in words. */
  readonly damage?: string;
  /** True of what is so damaged that the catalog no longer lists it. */
  readonly unlisted?: true;
  /**
   * True of what neither the catalog nor a metadata.json as it was published vouches for, as of what an earlier pruning had
   * to leave: nothing tells which of its files are from here, so pruning does not touch it either.
   */
  readonly leftover?: true;
  /** Paths below the tree that stay: what lies there is not what was published. */
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
  /** Named by the manifest, still published, and not verified under its signature policy by this run or a lock. */
  readonly unverified: readonly Published[];
  /** What went wrong with the run as a whole after its plugins were done, e.g. a lock that cannot be written. */
  readonly problems: readonly Error[];
  /** True if the run was stopped from outside: what is listed as fetched is whole and published. */
  readonly interrupted: boolean;
  readonly bytesDownloaded: number;
  readonly requests: number;
  readonly durationMs: number;
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
export function versionKey(it: { readonly name: string; readonly version: string }): string {
  return `${it.name}/${it.version}`;
}

/** A text about a version without the version in front, for where that stands already. */
export function withoutSubject(
  text: string,
  { name, version }: { readonly name: string; readonly version: string },
): string {
  const subject = `${name} ${version}: `;
  return text.startsWith(subject) ? text.slice(subject.length) : text;
}
