import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Digest } from '../../base/digest.ts';
import { Refusal } from '../../base/refusal.ts';
import { openStamps, type Stamps } from '../../tree/stamps.ts';
import type { Coding } from '../../tree/version/codings.ts';
import type { LockfileUse } from '../lockfile/lockedVersions.ts';
import type { PluginManifest, WantedAlias, WantedVersion } from '../manifest/wanted.ts';
import type { Published } from '../report.ts';

/** The request for a run. Each part has one name here and keeps it in the plan and in the report. */
export interface SyncJob {
  /** The whole manifest, with the references that the user wrote. */
  readonly manifest: PluginManifest;
  readonly selection: Selection;
  readonly lockfile: LockfileUse;
  readonly tree: TreeUse;
  readonly limits: SyncLimits;
  /** The bundle that the run reads instead of registries. All that the run takes from it is verified before it publishes. */
  readonly bundle?: BundleUse;
}

export interface BundleUse {
  /** As the user wrote it. */
  readonly path: string;
  /** Of a delta: digests of versions that must be in the tree already. */
  readonly requires: ReadonlySet<string>;
  /** Digests that its index names and that it should contain, and does not. */
  readonly lacking: readonly Digest[];
}

/** A delta is used where its base was not loaded or pushed before. */
export class BundleBaseMissing extends Refusal {
  readonly code = 'BUNDLE_BASE_MISSING';
}

/** The part of a manifest that a run mirrors (`--only`), from the registry that it asks (`--registry`). */
export interface Selection {
  /** In the manifest's order, with the references that the registry is asked for. */
  readonly versions: readonly WantedVersion[];
  readonly aliases: readonly WantedAlias[];
  /** True if `--only` matches a version, whether the manifest names it or not. Pruning removes no other version. */
  readonly includes: (it: Published) => boolean;
  /** The image of an index to take: `os/architecture[/variant]`. Default: registry/ chooses. */
  readonly platform?: string;
}

export interface TreeUse {
  /** The folder as the user wrote it. */
  readonly dir: string;
  /** Where this machine keeps the stamps of the tree's files. Default: nowhere, and every file is hashed. */
  readonly stampsFile?: string | undefined;
  /** Hash every published byte even where the stamps say that nothing changed. */
  readonly rehash: boolean;
  /** Remove versions that the manifest does not name. */
  readonly prune: boolean;
  /** The compressed forms of plugin.wasm that each version has. */
  readonly codings: readonly Coding[];
  /** How long to wait, in milliseconds, for another run that holds the tree's writer lock. 0: refuse. */
  readonly waitMs: number;
}

/** How many of each may be in work at the same time. */
export interface SyncLimits {
  /** Versions being published. Twice the blobs in flight, since some versions are being extracted or made durable. */
  readonly versions: number;
  /** Requests for manifests and digests. They are small, so this is four times the blobs in flight. */
  readonly questions: number;
  /** Versions of the tree being looked at. */
  readonly files: number;
}

/** @param blobs how many blobs may be in flight (`--concurrency`) */
export function limitsOf(blobs: number): SyncLimits {
  return { versions: blobs * 2, questions: blobs * 4, files: 8 };
}

/** A tree to read. A tree that is open for publishing is one, too. */
export interface ReadableTree {
  /** Absolute, without symbolic links. */
  readonly treeDir: string;
  readonly stamps: Stamps;
}

/** Opens a tree without taking its writer lock, to read it only. A tree that does not exist has no versions. */
export async function viewTree({ dir, stampsFile }: TreeUse): Promise<ReadableTree> {
  const path = resolve(dir);
  const treeDir = await realpath(path).catch(() => path);
  return { treeDir, stamps: await openStamps(stampsFile, treeDir) };
}
