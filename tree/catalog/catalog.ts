import { type Check, list, nullable, object, only, optional, sha256, size, text, yesOrNo } from '../../base/shape.ts';
import type { CatalogFile } from '../version/versionFiles.ts';

/**
 * `<tree>/index.json`, the list of what is published. It is written last, so that a reader finds every file that it names.
 * Plugins are sorted by name, versions in semver order. Later versions of this program may add keys, which readers ignore; a
 * change that breaks readers raises `schemaVersion`.
 */
export interface Catalog {
  readonly schemaVersion: 1;
  /** `sha256:…` over the canonical JSON of `plugins`: two trees with the same digest hold the same files. */
  readonly tree: string;
  readonly plugins: readonly CatalogPlugin[];
}

export interface CatalogPlugin {
  readonly name: string;
  readonly versions: readonly CatalogVersion[];
}

export interface CatalogVersion {
  readonly version: string;
  /** Set on an alias: the version of the same plugin whose bytes these are. */
  readonly aliasOf?: string;
  /** Path of the module relative to the tree: `<name>/<version>/plugin.wasm`. */
  readonly path: string;
  readonly reference: string;
  readonly digest: string;
  /** True if the manifest or the lockfile names the version's digest. With a lockfile, `sync --update` may change it. */
  readonly pinned: boolean;
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly abi: string | null;
  readonly created?: string;
  /** Every file of the version, plugin.wasm included, sorted by name. */
  readonly files: readonly CatalogFile[];
}

/** Returns the problem of a value that should be a catalog of schemaVersion 1, with its path; undefined if it is one. */
export function catalogProblem(value: unknown): string | undefined {
  return catalog(value);
}

const version = object({
  version: text,
  aliasOf: optional(text),
  path: text,
  reference: text,
  digest: text,
  pinned: yesOrNo,
  sha256,
  sizeBytes: size,
  abi: nullable(text),
  created: optional(text),
  files: list(object({ name: text, sizeBytes: size, sha256 })),
});

const catalog: Check = object({
  schemaVersion: only(1),
  tree: text,
  plugins: list(object({ name: text, versions: list(version) })),
});
