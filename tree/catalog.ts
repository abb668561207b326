import { createHash } from 'node:crypto';
import compareBuild from 'semver/functions/compare-build.js';
import parse from 'semver/functions/parse.js';
import { parseBoundedJson } from '../base/boundedJson.ts';
import { canonicalJson, compareText, readableJson } from '../base/canonicalJson.ts';
import { type Check, list, nullable, object, only, optional, sha256, size, text, yesOrNo } from '../base/shape.ts';
import { asReadRefusal, CatalogInvalid, CatalogNewer } from './errors.ts';
import { CATALOG_FILE, INVENTORY_FILE, modulePath } from './names.ts';
import { isFileText, readRegular } from './regularFile.ts';
import { type CatalogFile, type PublishedVersion, versionFiles } from './version/published.ts';

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

/** Returns the problem of a value that should be a catalog of schemaVersion 1, with its path; undefined if it is one. */
export const catalogProblem: Check = object({
  schemaVersion: only(1),
  tree: text,
  plugins: list(object({ name: text, versions: list(version) })),
});

/**
 * Larger than the index.json of 10,000 versions with their documents. Parsing takes several times as much memory, which a server in a
 * container of 256 MiB must have.
 */
export const MAX_CATALOG_BYTES = 16 * 1024 * 1024;

/**
 * Reads `<tree>/index.json`; undefined if it does not exist.
 * @throws CatalogInvalid if it is not JSON, not a catalog or not a regular file; CatalogNewer if a later version wrote it;
 * TreeUnreadable, TreeFault
 */
export async function readCatalog(treeDir: string): Promise<Catalog | undefined> {
  const path = `${treeDir}/${CATALOG_FILE}`;
  const read = await readRegular(path, MAX_CATALOG_BYTES).catch(error => {
    throw asReadRefusal(error, path);
  });
  if (read === undefined) return undefined;
  if (typeof read === 'string')
    throw isFileText(read) ? catalogTooLargeError(path, read) : catalogInvalidError(path, read, undefined, MOVE_AWAY);
  return parseCatalog(read.bytes.toString('utf8'), path);
}

/** Parses the text of an index.json; errors name `path`. @throws CatalogInvalid, CatalogNewer */
export function parseCatalog(text: string, path: string): Catalog {
  let value: unknown;
  try {
    value = parseBoundedJson(text);
  } catch (cause) {
    throw catalogInvalidError(path, text === '' ? 'an empty file' : `not JSON: ${(cause as Error).message}`, cause);
  }
  const schemaVersion =
    typeof value === 'object' && value !== null && 'schemaVersion' in value ? value.schemaVersion : undefined;
  if (typeof schemaVersion === 'number' && schemaVersion > 1)
    throw new CatalogNewer(`${path} was written by a later version of plugin-mirror`, {
      subject: path,
      expected: 'schemaVersion 1',
      found: `schemaVersion ${schemaVersion}`,
      hint: 'Update plugin-mirror, or publish into another folder.',
    });
  const problem = catalogProblem(value);
  if (problem !== undefined) throw catalogInvalidError(path, problem.startsWith(':') ? `the whole${problem}` : problem);
  // Unknown keys are kept: the tree digest covers what a later version of this program may have added.
  return value as Catalog;
}

const WRITE_AGAIN =
  'Run sync again to rewrite it (the plugins stay unchanged), or delete it if the folder is not a plugin tree.';
const MOVE_AWAY =
  'Move it away by hand, because sync replaces only files that it published; then run sync, which writes the file again.';

/** @param found the size in words: `a file of 44216808 bytes` */
export function catalogTooLargeError(path: string, found: string): CatalogInvalid {
  return new CatalogInvalid(`${path} is larger than a plugin catalog`, {
    subject: path,
    expected: `at most ${MAX_CATALOG_BYTES} bytes`,
    found,
    hint: 'Run sync again to write a new one. If the tree has too many versions, divide the manifest.',
  });
}

function catalogInvalidError(path: string, found: string, cause?: unknown, hint = WRITE_AGAIN): CatalogInvalid {
  return new CatalogInvalid(`${path} is not a plugin catalog`, {
    subject: path,
    expected: 'a catalog of schemaVersion 1, as sync writes it',
    found,
    hint,
    ...(cause === undefined ? {} : { cause }),
  });
}

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

export interface DifferingFile {
  readonly file: string;
  /** A predicate about the file. */
  readonly problem: string;
  /** True for a link or a folder, which writeCatalog would refuse to replace. */
  readonly foreign?: true;
}

/** Returns the files that writeCatalog would change for these versions. @throws TreeUnreadable, TreeFault */
export async function differingFiles(treeDir: string, entries: readonly CatalogEntry[]): Promise<DifferingFile[]> {
  const differing: DifferingFile[] = [];
  const catalog = buildCatalog(entries);
  const files = [
    [CATALOG_FILE, catalogText(catalog)],
    [INVENTORY_FILE, inventoryText(catalog)],
  ] as const;
  for (const [file, text] of files) {
    const bytes = Buffer.from(text);
    const found = await readRegular(`${treeDir}/${file}`, bytes.length).catch(error => {
      throw asReadRefusal(error, `${treeDir}/${file}`);
    });
    if (found === undefined) differing.push({ file, problem: 'is missing' });
    else if (typeof found === 'string' && !isFileText(found))
      differing.push({ file, problem: `is ${found}, not a file`, foreign: true });
    else if (typeof found === 'string' || !found.bytes.equals(bytes))
      differing.push({ file, problem: 'differs from what sync would write' });
  }
  return differing;
}
