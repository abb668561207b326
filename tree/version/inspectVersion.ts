import { lstat, readdir } from 'node:fs/promises';
import pMap from 'p-map';
import { parseBoundedJson } from '../../base/boundedJson.ts';
import { isAbsent } from '../../base/errno.ts';
import { asReadRefusal, TreeUnreadable } from '../errors.ts';
import {
  fileNameProblem,
  METADATA_FILE,
  MODULE_FILE,
  nameProblem,
  requireFit,
  type VersionId,
  versionProblem,
} from '../names.ts';
import { hashFile, isFileText, isModuleHead, kindOf, openRegular, readRegular } from '../regularFile.ts';
import type { Stamps } from '../stamps.ts';
import { type CatalogFile, type PublishedVersion, parsePublished, versionFiles } from './published.ts';

const MAX_METADATA_BYTES = 8 * 1024 * 1024;

/**
 * Returns the metadata.json of a version; undefined if it does not exist, is invalid, or belongs to another version. Does not
 * follow links. @throws TreeNameUnfit, TreeUnreadable (of a folder), TreeFault
 */
export async function readVersion(
  treeDir: string,
  name: string,
  version: string,
): Promise<PublishedVersion | undefined> {
  const location = await locateVersion(treeDir, name, version);
  if (location.state !== 'folder') return undefined;
  const read = await readMetadata(treeDir, name, version);
  return 'metadata' in read ? read.metadata : undefined;
}

export type Location =
  | { readonly state: 'folder' }
  | { readonly state: 'missing' }
  /** Something else is there: its path relative to the tree, and its kind (see kindOf). */
  | { readonly state: 'foreign'; readonly path: string; readonly kind: string };

/** Whether `<tree>/<name>/<version>` is a folder that can be reached without following a link. @throws TreeNameUnfit */
export async function locateVersion(treeDir: string, name: string, version: string): Promise<Location> {
  requireFit(name, version);
  for (const path of [name, `${name}/${version}`]) {
    try {
      const stat = await lstat(`${treeDir}/${path}`);
      if (!stat.isDirectory()) return { state: 'foreign', path, kind: kindOf(stat) };
    } catch (error) {
      if (isAbsent(error)) return { state: 'missing' };
      throw asReadRefusal(error, `${treeDir}/${path}`);
    }
  }
  return { state: 'folder' };
}

type MetadataRead =
  | { readonly metadata: PublishedVersion; readonly text: string }
  /**
   * `foreign`: sync did not publish what is there and cannot publish over it. `unreadable`: this user may list the folder but
   * not read the file.
   */
  | { readonly problem: string; readonly foreign?: boolean; readonly unreadable?: true };

/** A predicate about a file. */
export const UNREADABLE = 'may not be read by this user';

/** Reads metadata.json of a version whose folder the caller has located. @throws TreeUnreadable (of that folder), TreeFault */
export async function readMetadata(treeDir: string, name: string, version: string): Promise<MetadataRead> {
  const path = `${treeDir}/${name}/${version}/${METADATA_FILE}`;
  const read = await readRegular(path, MAX_METADATA_BYTES).catch(async error => {
    const refusal = asReadRefusal(error, path);
    if (refusal instanceof TreeUnreadable && (await isThere(path))) return null;
    throw refusal;
  });
  if (read === null) return { problem: `${METADATA_FILE} ${UNREADABLE}`, unreadable: true };
  if (read === undefined) return { problem: `${METADATA_FILE} is missing` };
  if (typeof read === 'string') return { problem: `${METADATA_FILE} is ${read}`, foreign: !isFileText(read) };
  const text = read.bytes.toString('utf8');
  let value: unknown;
  try {
    value = parseBoundedJson(text);
  } catch {
    return { problem: `${METADATA_FILE} is not JSON` };
  }
  const metadata = parsePublished(value);
  if (typeof metadata === 'string') return { problem: `${METADATA_FILE} is invalid (${metadata})` };
  if (metadata.name !== name || metadata.version !== version)
    return { problem: `${METADATA_FILE} belongs to ${metadata.name} ${metadata.version}` };
  return { metadata, text };
}

/** Distinguishes a file that may not be read from a folder that may not be listed. */
async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}

export type Inspection =
  | { readonly state: 'sound'; readonly metadata: PublishedVersion }
  /**
   * `metadata` is set if metadata.json can be read. Each problem names its file. `foreign` lists the paths, relative to the
   * tree, of what sync did not publish: the user has to move it away. `unreadable` is true if this user may not read one of
   * the files; the owner of the folder may replace it nevertheless.
   */
  | {
      readonly state: 'damaged';
      readonly metadata?: PublishedVersion;
      readonly problems: readonly string[];
      readonly foreign?: readonly string[];
      readonly unreadable?: true;
    }
  | { readonly state: 'missing' };

export interface InspectionOptions {
  /** Hash files even if their stamps are unchanged. Default false. */
  readonly rehash?: boolean;
  /** Without stamps every file is hashed. Sound files are recorded in them; the caller saves them. */
  readonly stamps?: Stamps;
  readonly signal?: AbortSignal;
}

/**
 * Compares a version's files with its metadata.json, and metadata.json with the text that sync would write. Writes nothing,
 * follows no link. @throws TreeNameUnfit, TreeUnreadable (of a folder; a file is a problem of the version), TreeFault
 */
export async function inspectVersion(
  treeDir: string,
  name: string,
  version: string,
  options: InspectionOptions = {},
): Promise<Inspection> {
  options.signal?.throwIfAborted();
  const location = await locateVersion(treeDir, name, version);
  if (location.state === 'missing') return { state: 'missing' };
  if (location.state === 'foreign')
    return {
      state: 'damaged',
      problems: [`${location.path} is ${location.kind}, not a folder`],
      foreign: [location.path],
    };
  const read = await readMetadata(treeDir, name, version);
  if ('problem' in read)
    return {
      state: 'damaged',
      problems: [read.problem],
      ...(read.foreign ? { foreign: [`${name}/${version}/${METADATA_FILE}`] } : {}),
      ...(read.unreadable ? { unreadable: true as const } : {}),
    };
  const { metadata } = read;
  const unfit = Object.keys(metadata.files).filter(file => fileNameProblem(file) !== undefined);
  if (unfit.length > 0)
    return {
      state: 'damaged',
      problems: [`${METADATA_FILE} has an impossible file name: ${JSON.stringify(unfit[0])}`],
    };
  const folder = `${name}/${version}`;
  const problems: string[] = [];
  const foreign: string[] = [];
  let unreadable = false;
  await Promise.all(
    versionFiles(metadata).map(async file => {
      const problem = await checkFile(treeDir, `${folder}/${file.name}`, file, options).catch((error: unknown) => {
        if (!(error instanceof TreeUnreadable)) throw error;
        unreadable = true;
        return damaged(UNREADABLE);
      });
      if (problem !== undefined) problems.push(`${file.name} ${problem.text}`);
      if (problem?.foreign) foreign.push(`${folder}/${file.name}`);
    }),
  );
  return problems.length === 0
    ? { state: 'sound', metadata }
    : {
        state: 'damaged',
        metadata,
        problems: problems.sort(),
        ...(foreign.length === 0 ? {} : { foreign: foreign.sort() }),
        ...(unreadable ? { unreadable } : {}),
      };
}

export interface FileProblem {
  readonly kind: 'missing' | 'damaged';
  /** A predicate about the file: "is missing". */
  readonly text: string;
  /** True for a link or a folder at the path of the file: sync cannot publish there until it is moved away. */
  readonly foreign?: boolean;
}

/**
 * Returns the problem of a published file; undefined if it is sound. The caller has located the folders above it.
 * @throws TreeUnreadable, TreeFault
 */
export async function checkFile(
  treeDir: string,
  path: string,
  { name, sizeBytes, sha256 }: CatalogFile,
  { rehash = false, stamps, signal }: InspectionOptions,
): Promise<FileProblem | undefined> {
  const full = `${treeDir}/${path}`;
  try {
    const stat = await lstat(full, { bigint: true });
    if (!stat.isFile()) return damaged(`is ${kindOf(stat)}, not a file`, true);
    if (stat.size !== BigInt(sizeBytes)) return damaged(`has ${stat.size} bytes instead of ${sizeBytes}`);
    if (!rehash && stamps?.matches(path, stat, sha256)) return undefined;
    const handle = await openRegular(full);
    if (handle === undefined) return MISSING;
    if (typeof handle === 'string') return damaged(`is ${handle}, not a file`, true);
    try {
      const opened = await handle.stat({ bigint: true });
      const hash = await hashFile(handle, sizeBytes, signal);
      if (hash.sha256 !== sha256) return damaged(`has sha256 ${hash.sha256} instead of ${sha256}`);
      if (name === MODULE_FILE && !isModuleHead(hash.head)) return damaged('is not a Wasm module');
      stamps?.record(path, opened, sha256);
      return undefined;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (isAbsent(error)) return MISSING;
    throw asReadRefusal(error, full);
  }
}

const MISSING: FileProblem = { kind: 'missing', text: 'is missing' };

function damaged(text: string, foreign = false): FileProblem {
  return { kind: 'damaged', text, ...(foreign ? { foreign } : {}) };
}

interface ListingOptions {
  /** Called for each plugin folder that this user may not read, which is then skipped. Default: the error is thrown. */
  readonly onUnreadable?: (name: string, error: TreeUnreadable) => void;
}

/**
 * Returns every `<name>/<version>` folder of a tree that has a metadata.json, sorted. The catalog is not read: the folders
 * show what was published. @throws TreeUnreadable, TreeFault
 */
export async function listVersions(
  treeDir: string,
  { onUnreadable = throwError }: ListingOptions = {},
): Promise<VersionId[]> {
  const names = (await folders(treeDir)).filter(name => nameProblem(name) === undefined);
  const versions = await pMap(names, name => versionsOf(treeDir, name, onUnreadable), { concurrency: 16 });
  return versions.flat();
}

function throwError(_name: string, error: TreeUnreadable): never {
  throw error;
}

async function versionsOf(
  treeDir: string,
  name: string,
  onUnreadable: (name: string, error: TreeUnreadable) => void,
): Promise<VersionId[]> {
  const found = folders(`${treeDir}/${name}`).catch((error: unknown) => {
    if (!(error instanceof TreeUnreadable)) throw error;
    onUnreadable(name, error);
    return [];
  });
  const versions = (await found).filter(version => versionProblem(version) === undefined);
  const published = await pMap(versions, version => isFile(`${treeDir}/${name}/${version}/${METADATA_FILE}`), {
    concurrency: 16,
  });
  return versions.filter((_, index) => published[index]).map(version => ({ name, version }));
}

async function folders(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
      .sort();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw asReadRefusal(error, dir);
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isFile() ?? false;
}
