import { createHash } from 'node:crypto';
import compareBuild from 'semver/functions/compare-build.js';
import parse from 'semver/functions/parse.js';
import { canonicalJson, compareText, readableJson } from '../../base/canonicalJson.ts';
import { modulePath } from '../names.ts';
import type { PublishedVersion } from '../version/published.ts';
import { versionFiles } from '../version/versionFiles.ts';
import type { Catalog, CatalogPlugin, CatalogVersion } from './catalog.ts';

/** One version for writeCatalog; `pinned` as in CatalogVersion. */
export interface CatalogEntry {
  readonly metadata: PublishedVersion;
  readonly pinned: boolean;
  /**
   * The digest that the manifest names. The reference in the catalog then ends with it, by which the server knows what caches may
   * keep.
   */
  readonly pin?: string;
}

/** Builds the catalog of these versions, given in any order. Of two entries for one path the last one counts. */
export function buildCatalog(entries: readonly CatalogEntry[]): Catalog {
  const plugins = new Map<string, Map<string, CatalogVersion>>();
  for (const { metadata, pinned, pin } of entries) {
    const versions = plugins.get(metadata.name) ?? new Map<string, CatalogVersion>();
    plugins.set(metadata.name, versions.set(metadata.version, catalogVersion(metadata, pinned, pin)));
  }
  const sorted: CatalogPlugin[] = [...plugins]
    .sort(([a], [b]) => compareText(a, b))
    .map(([name, versions]) => ({
      name,
      versions: [...versions.values()].sort((a, b) => compareVersions(a.version, b.version)),
    }));
  return { schemaVersion: 1, tree: treeDigest(sorted), plugins: sorted };
}

/** The text of index.json. */
export function catalogText(catalog: Catalog): string {
  return `${JSON.stringify(catalog, null, 2)}\n`;
}

/** `sha256:…` over the canonical JSON of the catalog's `plugins`. */
export function treeDigest(plugins: Catalog['plugins']): string {
  return `sha256:${createHash('sha256').update(canonicalJson(plugins)).digest('hex')}`;
}

/**
 * The text of snapshot-inventory.json, which Higress' acceptance test of a plugin server reads: name → one version. Of several
 * versions the highest by semver is listed, and an alias only if the plugin has nothing else.
 */
export function inventoryText(catalog: Catalog): string {
  const inventory = new Map<string, { version: string; digest: string; wasmSha256: string }>();
  for (const { name, versions } of catalog.plugins) {
    const real = versions.filter(version => version.aliasOf === undefined);
    const highest = real.findLast(version => isSemver(version.version)) ?? real.at(-1) ?? versions.at(-1);
    if (highest === undefined) continue;
    inventory.set(name, { version: highest.version, digest: highest.digest, wasmSha256: highest.sha256 });
  }
  return readableJson(Object.fromEntries(inventory));
}

/** Compares in semver order, lowest first (`v1.2.3` is accepted); versions that are not semver come last, in text order. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parse(a, { loose: true }), parse(b, { loose: true })];
  if (left !== null && right !== null) return compareBuild(left, right) || compareText(a, b);
  if (left !== null) return -1;
  return right === null ? compareText(a, b) : 1;
}

function isSemver(version: string): boolean {
  return parse(version, { loose: true }) !== null;
}

function catalogVersion(metadata: PublishedVersion, pinned: boolean, pin: string | undefined): CatalogVersion {
  const { reference } = metadata;
  return {
    version: metadata.version,
    ...(metadata.aliasOf === undefined ? {} : { aliasOf: metadata.aliasOf }),
    path: modulePath(metadata.name, metadata.version),
    reference: pin === undefined || reference.includes('@') ? reference : `${reference}@${pin}`,
    digest: metadata.digest,
    pinned,
    sha256: metadata.sha256,
    sizeBytes: metadata.sizeBytes,
    abi: metadata.abi,
    ...(metadata.created === undefined ? {} : { created: metadata.created }),
    files: versionFiles(metadata),
  };
}
