import { createHash } from 'node:crypto';
import { compareText, readableJson } from '../../base/canonicalJson.ts';
import { fitting, nullable, object, only, optional, record, sha256, size, text } from '../../base/shape.ts';
import { CHECKSUM_FILE, METADATA_FILE, METADATA_TEXT_FILE, MODULE_FILE } from '../names.ts';

/**
 * The content of `<tree>/<name>/<version>/metadata.json`: everything known about one published version. It has sorted keys and
 * no time of this machine, so that two runs over the same image write the same bytes.
 */
export interface PublishedVersion {
  readonly schemaVersion: 1;
  readonly name: string;
  readonly version: string;
  /** Set on an alias: the version of the same plugin whose bytes these are. */
  readonly aliasOf?: string;
  /** The origin: `HOST/REPOSITORY:TAG`, or `file:<path as written in the manifest>`. */
  readonly reference: string;
  /** The digest that the reference resolved to (the index's if the image has one). For a local file: its sha256. */
  readonly digest: string;
  /** `os/architecture[/variant]`, if an index was followed. */
  readonly platform?: string;
  /** The layer that contained plugin.wasm. Absent for a local file. */
  readonly layer?: { readonly digest: string; readonly mediaType: string; readonly sizeBytes: number };
  /** sha256 and md5 of plugin.wasm in lower-case hex, and its size in bytes. */
  readonly sha256: string;
  readonly md5: string;
  readonly sizeBytes: number;
  /** `0.1.0`, `0.2.0` or `0.2.1`; null if the module exports no Proxy-Wasm ABI version. */
  readonly abi: string | null;
  /** RFC 3339, if the image has a creation time. */
  readonly created?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /**
   * The signature that the manifest's policy required, verified before the version was published: the policy's fingerprint in
   * hex, the signer, and the signed digest (an index's or a manifest's). Absent if no policy applied to the image.
   */
  readonly signature?: { readonly policy: string; readonly signer: string; readonly digest: string };
  /** The other files of the version: those of the image (spec.yaml, README.md …), plugin.wasm.gz and the like. */
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly sizeBytes: number }>>;
}

/** Returns the value as a PublishedVersion, or its problem as a text. Allows unknown keys, as in every file of the tree. */
export function parsePublished(value: unknown): PublishedVersion | string {
  const problem = published(value);
  if (problem === undefined) return value as PublishedVersion;
  return problem.startsWith(':') ? `the whole${problem}` : problem;
}

const published = object({
  schemaVersion: only(1),
  name: text,
  version: text,
  aliasOf: optional(text),
  reference: text,
  digest: text,
  platform: optional(text),
  layer: optional(object({ digest: text, mediaType: text, sizeBytes: size })),
  sha256,
  md5: fitting(/^[0-9a-f]{32}$/, 'an md5 in lower-case hex'),
  sizeBytes: size,
  abi: nullable(text),
  created: optional(text),
  annotations: optional(record(text)),
  signature: optional(object({ policy: sha256, signer: text, digest: text })),
  files: record(object({ sha256, sizeBytes: size })),
});

/** The files of a version that sync makes, by name. Their text depends on the metadata only. */
export function ownFiles(metadata: PublishedVersion): ReadonlyMap<string, string> {
  return new Map([
    [METADATA_FILE, readableJson(metadata)],
    [METADATA_TEXT_FILE, metadataText(metadata)],
    // The format of GNU sha256sum; `sha256sum -c` in the version's folder accepts it.
    [CHECKSUM_FILE, `${metadata.sha256}  ${MODULE_FILE}\n`],
  ]);
}

const known = new WeakMap<PublishedVersion, readonly CatalogFile[]>();

/** All files of a version as they must be in the tree, sorted by name. Cached, because a run needs them several times. */
export function versionFiles(metadata: PublishedVersion): readonly CatalogFile[] {
  const files = known.get(metadata) ?? listFiles(metadata);
  known.set(metadata, files);
  return files;
}

function listFiles(metadata: PublishedVersion): readonly CatalogFile[] {
  const files = [{ name: MODULE_FILE, sizeBytes: metadata.sizeBytes, sha256: metadata.sha256 }];
  for (const [name, text] of ownFiles(metadata))
    files.push({ name, sizeBytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex') });
  for (const [name, { sizeBytes, sha256 }] of Object.entries(metadata.files)) files.push({ name, sizeBytes, sha256 });
  return files.sort((a, b) => compareText(a.name, b.name));
}

/** The lines that the build of Higress' own plugin server writes, without the times of a build machine. */
function metadataText(metadata: PublishedVersion): string {
  const created = metadata.created ?? 'unknown';
  return [
    `Plugin Name: ${metadata.name}`,
    `Size: ${metadata.sizeBytes} bytes`,
    `Last Modified: ${created}`,
    `Created: ${created}`,
    `MD5: ${metadata.md5}`,
    '',
  ].join('\n');
}

const DAY_MS = 24 * 60 * 60 * 1000;
const FIRST_FILE_TIME_MS = Date.UTC(1981, 0, 1);
/** Forty years: about 631 million even seconds. */
const FILE_TIME_RANGE_MS = 14_610 * DAY_MS;

/**
 * The mtime of a file, derived from its bytes: a time between 1981 and 2020, in whole even seconds (FAT and zip store no odd
 * ones), that depends on the sha256 alone. Tools that compare sizes and times (rsync, BuildKit's local contexts, robocopy) take
 * two files with the same path, size and mtime for the same file, so other bytes must have another time, even if the image has
 * the same creation time or none. The same bytes have the same time in every tree.
 */
export function fileTime(sha256: string): Date {
  // 13 hexadecimal digits are 52 bits, which a number holds exactly.
  const evenSeconds = Number.parseInt(sha256.slice(0, 13), 16) % (FILE_TIME_RANGE_MS / 2000);
  return new Date(FIRST_FILE_TIME_MS + evenSeconds * 2000);
}

/** The mtime of folders without a time of their own: the earliest time that zip can store. */
export const UNKNOWN_TIME = new Date('1980-01-01T00:00:00Z');

/** The mtime of a version's folder: the image's creation time in whole even seconds, or UNKNOWN_TIME. */
export function folderTime(created: string | undefined): Date {
  const ms = created === undefined ? Number.NaN : Date.parse(created);
  // Reproducible builds use 0001-01-01 or 1970-01-01, which some file systems and tar cannot store; nor times after 2106.
  if (!(ms > UNKNOWN_TIME.getTime() && ms < Date.UTC(2106, 0, 1))) return UNKNOWN_TIME;
  return new Date(Math.floor(ms / 2000) * 2000);
}

export interface CatalogFile {
  /** Name within the version's folder. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}
