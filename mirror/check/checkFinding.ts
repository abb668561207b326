/**
 * - `missing`: not in the tree; `damaged`: there, but not as it was published
 * - `stale`: another image than the locked one or than --platform asks for, or one that the lockfile does not say was verified
 *   under today's signature policy
 * - `moved`: the tag leads to another digest than the lockfile (without one: the tree) has
 * - `unlocked`: the lockfile does not have it, has it from elsewhere, or describes it otherwise than the tree
 * - `extra`: in the tree or the lockfile, not in the manifest
 * - `gone`: the registry has no such tag (any more)
 * - `unreachable`: its tag could not be asked for
 * - `untold`: the registry's answer to HEAD has no digest; not a difference
 * - `unknown`: a file or folder that was not published from here
 */
export type FindingKind =
  | 'missing'
  | 'damaged'
  | 'stale'
  | 'moved'
  | 'unlocked'
  | 'extra'
  | 'gone'
  | 'unreachable'
  | 'untold'
  | 'unknown';

export type CheckFinding = VersionFinding | TreeFinding;

/** Of a version or an alias. */
export interface VersionFinding extends Finding {
  readonly name: string;
  readonly version: string;
}

/** Of another file or folder in the tree. */
export interface TreeFinding extends Finding {
  /** Below the tree. */
  readonly path: string;
}

interface Finding {
  readonly kind: FindingKind;
  /** In words, for people. */
  readonly detail: string;
  readonly expectedDigest?: string;
  readonly foundDigest?: string;
  /** Paths below the tree that sync leaves alone, since they were not published from here: to be moved away by hand. */
  readonly foreign?: readonly string[];
  /** True if this user may not read it. */
  readonly unreadable?: boolean;
  /** True if sync takes it only with a signature that satisfies the manifest's policy. */
  readonly needsSignature?: boolean;
  /** True if the bundle, a delta, does not contain the image: its base has to be loaded first. */
  readonly inBase?: boolean;
  readonly error?: Error;
}
