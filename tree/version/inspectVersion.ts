import { lstat } from 'node:fs/promises';
import { isAbsent } from '../../base/errno.ts';
import { asReadRefusal, TreeUnreadable } from '../errors.ts';
import { fileNameProblem, METADATA_FILE, MODULE_FILE } from '../names.ts';
import { hashFile, isModuleHead, kindOf, openRegular } from '../regularFile.ts';
import type { Stamps } from '../stamps.ts';
import type { PublishedVersion } from './published.ts';
import { locateVersion, readMetadata, UNREADABLE } from './readVersion.ts';
import { type CatalogFile, versionFiles } from './versionFiles.ts';

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
