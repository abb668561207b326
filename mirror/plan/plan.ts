import type { Image } from '../../registry/image.ts';
import type { Reference } from '../../registry/reference.ts';
import type { VersionId } from '../../tree/names.ts';
import type { CatalogFile, PublishedVersion } from '../../tree/version/published.ts';
import { openedLayers } from '../extract/layers/openedLayers.ts';
import { MODULE_LIMIT_BYTES } from '../extract/module/moduleFile.ts';
import type { LockedModule, LockedVersions } from '../lockfile/lockedVersions.ts';
import type { WantedAlias, WantedVersion } from '../manifest/wanted.ts';
import type { Drift, Extra } from '../report.ts';
import type { SignatureProof } from '../signatures/policy.ts';
import type { OldCatalog } from './facts.ts';
import type { SyncJob } from './job.ts';

/** Everything that a run will do, decided before the first byte is written. */
export interface SyncPlan {
  readonly job: SyncJob;
  /** The lockfile as it was when the plan was made, compared with the manifest: entries that will be added and removed. */
  readonly lockfile: LockedVersions;
  /** In the manifest's order. */
  readonly versions: readonly VersionStep[];
  readonly aliases: readonly AliasStep[];
  readonly drift: readonly Drift[];
  /** The tree's catalog as it was when the plan was made. */
  readonly old: OldCatalog;
  readonly catalog: CatalogPlan;
  /** Errors that concern the run as a whole: a disk that is too small, a folder where the catalog should be written. */
  readonly problems: readonly Error[];
}

export type VersionStep = KeepStep | FetchStep | FailStep;

interface Step {
  readonly wanted: WantedVersion;
  /** The copy in the tree that gateways can be served as long as this step has not succeeded. */
  readonly copy: PublishedVersion | undefined;
}

export interface KeepStep extends Step {
  readonly action: 'keep';
  readonly metadata: PublishedVersion;
  /** The origin to record, if metadata.json names another one: the same bytes under another name. */
  readonly origin?: string;
  readonly warnings: readonly string[];
}

export interface FetchStep extends Step {
  readonly action: 'fetch';
  readonly digest: string;
  readonly reason: 'missing' | 'damaged' | 'changed';
  /** In words, for people: the damage, or the digest that it had before. */
  readonly because: string;
  /** The locked plugin.wasm: the fetched one must be the same. */
  readonly module?: LockedModule;
  /** Which image of an index, if the lockfile says so. */
  readonly platform?: string;
  /** The image to fetch by its digest; absent for a local file. */
  readonly image?: ResolvedImage;
}

export interface ResolvedImage {
  /** With its digest. */
  readonly reference: Reference;
  readonly image: Image;
  /** The signature that the manifest's policy asks for, verified. */
  readonly signature?: SignatureProof;
}

interface FailStep extends Step {
  readonly action: 'fail';
  readonly error: Error;
}

export type AliasStep =
  | { readonly action: 'keep'; readonly alias: WantedAlias; readonly copy: PublishedVersion }
  /** `because` says in words what the tree has there now. */
  | {
      readonly action: 'alias';
      readonly alias: WantedAlias;
      readonly because: string;
      readonly copy: PublishedVersion | undefined;
    }
  | {
      readonly action: 'fail';
      readonly alias: WantedAlias;
      readonly error: Error;
      readonly copy: PublishedVersion | undefined;
    };

/** The new catalog, and the versions in the tree that this run does not mirror. */
export interface CatalogPlan {
  /** Why no catalog can be written: a folder of the tree may not be read. The lists are empty then. */
  readonly error?: Error;
  /** The manifest names them, --only leaves them out, and the catalog goes on listing them. */
  readonly unselected: readonly PublishedVersion[];
  /** The manifest names them, --only leaves them out, and the catalog can no longer list them. */
  readonly problems: readonly Error[];
  /** The manifest does not name them, and they stay. */
  readonly staying: readonly StayingExtra[];
  /** The manifest does not name them, and --prune removes them. */
  readonly pruned: readonly PrunedExtra[];
}

/** A version that the manifest does not name. `listed` are its files as the tree's catalog has them; absent if it has none. */
export interface FoundExtra extends VersionId {
  readonly listed?: readonly CatalogFile[];
}

export interface StayingExtra {
  readonly extra: Extra;
  /** Absent if the catalog cannot go on listing it. */
  readonly metadata: PublishedVersion | undefined;
}

export interface PrunedExtra {
  readonly found: FoundExtra;
  /** With the result that its removal will have. */
  readonly extra: Extra;
}

/** Bytes of a step's layers that are opened, compressed as the registry stores them; 0 for a local file. */
export function layerBytes(step: VersionStep): number {
  return step.action === 'fetch' ? sum(layersOf(step).values()) : 0;
}

/** Bytes to download if no layer is in the cache; a layer that several versions share counts once. */
export function bytesToDownload(versions: readonly VersionStep[]): number {
  return sum(new Map(versions.flatMap(step => (step.action === 'fetch' ? [...layersOf(step)] : []))).values());
}

/**
 * Estimates the bytes that the run writes: locked modules by their size, others as the registry stores them, at most the limit
 * of a module for each image. The sizes are what the images declare: one that declares too much must not stop the others.
 */
export function bytesToWrite(versions: readonly VersionStep[]): number {
  const modules = versions.map(step => (step.action === 'fetch' ? (step.module?.sizeBytes ?? 0) : 0));
  const stored = versions.map(step => Math.min(layerBytes(step), MODULE_LIMIT_BYTES));
  return Math.max(sum(modules), Math.min(sum(stored), bytesToDownload(versions)));
}

function layersOf({ image }: FetchStep): Map<string, number> {
  const opened = image === undefined ? [] : openedLayers(image.image.manifest);
  return new Map(opened.map(layer => [layer.digest, layer.size]));
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
