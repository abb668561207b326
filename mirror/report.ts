import type { Refusal } from '../refusal/refusal.ts';

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

/** One published version that the manifest does not name. */
export interface Extra {
  readonly name: string;
  readonly version: string;
}

export interface SyncReport {
  /** The tree's folder, absolute. */
  readonly tree: string;
  /** In the manifest's order, aliases after the versions. */
  readonly outcomes: readonly Outcome[];
  readonly drift: readonly Drift[];
  /** Versions in the tree that the manifest does not name: still there, or removed if `pruned`. */
  readonly extras: readonly Extra[];
  readonly pruned: boolean;
  /** Named by the manifest, still published, and not verified under its signature policy by this run or a lock. */
  readonly unverified: readonly Extra[];
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
