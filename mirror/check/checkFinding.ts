import type { Registry } from '../../registry/registry.ts';
import type { Stamps } from '../../tree/stamps.ts';
import type { HeldVersions } from '../lockfile/lockedVersions.ts';
import type { PluginManifest } from '../manifest/wanted.ts';

/**
 * - `missing`: not in the tree; `damaged`: there, but not as it was published
 * - `stale`: another image than the lock holds or than --platform asks for, or one that no lock says was verified under today's
 *   signature policy
 * - `moved`: the tag leads to another digest than the lock (without a lock: the tree) holds
 * - `unlocked`: the lock does not have it, has it from another place, or says otherwise of it than the tree
 * - `extra`: in the tree or the lock, not in the manifest
 * - `gone`: the registry has no such tag (any more)
 * - `unreachable`: its tag could not be asked
 * - `untold`: the registry's answer to HEAD does not tell; no difference by itself
 * - `unknown`: a file or folder that nobody published
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

/** Of anything else in the tree. */
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
  /** Paths below the tree where something stands that sync leaves alone: it has to be moved away by hand. */
  readonly foreign?: readonly string[];
  /** True where this user may not look. */
  readonly unreadable?: boolean;
  /** True where sync takes it only with a signature that satisfies the manifest's policy. */
  readonly governed?: boolean;
  readonly error?: Error;
}

export interface CheckOptions {
  /** The whole list, with the registry's place as it is to be asked. */
  readonly manifest: PluginManifest;
  readonly treeDir: string;
  readonly held: HeldVersions;
  readonly registry: () => Promise<Registry>;
  readonly stamps?: Stamps;
  /** Which image of an index is asked for. */
  readonly platform?: string;
  readonly rehash?: boolean;
  /** Tags asked at once. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
}
