import { z } from 'zod';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const file = z.object({
  /** File name within the version's folder. */
  name: z.string(),
  sizeBytes: z.int().nonnegative(),
  sha256,
});

const version = z.object({
  version: z.string(),
  /** Another version of the same plugin, whose bytes these are. */
  aliasOf: z.string().optional(),
  /** Path of the module below the tree: `<name>/<version>/plugin.wasm`. */
  path: z.string(),
  reference: z.string(),
  digest: z.string(),
  /** True if the manifest named this version's digest itself, or a lock does: its bytes will not change under this path. */
  pinned: z.boolean(),
  sha256,
  sizeBytes: z.int().nonnegative(),
  abi: z.string().nullable(),
  created: z.string().optional(),
  /** Every file of the version, plugin.wasm included, sorted by name. */
  files: z.array(file),
});

/**
 * `<tree>/index.json`: what is published, written last, so that whoever reads it finds whole what it names. Plugins are
 * sorted by name, versions in semver order. A reader meets newer minor additions with unknown keys and lets them pass;
 * a change that breaks readers raises `schemaVersion`.
 */
export const catalogSchema = z.object({
  schemaVersion: z.literal(1),
  /** `sha256:…` over the canonical JSON of `plugins`: two trees with the same digest hold the same files. */
  tree: z.string(),
  plugins: z.array(z.object({ name: z.string(), versions: z.array(version) })),
});

export type Catalog = z.infer<typeof catalogSchema>;
export type CatalogPlugin = Catalog['plugins'][number];
export type CatalogVersion = CatalogPlugin['versions'][number];
export type CatalogFile = CatalogVersion['files'][number];
