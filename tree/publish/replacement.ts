import { createHash } from 'node:crypto';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errno, isAbsent, isForbidden } from '../../base/errno.ts';
import { type Check, fitting, list, nullable, object, optional, text } from '../../base/shape.ts';
import { TreeUnreadable } from '../errors.ts';
import {
  fileNameProblem,
  METADATA_FILE,
  MODULE_FILE,
  nameProblem,
  OWN_FILES,
  type VersionId,
  versionProblem,
} from '../names.ts';
import { readRegular } from '../regularFile.ts';
import { locateVersion } from '../version/inspectVersion.ts';
import { folderTime } from '../version/published.ts';
import { setTime, syncFolder } from './durable.ts';

const INTENT_SUFFIX = '.intent.json';

/** A replacement as it is recorded next to the staged folder, in the intent log. */
export interface Intent {
  readonly name: string;
  readonly version: string;
  /** The name of the staged folder, next to the intent. */
  readonly folder: string;
  /** sha256 of metadata.json before and after: recovery uses them to see whether the version has changed since. */
  readonly was: string | null;
  readonly becomes: string;
  readonly created?: string;
  /** In the order of renaming: plugin.wasm first, metadata.json last. */
  readonly files: readonly string[];
  /** Files of the old version that the new one does not have. */
  readonly stale: readonly string[];
}

const fileName = acceptedBy(name => (OWN_FILES.includes(name) ? undefined : fileNameProblem(name)));

const intentShape = object({
  name: acceptedBy(nameProblem),
  version: acceptedBy(versionProblem),
  folder: fitting(/^[a-z]+-\d+$/, 'a staged folder'),
  was: nullable(text),
  becomes: text,
  created: optional(text),
  files: list(fileName),
  stale: list(fileName),
});

export interface Replacement {
  readonly name: string;
  readonly version: string;
  readonly created: string | undefined;
  readonly stagedDir: string;
  readonly files: readonly string[];
  readonly stale: readonly string[];
}

/**
 * The first of two steps that replace the files of a published version: writes the intent to the disk. plugin.wasm is never
 * absent in between (a gateway closes the route of a plugin that it cannot download), and a kill leaves no mixture of old and
 * new. After this returns, the staged folder must be kept until applyReplacement or, in a later process, recoverReplacements is done.
 */
export async function declareReplacement(
  treeDir: string,
  stagingDir: string,
  { name, version, created, stagedDir, files, stale }: Replacement,
): Promise<Intent> {
  const becomes = await metadataHash(stagedDir);
  if (becomes === null) throw new Error(`${stagedDir} has no ${METADATA_FILE}`);
  const intent: Intent = {
    name,
    version,
    folder: basename(stagedDir),
    was: await metadataHash(join(treeDir, name, version)),
    becomes,
    ...(created === undefined ? {} : { created }),
    files: [...files].sort((a, b) => rank(a) - rank(b)),
    stale: [...stale],
  };
  const path = intentPath(stagingDir, intent);
  try {
    await writeFile(`${path}.new`, JSON.stringify(intent), { flag: 'wx', flush: true });
    await syncFolder(stagingDir);
    await rename(`${path}.new`, path);
  } catch (error) {
    await rm(`${path}.new`, { force: true });
    throw error;
  }
  return intent;
}

/**
 * The second step: replaces each file by one rename, metadata.json last. Can be repeated after a kill.
 * @param requireLock called before each rename; throws if another process has taken the writer lock over
 */
export async function applyReplacement(
  treeDir: string,
  stagingDir: string,
  intent: Intent,
  requireLock: () => Promise<void>,
): Promise<void> {
  await syncFolder(stagingDir);
  const target = join(treeDir, intent.name, intent.version);
  for (const file of intent.files) {
    await requireLock();
    await rename(join(stagingDir, intent.folder, file), join(target, file)).catch(error => {
      // An earlier attempt has renamed it.
      if (!isAbsent(error)) throw error;
    });
  }
  for (const file of intent.stale) {
    await requireLock();
    await rm(join(target, file), { force: true });
  }
  await setTime(target, folderTime(intent.created));
  // The intent is removed only after the renames are on the disk, so that a power cut cannot undo half of them.
  await syncFolder(target);
  await rm(intentPath(stagingDir, intent), { force: true });
}

/** Completes the replacements that a killed run began in this staging folder and returns them. */
export async function recoverReplacements(
  treeDir: string,
  stagingDir: string,
  requireLock: () => Promise<void>,
): Promise<VersionId[]> {
  const recovered = [];
  for (const entry of (await readdir(stagingDir)).sort()) {
    if (!entry.endsWith(INTENT_SUFFIX)) continue;
    const intent = await readIntent(join(stagingDir, entry));
    if (intent === undefined) continue;
    try {
      if (!(await isStillMeant(treeDir, intent))) continue;
      await applyReplacement(treeDir, stagingDir, intent, requireLock);
    } catch (error) {
      // A user has replaced a file by a folder, or removed this user's right to the version's folder. The run then reports
      // the version as damaged, like any other.
      const isDenied = error instanceof TreeUnreadable || isForbidden(error);
      if (!isDenied && errno(error) !== 'EISDIR' && errno(error) !== 'ENOTDIR') throw error;
      continue;
    }
    recovered.push({ name: intent.name, version: intent.version });
  }
  return recovered;
}

function intentPath(stagingDir: string, { folder }: Intent): string {
  return join(stagingDir, `${folder}${INTENT_SUFFIX}`);
}

/** False if another run, which did not see this staging folder, has removed or replaced the version since. */
async function isStillMeant(treeDir: string, { name, version, was, becomes }: Intent): Promise<boolean> {
  if ((await locateVersion(treeDir, name, version)).state !== 'folder') return false;
  const now = await metadataHash(join(treeDir, name, version));
  return now === was || now === becomes;
}

async function readIntent(path: string): Promise<Intent | undefined> {
  const read = await readRegular(path, 1024 * 1024);
  if (read === undefined || typeof read === 'string') return undefined;
  try {
    const value: unknown = JSON.parse(read.bytes.toString('utf8'));
    return intentShape(value) === undefined ? (value as Intent) : undefined;
  } catch {
    return undefined;
  }
}

/** Accepts the texts for which a name check reports no problem. */
function acceptedBy(problemOf: (name: string) => string | undefined): Check {
  return value => (typeof value === 'string' && problemOf(value) === undefined ? undefined : ': expected a name');
}

/** Null if the file does not exist or cannot be read: it can be replaced nevertheless. */
async function metadataHash(folder: string): Promise<string | null> {
  const read = await readRegular(join(folder, METADATA_FILE), 64 * 1024 * 1024).catch(error => {
    if (isForbidden(error)) return undefined;
    throw error;
  });
  if (read === undefined || typeof read === 'string') return null;
  return createHash('sha256').update(read.bytes).digest('hex');
}

function rank(file: string): number {
  return file === MODULE_FILE ? 0 : file === METADATA_FILE ? 2 : 1;
}
