import { access, constants, lstat, readFile, realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Node } from 'jsonc-parser';
import * as v from 'valibot';
import { hasRepeatedKeys, parseBoundedJson } from '../../base/boundedJson.ts';
import { LoopTurn } from '../../base/eventLoop.ts';
import { printableJsonText } from '../../base/printable.ts';
import { Refusal } from '../../base/refusal.ts';
import { type Digest, parseReference } from '../../registry/reference.ts';
import { nameProblem, versionProblem } from '../../tree/names.ts';
import { formatPath, MOST_PROBLEMS, type Path, type Problem, quoted } from '../json/problem.ts';
import { schemaProblems } from '../json/schemaProblems.ts';
import { type JsonDocument, memberOf, membersOf, parseStrictJson } from '../json/strictJson.ts';
import { readTextFile, replaceTextFile } from '../json/textFile.ts';
import type { SignatureProof } from '../signatures/policy.ts';
import { LEADS_NOWHERE, LockConflict, LockInvalid, LockNewer, LockUnreadable, LockUnwritable } from './errors.ts';
import { lockedAnnotationKeys, lockfileKeysAt, lockfileSchema, lockVersion, type WrittenLockfile } from './schema.ts';

/** The images and files that a manifest resolved to, sorted by name and version. */
export interface Lockfile {
  readonly entries: readonly LockfileEntry[];
}

export type LockfileEntry = LockedImage | LockedFile;

interface Locked {
  readonly name: string;
  readonly version: string;
  /** Of plugin.wasm: bare lower-case hex, and bytes. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

interface LockedImage extends Locked {
  readonly kind: 'image';
  /** formatReference of what the manifest asked for. */
  readonly reference: string;
  readonly digest: Digest;
  /** `os/architecture[/variant]`, if an index was followed. */
  readonly platform?: string;
  readonly layer: { readonly digest: Digest; readonly mediaType: string; readonly sizeBytes: number };
  /** The signature that the manifest's policy asked for, verified. It counts here, and not in the tree's own files. */
  readonly signature?: SignatureProof;
  /** Of lockedAnnotationKeys only; others are not written. */
  readonly annotations?: Readonly<Record<string, string>>;
}

interface LockedFile extends Locked {
  readonly kind: 'file';
  /** The path as the manifest says it. */
  readonly file: string;
}

/** Twice the size of 10,000 versions with their annotations and signatures. */
const maxSizeBytes = 32 * 1024 * 1024;

/** The path of a manifest's lockfile: the chosen one, or `manifest.lock.json` next to `manifest.json`. */
export function lockfilePath(manifestPath: string, chosen?: string): string {
  return chosen !== undefined ? resolve(chosen) : `${manifestPath.replace(/\.json$/i, '')}.lock.json`;
}

/** How errors name a lockfile. */
interface LockfileName {
  readonly file: string;
  /** The way to repair it. Default: version control. */
  readonly hint?: string;
}

/**
 * Reads a lockfile; undefined if there is none.
 * @param named how errors name it. Default: by its path
 * @throws LockConflict, LockNewer, LockInvalid, LockUnreadable
 */
export async function readLockfile(path: string, named: LockfileName = { file: path }): Promise<Lockfile | undefined> {
  const read = await readTextFile(path, maxSizeBytes);
  if ('text' in read) return parseLockfile(read.text, named);
  if (read.kind === 'missing') {
    // A link to a missing file is not "no lockfile": one was meant to be there.
    if ((await lstat(path).catch(() => undefined))?.isSymbolicLink())
      throw new LockUnreadable(path, LEADS_NOWHERE, read.cause);
    return undefined;
  }
  if (read.kind === 'unreadable') throw new LockUnreadable(path, read.found, read.cause);
  const found = read.kind === 'too large' ? 'more than 32 MiB' : read.found;
  throw new LockInvalid(named.file, [{ place: '', found, expected: 'JSON in UTF-8' }], named.hint);
}

/** @throws LockConflict, LockNewer, LockInvalid */
export async function parseLockfile(text: string, { file, hint }: LockfileName): Promise<Lockfile> {
  const marker = /^(<{7}|={7}|>{7}|\|{7})(?: .*)?\r?$/m.exec(text);
  if (marker) throw new LockConflict(file, text.slice(0, marker.index).split('\n').length, marker[1] ?? '', hint);
  const turn = new LoopTurn();
  const valid = await parseValid(text, turn);
  if (valid !== undefined) return valid;
  await turn.rest();
  const document = await parseStrictJson(text);
  const { root } = document;
  const version = memberOf(root, 'lockVersion')?.node.value;
  if (typeof version === 'number' && version > lockVersion) throw new LockNewer(file, version, lockVersion);
  await turn.rest();
  const problems = [
    ...document.problems,
    ...schemaProblems(lockfileSchema, document, { source: text, keysAt: lockfileKeysAt }),
  ];
  await turn.rest();
  if (root !== undefined) problems.push(...entryProblems(root, document));
  if (problems.length > 0 || root === undefined) throw new LockInvalid(file, problems, hint);
  return { entries: sortEntries(entriesOf(document.value as WrittenLockfile)) };
}

/**
 * Reads a lockfile without mistakes. Positions for messages, which take most of the time of reading, are left out; undefined if
 * a mistake must be reported.
 */
async function parseValid(text: string, turn: LoopTurn): Promise<Lockfile | undefined> {
  try {
    const written = parseBoundedJson(text);
    if (hasRepeatedKeys(text, written)) return undefined;
    await turn.rest();
    if (!v.is(lockfileSchema, written)) return undefined;
    await turn.rest();
    const entries = entriesOf(written);
    const isFit =
      Object.keys(written.plugins).every(name => name !== '__proto__' && nameProblem(name) === undefined) &&
      entries.every(
        entry =>
          entry.version !== '__proto__' &&
          versionProblem(entry.version) === undefined &&
          (entry.kind === 'file' || referenceFault(entry.reference, entry.digest) === undefined),
      );
    return isFit ? { entries: sortEntries(entries) } : undefined;
  } catch {
    return undefined;
  }
}

/** Looks whether the lockfile's folder can be written. @throws LockUnwritable */
export async function requireWritable(path: string): Promise<void> {
  try {
    await access(dirname(await realpath(path).catch(() => path)), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new LockUnwritable(path, error instanceof Error ? error.message : String(error), error);
  }
}

/**
 * Writes the lockfile whole or not at all. Returns false, and writes nothing, if it has these bytes.
 * @param beforeRename called directly before the file is replaced; if it throws, the file stays as it is
 * @throws LockUnwritable, a Refusal of `beforeRename`
 */
export async function writeLockfile(
  path: string,
  lockfile: Lockfile,
  beforeRename?: () => Promise<void>,
): Promise<boolean> {
  const text = formatLockfile(lockfile);
  try {
    // Of a symbolic link the target is replaced, not the link.
    const target = await realpath(path).catch(() => path);
    if ((await readFile(target, 'utf8').catch(() => undefined)) === text) return false;
    await replaceTextFile(target, text, beforeRename);
    return true;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new LockUnwritable(path, error instanceof Error ? error.message : String(error), error);
  }
}

/**
 * The lockfile as text: sorted, indented, ending in a newline. Equal lockfiles give equal bytes. People read its changes in
 * terminals and on web pages, so the text of images is escaped as in other output.
 */
export function formatLockfile(lockfile: Lockfile): string {
  const plugins = new Map<string, [string, unknown][]>();
  for (const entry of sortEntries(lockfile.entries)) {
    const versions = plugins.get(entry.name) ?? [];
    versions.push([entry.version, writtenEntry(entry)]);
    plugins.set(entry.name, versions);
  }
  const written = [...plugins].map(([name, versions]) => [name, Object.fromEntries(versions)] as const);
  return `${printableJsonText(JSON.stringify({ lockVersion, plugins: Object.fromEntries(written) }, null, 2))}\n`;
}

/** True if both entries are written alike. */
export function isSameEntry(one: LockfileEntry, other: LockfileEntry | undefined): boolean {
  return other !== undefined && JSON.stringify(writtenEntry(one)) === JSON.stringify(writtenEntry(other));
}

function writtenEntry(entry: LockfileEntry): unknown {
  const { sha256, sizeBytes } = entry;
  if (entry.kind === 'file') return { file: entry.file, sha256, sizeBytes };
  const { reference, digest, platform, layer } = entry;
  const { annotations, signature } = entry;
  const kept = lockedAnnotationKeys.flatMap(key =>
    annotations && Object.hasOwn(annotations, key) ? [[key, annotations[key]] as const] : [],
  );
  return {
    reference,
    digest,
    ...(platform === undefined ? {} : { platform }),
    layer: { digest: layer.digest, mediaType: layer.mediaType, sizeBytes: layer.sizeBytes },
    sha256,
    sizeBytes,
    ...(signature === undefined ? {} : { signature: writtenProof(signature) }),
    ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
  };
}

function writtenProof({ policy, signer, digest }: SignatureProof): SignatureProof {
  return { policy, signer, digest };
}

function entriesOf(written: WrittenLockfile): LockfileEntry[] {
  return Object.entries(written.plugins).flatMap(([name, versions]) =>
    Object.entries(versions).map(([version, entry]): LockfileEntry => {
      if ('file' in entry) return { kind: 'file', name, version, ...entry };
      const { digest, layer, platform, annotations, signature, ...rest } = entry;
      return {
        kind: 'image',
        name,
        version,
        ...rest,
        digest: digest as Digest,
        layer: { ...layer, digest: layer.digest as Digest },
        ...(platform === undefined ? {} : { platform }),
        ...(signature === undefined ? {} : { signature }),
        ...(annotations === undefined ? {} : { annotations: annotations as Record<string, string> }),
      };
    }),
  );
}

/** By code unit, so that no locale of a machine changes the order. */
function sortEntries(entries: readonly LockfileEntry[]): LockfileEntry[] {
  const order = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);
  return [...entries].sort((one, other) => order(one.name, other.name) || order(one.version, other.version));
}

/** Checks that the schema cannot do: names that a tree can have, references that parse and agree with their digest. */
function entryProblems(root: Node, document: JsonDocument): Problem[] {
  const problems: Problem[] = [];
  const report = (path: Path, node: Node, found: string, expected: string): void =>
    void problems.push({ place: formatPath(path), found, expected, ...document.spot(node.offset) });
  for (const plugin of membersOf(memberOf(root, 'plugins')?.node)) {
    if (problems.length >= MOST_PROBLEMS) break;
    const path = ['plugins', plugin.key];
    const unfit = nameProblem(plugin.key);
    if (unfit !== undefined) report(path, plugin.keyNode, `the name ${quoted(plugin.key)}, which ${unfit}`, 'a name');
    for (const version of membersOf(plugin.node)) {
      const at = [...path, version.key];
      const wrong = versionProblem(version.key);
      if (wrong !== undefined)
        report(at, version.keyNode, `the version ${quoted(version.key)}, which ${wrong}`, 'a version');
      const reference = memberOf(version.node, 'reference')?.node;
      if (reference?.type !== 'string') continue;
      const fault = referenceFault(String(reference.value), memberOf(version.node, 'digest')?.node.value);
      if (fault) report([...at, 'reference'], reference, quoted(String(reference.value)), fault);
    }
  }
  return problems;
}

function referenceFault(text: string, digest: unknown): string | undefined {
  try {
    const reference = parseReference(text);
    if (reference.digest === undefined || reference.digest === digest) return undefined;
    return 'a reference whose digest is the entry’s own';
  } catch {
    return 'HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST';
  }
}
