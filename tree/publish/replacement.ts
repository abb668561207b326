import { createHash } from 'node:crypto';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errno, isAbsent, isForbidden } from '../../base/errno.ts';
import { type Check, fitting, list, nullable, object, optional, text } from '../../base/shape.ts';
import { TreeUnreadable } from '../errors.ts';
import { fileNameProblem, METADATA_FILE, MODULE_FILE, nameProblem, OWN_FILES, versionProblem } from '../names.ts';
import { readRegular } from '../regularFile.ts';
import { locateVersion } from '../version/readVersion.ts';
import { fileTime } from '../version/versionFiles.ts';
import { setTime, syncFolder } from './durable.ts';

const INTENT_SUFFIX = '.intent.json';

/** What is to be done, as it is written down beside the staged folder. */
export interface Intent {
  readonly name: string;
  readonly version: string;
  /** The staged folder, beside the intent. */
  readonly folder: string;
  /** sha256 of metadata.json before and after: tells on recovery whether the version is still the one meant. */
  readonly was: string | null;
  readonly becomes: string;
  readonly created?: string;
  /** In the order of renaming: plugin.wasm first, metadata.json last. */
  readonly files: readonly string[];
  /** Files of the old version that the new one lacks. */
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
 * Replacing the files of a published version goes in two steps, so that plugin.wasm is never absent (a gateway closes the
 * route of a plugin that it cannot get) and no kill leaves a mixture. First, here, what is to be done is written down.
 * Once this has returned, the staged folder must stay until carryOut or, in a later process, recoverReplacements is done.
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

/** The second step: each file by one rename, metadata.json last. May be repeated. */
export async function carryOut(treeDir: string, stagingDir: string, intent: Intent): Promise<void> {
  await syncFolder(stagingDir);
  const target = join(treeDir, intent.name, intent.version);
  for (const file of intent.files) {
    await rename(join(stagingDir, intent.folder, file), join(target, file)).catch(error => {
      // Renamed before the kill.
      if (!isAbsent(error)) throw error;
    });
  }
  for (const file of intent.stale) {
    await rm(join(target, file), { force: true });
  }
  await setTime(target, fileTime(intent.created));
  // The intent may go only when nothing of this can be undone by a power cut.
  await syncFolder(target);
  await rm(intentPath(stagingDir, intent), { force: true });
}

/** Ends the replacements that a killed run had begun in this staging folder; answers which. */
export async function recoverReplacements(
  treeDir: string,
  stagingDir: string,
): Promise<{ readonly name: string; readonly version: string }[]> {
  const recovered = [];
  for (const entry of (await readdir(stagingDir)).sort()) {
    if (!entry.endsWith(INTENT_SUFFIX)) continue;
    const intent = await readIntent(join(stagingDir, entry));
    if (intent === undefined) continue;
    try {
      if (!(await isStillMeant(treeDir, intent))) continue;
      await carryOut(treeDir, stagingDir, intent);
    } catch (error) {
      // Somebody put a folder where a file of ours was, or took this user the right to the version's folder. The version is
      // then found damaged, and told of, as any other.
      const isBarred = error instanceof TreeUnreadable || isForbidden(error);
      if (!isBarred && errno(error) !== 'EISDIR' && errno(error) !== 'ENOTDIR') throw error;
      continue;
    }
    recovered.push({ name: intent.name, version: intent.version });
  }
  return recovered;
}

function intentPath(stagingDir: string, { folder }: Intent): string {
  return join(stagingDir, `${folder}${INTENT_SUFFIX}`);
}

/** False if the version was removed or published anew since, by a run that did not see this staging folder. */
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

/** A text of which a judge of names has nothing to say. */
function acceptedBy(problemOf: (name: string) => string | undefined): Check {
  return value => (typeof value === 'string' && problemOf(value) === undefined ? undefined : ': expected a name');
}

/** Null where there is none that could be read: it can be replaced all the same. */
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
