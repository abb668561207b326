import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Digest, isDigest } from '../../base/digest.ts';
import { errnoWords, isSystemError } from '../../base/errno.ts';
import { LayoutInvalid, LayoutUnreadable } from '../../layout/errors.ts';
import type { Layout } from '../../layout/layout.ts';
import { type LayoutEntry, nameOf, SUBJECT } from '../../layout/layoutIndex.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { lockfilePath, readLockfile } from '../lockfile/lockfile.ts';
import { parsePluginManifest, readPluginManifest } from '../manifest/readManifest.ts';
import type { PluginManifest } from '../manifest/wanted.ts';
import { selectVersions } from '../plan/job.ts';
import { versionKey } from '../report.ts';
import { type BundleDocument, LOCKFILE_TITLE, MANIFEST_TITLE, readDocument } from './document.ts';
import { BundleManifestMissing } from './errors.ts';

/** An open bundle. The manifest's path leads to a temporary folder with the bundle's documents, until `close`. */
export interface OpenBundle {
  readonly layout: Layout;
  readonly manifest: PluginManifest;
  /** The globs with which it was made. Empty: all of the manifest. */
  readonly only: readonly string[];
  /** Of a delta: digests of versions that the receiver must have, as its tree names them. */
  readonly requires: ReadonlySet<string>;
  /** Digests that index.json names, that the bundle does not contain, and that it does not leave to a base. */
  readonly lacking: readonly Digest[];
  close(): Promise<void>;
}

/** A manifest has at most 8 MiB, a lockfile 64. */
const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;

/**
 * Opens a bundle: a folder, a tar, any part of a split one, or its checksum file.
 * @param manifestPath a manifest to use, with the lockfile next to it, instead of the bundle's own
 * @param files `unverified` if the caller verifies all blobs: local modules and keys are not compared with their digests
 * @throws LayoutUnreadable, LayoutInvalid, LayoutPartWrong, BundleManifestMissing, and the refusals of the manifest and the
 * lockfile
 */
export async function openBundle(
  path: string,
  manifestPath?: string,
  files: 'verified' | 'unverified' = 'verified',
): Promise<OpenBundle> {
  const layout = await openLayout(path);
  let folder: string | undefined;
  const close = async (): Promise<void> => {
    await layout.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  };
  try {
    const document = await readDocument(layout);
    const requires = new Set(document?.config.requires);
    const lacking = document === undefined ? [] : await findLacking(layout, requires);
    if (manifestPath !== undefined)
      return { layout, manifest: await readPluginManifest(manifestPath), only: [], requires, lacking, close };
    if (document === undefined) throw noManifest(path);
    const made = await writingTemporary(path, () => mkdtemp(join(tmpdir(), 'plugin-mirror-')));
    folder = made;
    const manifest = await writingTemporary(path, () =>
      unpackDocuments(layout, document, join(made, basename(resolve(path))), files),
    );
    const { only } = document.config;
    await requireAgreement(layout, manifest);
    if (files === 'verified') await requireIndexed(layout, manifest, only);
    return { layout, manifest, only, requires, lacking, close };
  } catch (error) {
    await close();
    throw error;
  }
}

const WRITING: readonly (string | undefined)[] = ['mkdtemp', 'mkdir', 'open', 'write'];

/** Containers with a read-only root often have no folder for temporary files. @throws LayoutUnreadable that names it */
async function writingTemporary<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isSystemError(error) || !WRITING.includes(error.syscall)) throw error;
    throw new LayoutUnreadable(`${path} cannot be read, because the temporary folder ${tmpdir()} cannot be written`, {
      subject: tmpdir(),
      expected: 'a folder that this user may write, with room for the manifest and the local modules in the bundle',
      found: errnoWords(error) ?? error.message,
      hint: 'Set TMPDIR to such a folder. In a container with a read-only root, mount a tmpfs at /tmp.',
      cause: error,
    });
  }
}

async function findLacking(layout: Layout, requires: ReadonlySet<string>): Promise<Digest[]> {
  const lacking: Digest[] = [];
  for (const entry of layout.index.entries)
    if ((await layout.sizeOf(entry.digest)) === undefined && !(await isLeft(layout, requires, entry)))
      lacking.push(entry.digest);
  return lacking;
}

/** Returns whether a delta leaves an entry to its base: images that it requires, and what refers to them or to their children. */
export async function isLeft(layout: Layout, requires: ReadonlySet<string>, entry: LayoutEntry): Promise<boolean> {
  if (requires.has(entry.digest)) return true;
  const subject = signedBy(nameOf(entry)) ?? entry.annotations?.[SUBJECT];
  if (requires.size === 0 || !isDigest(subject)) return false;
  return (await layout.sizeOf(subject)) === undefined;
}

/** The image that a tag of cosign's signatures, `sha256-HEX.sig`, belongs to. */
function signedBy(name: string | undefined): string | undefined {
  const [, algorithm, hex] = /:(sha256|sha512)-([0-9a-f]+)\.sig$/.exec(name ?? '') ?? [];
  return algorithm === undefined ? undefined : `${algorithm}:${hex}`;
}

/** Writes manifest, lockfile and the files that the manifest names to a folder that the bundle's name shows in messages. */
async function unpackDocuments(
  layout: Layout,
  { titled, files }: BundleDocument,
  folder: string,
  verified: 'verified' | 'unverified',
): Promise<PluginManifest> {
  await mkdir(join(folder, 'files'), { recursive: true });
  const read = async (title: string): Promise<Buffer> => {
    const digest = titled.get(title);
    if (digest === undefined) throw noManifest(layout.path);
    return layout.read(digest, MAX_DOCUMENT_BYTES);
  };
  const file = join(folder, MANIFEST_TITLE);
  const text = await read(MANIFEST_TITLE);
  await writeFile(file, text);
  await writeFile(lockfilePath(file), await read(LOCKFILE_TITLE));
  const paths = new Map<string, string>();
  for (const [written, digest] of files)
    paths.set(written, await unpack(layout, digest, join(folder, 'files'), verified === 'verified'));
  return parsePluginManifest(text.toString('utf8'), {
    file,
    locate: written => paths.get(written) ?? join(folder, 'files', 'missing'),
    named: namedIn(layout, MANIFEST_TITLE),
  });
}

/** Errors name the bundle: the temporary files do not exist when a user reads the message. */
function namedIn({ path }: Layout, title: string): { readonly file: string; readonly hint: string } {
  const hint = 'Copy the bundle again, or make it again. If a later plugin-mirror wrote it, use that one.';
  return { file: `${title} in ${path}`, hint };
}

/** Without `verify`, a damaged module would be reported as one that was changed after the lockfile was written. */
async function unpack(layout: Layout, digest: Digest, folder: string, verify: boolean): Promise<string> {
  const target = join(folder, digest.replace(':', '-'));
  const [algorithm = '', hex] = digest.split(':');
  const hash = createHash(algorithm);
  const source = (await layout.open(digest)).on('data', (chunk: Buffer) => hash.update(chunk));
  await pipeline(source, createWriteStream(target));
  if (verify && hash.digest('hex') !== hex) throw await layout.blame(digest);
  return target;
}

/** @throws LayoutInvalid if the lockfile and index.json lead to different images, and the refusals of the lockfile */
async function requireAgreement(layout: Layout, manifest: PluginManifest): Promise<void> {
  const named = new Map(layout.index.entries.map(entry => [nameOf(entry), entry.digest]));
  const { entries = [] } = (await readLockfile(lockfilePath(manifest.file), namedIn(layout, LOCKFILE_TITLE))) ?? {};
  for (const entry of entries) {
    if (entry.kind !== 'image') continue;
    const reference = entry.reference.replace(/@.*$/, '');
    const found = named.get(reference);
    if (
      found === undefined ||
      found === entry.digest ||
      named.get(`${reference.replace(/:[^:/]*$/, '')}@${entry.digest}`) !== undefined
    )
      continue;
    throw new LayoutInvalid(`The lockfile in ${layout.path} disagrees with its index.json`, {
      subject: reference,
      expected: `${entry.digest}, as the lockfile has it`,
      found: `${found} in index.json`,
      hint: 'The bundle was changed after it was written: copy it again from where it was made.',
    });
  }
}

/**
 * Every image that the lockfile has for this bundle is in index.json, those of a delta's base as well.
 * @throws LayoutInvalid, and the refusals of the lockfile
 */
async function requireIndexed(layout: Layout, manifest: PluginManifest, only: readonly string[]): Promise<void> {
  const { entries = [] } = (await readLockfile(lockfilePath(manifest.file))) ?? {};
  const selected = new Set(selectVersions(manifest, { only }).versions.map(versionKey));
  const indexed = new Set<string>(layout.index.entries.map(({ digest }) => digest));
  const lacking = entries.filter(
    entry => entry.kind === 'image' && selected.has(versionKey(entry)) && !indexed.has(entry.digest),
  );
  const [first, ...others] = lacking;
  if (first?.kind !== 'image') return;
  const rest = others.map(({ name, version }) => `${name} ${version}`);
  throw new LayoutInvalid(`The lockfile in ${layout.path} names an image that its index.json lacks`, {
    subject: `${first.name} ${first.version}`,
    expected: `${first.digest} in index.json`,
    found: rest.length === 0 ? 'no such image' : `neither that image nor ${listed(rest)}`,
    hint: 'The bundle was changed after it was written: copy it again from where it was made.',
  });
}

function listed(names: readonly string[]): string {
  return `${names.slice(0, 3).join(', ')}${names.length > 3 ? ` and ${names.length - 3} more` : ''}`;
}

function noManifest(path: string): BundleManifestMissing {
  return new BundleManifestMissing(`${path} has no manifest of plugin-mirror`, {
    subject: path,
    expected: 'a bundle that plugin-mirror bundle wrote',
    found: 'an OCI image layout that another tool wrote',
    hint: 'sync, check and push read it with a manifest of yours, --manifest FILE, and its lockfile; sync --no-frozen needs no lockfile.',
  });
}
