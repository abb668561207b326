import { lstat } from 'node:fs/promises';
import type { CatalogFile } from './catalog.ts';
import { asTreeRefusal, isAbsent } from './errors.ts';
import { hashFile, isModuleHead } from './hashFile.ts';
import { fileNameProblem, METADATA_FILE, MODULE_FILE } from './names.ts';
import type { PublishedVersion } from './published.ts';
import { locateVersion, readMetadata } from './readVersion.ts';
import { kindOf, openRegular } from './regular.ts';
import type { Stamps } from './stamps.ts';
import { versionFiles } from './versionFiles.ts';

export type Inspection =
  | { readonly state: 'sound'; readonly metadata: PublishedVersion }
  /** `metadata` is there if metadata.json itself can be read. Each problem names its file. */
  | { readonly state: 'damaged'; readonly metadata?: PublishedVersion; readonly problems: readonly string[] }
  | { readonly state: 'missing' };

export interface InspectionOptions {
  /** Hash even what the stamps know. Default false. */
  readonly rehash?: boolean;
  /** Without them every file is hashed. What is found sound is recorded in them; the caller saves them. */
  readonly stamps?: Stamps;
  readonly signal?: AbortSignal;
}

/**
 * Compares a version's files with what its metadata.json says of them, and metadata.json with how it is written. Writes
 * nothing, follows no link. @throws TreeNameUnfit, TreeNotWritable (no permission to read), TreeFault
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
    return { state: 'damaged', problems: [`${location.path} is ${location.kind}, not a folder`] };
  const read = await readMetadata(treeDir, name, version);
  if ('problem' in read) return { state: 'damaged', problems: [read.problem] };
  const { metadata } = read;
  const unfit = Object.keys(metadata.files).filter(file => fileNameProblem(file) !== undefined);
  if (unfit.length > 0)
    return {
      state: 'damaged',
      problems: [`${METADATA_FILE} names a file that cannot be: ${JSON.stringify(unfit[0])}`],
    };
  const folder = `${name}/${version}`;
  const checks = versionFiles(metadata).map(file => checkFile(treeDir, folder, file, options));
  const problems = (await Promise.all(checks)).filter(problem => problem !== undefined);
  return problems.length === 0 ? { state: 'sound', metadata } : { state: 'damaged', metadata, problems };
}

/** In words what is wrong with one published file; undefined if nothing is. `folder` is below the tree. */
export async function checkFile(
  treeDir: string,
  folder: string,
  file: CatalogFile,
  { rehash = false, stamps, signal }: InspectionOptions,
): Promise<string | undefined> {
  const path = folder === '' ? file.name : `${folder}/${file.name}`;
  const full = `${treeDir}/${path}`;
  try {
    const stat = await lstat(full, { bigint: true });
    if (!stat.isFile()) return `${file.name} is ${kindOf(stat)}, not a file`;
    if (stat.size !== BigInt(file.sizeBytes)) return `${file.name} has ${stat.size} bytes instead of ${file.sizeBytes}`;
    if (!rehash && stamps?.matches(path, stat, file.sha256)) return undefined;
    const handle = await openRegular(full);
    if (handle === undefined || typeof handle === 'string') return `${file.name} is ${handle ?? 'missing'}`;
    try {
      const opened = await handle.stat({ bigint: true });
      const hash = await hashFile(handle, file.sizeBytes, signal);
      if (hash.sha256 !== file.sha256) return `${file.name} has sha256 ${hash.sha256} instead of ${file.sha256}`;
      if (file.name === MODULE_FILE && !isModuleHead(hash.head)) return `${file.name} is no Wasm module`;
      stamps?.record(path, opened, file.sha256);
      return undefined;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (isAbsent(error)) return `${file.name} is missing`;
    throw asTreeRefusal(error, full);
  }
}
