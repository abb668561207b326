import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { type Digest, isDigest } from '../../base/digest.ts';
import { errnoWords } from '../../base/errno.ts';
import { LayoutBlobDamaged, LayoutInvalid, LayoutPartWrong } from '../../layout/errors.ts';
import type { Layout } from '../../layout/layout.ts';
import { nameOf } from '../../layout/layoutIndex.ts';
import { MAX_MANIFEST_BYTES, type ManifestDocument, parseManifestDocument } from '../../layout/manifestDocument.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { NOT_DISTRIBUTED } from '../../registry/images/gatherImage.ts';
import { LockUnreadable, NO_FILE } from '../lockfile/errors.ts';
import { type LockfileEntry, lockfilePath, readLockfile } from '../lockfile/lockfile.ts';
import { selectVersions } from '../plan/job.ts';
import { versionKey } from '../report.ts';
import { BundleManifestMissing } from './errors.ts';
import { isLeft, type OpenBundle, openBundle } from './openBundle.ts';

/** Everything that is wrong with a bundle, found without a tree. */
export interface BundleAudit {
  /** The path as the user wrote it. */
  readonly bundle: string;
  /** Versions of plugins; 0 for a layout that another tool wrote. */
  readonly versions: number;
  readonly blobs: number;
  /** Bytes of all blobs. */
  readonly sizeBytes: number;
  /** Of a delta: versions whose blobs the receiver must have. */
  readonly inBase: number;
  /** Whether the checksum file next to the bundle was compared. Without one, nothing proves index.json. */
  readonly checksums: 'equal' | 'absent' | 'different';
  readonly damaged: readonly BundleFinding[];
  readonly missing: readonly BundleFinding[];
  /** Differences from the lockfile that the user named. */
  readonly disagreements: readonly string[];
  /** True if nothing is damaged or missing. */
  readonly sound: boolean;
}

export interface BundleFinding {
  /** A blob's digest, a part's file name, or `NAME VERSION`. */
  readonly subject: string;
  readonly problem: string;
  /** The images that need it. */
  readonly images?: readonly string[];
}

interface AuditOptions {
  readonly signal: AbortSignal;
  /** A lockfile to compare the bundle's with. */
  readonly lock?: string | undefined;
  /** Called as bytes are hashed; those of a tar with a checksum file are hashed twice. */
  readonly onRead?: (readBytes: number, ofBytes: number) => void;
}

/**
 * Verifies a whole bundle: its checksum file, the digest of every blob, that no blob is missing which a manifest or the lockfile
 * names, and that lockfile and index agree.
 * @throws what openBundle throws for a file that is no bundle, and the signal's reason
 */
export async function auditBundle(path: string, options: AuditOptions): Promise<BundleAudit> {
  const bundle = await openBundle(path, undefined, 'unverified').catch((error: unknown) => {
    if (error instanceof BundleManifestMissing) return undefined;
    throw error;
  });
  const layout = bundle?.layout ?? (await openLayout(path));
  try {
    return await new Audit(layout, bundle?.requires ?? new Set(), options).run(bundle);
  } finally {
    await (bundle ?? layout).close();
  }
}

class Audit {
  readonly #layout: Layout;
  readonly #requires: ReadonlySet<string>;
  readonly #options: AuditOptions;
  readonly #damaged: BundleFinding[] = [];
  readonly #missing: BundleFinding[] = [];
  /** Every digest that a manifest names, with the images that need it. */
  readonly #named = new Map<Digest, Set<string>>();
  readonly #sizes = new Map<Digest, number>();
  /** Blobs of another size than a manifest says, in words. */
  readonly #wrongSizes = new Map<Digest, string>();
  /** Missing blobs, with the images that need them. */
  readonly #lacking = new Map<Digest, Set<string>>();
  /** All names of blobs, those of links and folders as well. */
  #digests: ReadonlySet<Digest> = new Set();
  /** Manifests that were read, and so verified. */
  readonly #read = new Map<Digest, ManifestDocument | undefined>();

  constructor(layout: Layout, requires: ReadonlySet<string>, options: AuditOptions) {
    this.#layout = layout;
    this.#requires = requires;
    this.#options = options;
  }

  async run(bundle: OpenBundle | undefined): Promise<BundleAudit> {
    const { signal, lock } = this.#options;
    const { entries } = this.#layout.index;
    const digests = await this.#layout.digests();
    this.#digests = new Set(digests);
    for (const entry of entries) {
      signal.throwIfAborted();
      const mayLack = await isLeft(this.#layout, this.#requires, entry);
      await this.#addManifest(entry, nameOf(entry) ?? entry.digest, mayLack);
    }
    const locked = bundle === undefined ? [] : await this.#addLocked(bundle);
    const read = await this.#startReading(digests);
    const compared = await this.#layout.compareChecksums(signal, read.count);
    if (compared instanceof LayoutPartWrong)
      for (const { path, found } of compared.damaged)
        this.#damaged.push({ subject: path, problem: `has not the sha256 of its checksum file, but ${found}` });
    else if (compared instanceof Error) throw compared;
    read.beginBlobs();
    const sizeBytes = await this.#hashBlobs(digests, compared === 'absent', read.count);
    const isPartial = (bundle?.only.length ?? 0) > 0;
    const disagreements = lock === undefined ? [] : await compareLockfiles(locked, lock, isPartial);
    return {
      bundle: this.#layout.path,
      versions: locked.length,
      blobs: digests.length,
      sizeBytes,
      inBase: locked.filter(entry => entry.kind === 'image' && this.#requires.has(entry.digest)).length,
      checksums: compared instanceof Error ? 'different' : compared,
      damaged: this.#damaged,
      missing: this.#missing.map(finding => {
        const images = this.#lacking.get(finding.subject as Digest);
        return images === undefined ? finding : { ...finding, images: [...images] };
      }),
      disagreements,
      sound: this.#damaged.length + this.#missing.length === 0,
    };
  }

  /** Adds a manifest and everything that it names. @returns false if the layout does not contain it */
  async #addManifest({ digest, size }: Descriptor, image: string, mayLack: boolean): Promise<boolean> {
    const isVisited = this.#named.get(digest)?.has(image) === true;
    if (!(await this.#add({ digest, size }, image, mayLack))) return false;
    if (isVisited) return true;
    const document = this.#read.has(digest) ? this.#read.get(digest) : await this.#readManifest(digest);
    this.#read.set(digest, document);
    for (const blob of [document?.config, ...listed(document?.layers)])
      if (isDescriptor(blob) && !NOT_DISTRIBUTED.test(String(blob.mediaType))) await this.#add(blob, image, mayLack);
    const children = listed(document?.manifests).filter(isDescriptor);
    let present = 0;
    // Registries lack some children of indexes, and so do their bundles; an index without any child is of no use.
    for (const child of children) if (await this.#addManifest(child, image, true)) present++;
    const [first] = children;
    if (first !== undefined && present === 0 && !mayLack) this.#lacks(first.digest, image);
    return true;
  }

  /** @returns undefined for a damaged one, which is found again when all blobs are hashed. @throws LayoutInvalid if it is too large */
  async #readManifest(digest: Digest): Promise<ManifestDocument | undefined> {
    try {
      const bytes = await this.#layout.read(digest, MAX_MANIFEST_BYTES);
      return parseManifestDocument<ManifestDocument>(bytes);
    } catch (error) {
      this.#options.signal.throwIfAborted();
      if (error instanceof LayoutInvalid) throw error;
      return undefined;
    }
  }

  async #add({ digest, size }: Descriptor, image: string, mayLack: boolean): Promise<boolean> {
    const images = this.#named.get(digest) ?? new Set();
    this.#named.set(digest, images.add(image));
    const found = this.#sizes.get(digest) ?? (await this.#layout.sizeOf(digest));
    if (found === undefined) {
      if (!mayLack) this.#lacks(digest, image);
      return false;
    }
    if (found !== size && !this.#wrongSizes.has(digest))
      this.#wrongSizes.set(digest, `has ${found} bytes instead of ${size}`);
    this.#sizes.set(digest, found);
    return true;
  }

  #lacks(digest: Digest, image: string): void {
    const images = this.#lacking.get(digest);
    this.#lacking.set(digest, (images ?? new Set()).add(image));
    if (images !== undefined) return;
    const problem = this.#digests.has(digest) ? NO_FILE_THERE : 'is not in the bundle';
    this.#missing.push({ subject: digest, problem });
  }

  /** Compares the lockfile with the index. @returns the entries of the versions that the bundle was made with */
  async #addLocked({ manifest, only }: OpenBundle): Promise<LockfileEntry[]> {
    const entries = (await readLockfile(lockfilePath(manifest.file)))?.entries ?? [];
    const byKey = new Map(entries.map(entry => [versionKey(entry), entry]));
    const named = new Set(this.#layout.index.entries.map(({ digest }) => digest));
    const locked: LockfileEntry[] = [];
    for (const version of selectVersions(manifest, { only }).versions) {
      const subject = `${version.name} ${version.version}`;
      const entry = byKey.get(versionKey(version));
      if (entry === undefined) {
        this.#missing.push({ subject, problem: 'is not in the lockfile of the bundle' });
        continue;
      }
      locked.push(entry);
      if (entry.kind === 'file') {
        const digest: Digest = `sha256:${entry.sha256}`;
        if ((await this.#layout.sizeOf(digest)) === undefined)
          this.#missing.push({ subject, problem: `needs ${digest}, which is not in the bundle` });
      } else if (!named.has(entry.digest))
        this.#missing.push({ subject, problem: `is ${entry.digest} in the lockfile, which index.json does not name` });
      else if (
        !this.#requires.has(entry.digest) &&
        !this.#lacking.has(entry.layer.digest) &&
        (await this.#layout.sizeOf(entry.layer.digest)) === undefined
      )
        this.#lacks(entry.layer.digest, subject);
    }
    return locked;
  }

  /** Counts what is read: first the files, if a checksum file names them, then all blobs. */
  async #startReading(digests: readonly Digest[]): Promise<Reading> {
    const { onRead } = this.#options;
    if (onRead === undefined) return { count: () => undefined, beginBlobs: () => undefined };
    let readBytes = 0;
    let blobBytes = 0;
    for (const digest of digests) blobBytes += (await this.#layout.sizeOf(digest)) ?? 0;
    let ofBytes = blobBytes;
    for (const file of this.#layout.files) ofBytes += (await stat(file)).size;
    return {
      count: bytes => {
        readBytes += bytes;
        onRead(readBytes, ofBytes);
      },
      // Without a checksum file, the files were not read.
      beginBlobs: () => {
        ofBytes = readBytes + blobBytes;
      },
    };
  }

  /**
   * Returns the bytes of all blobs.
   * @param namesFiles add the files that hold a damaged blob: no checksum file has shown which part is damaged
   */
  async #hashBlobs(digests: readonly Digest[], namesFiles: boolean, count: (bytes: number) => void): Promise<number> {
    let sizeBytes = 0;
    for (const digest of digests) {
      const [algorithm = '', hex] = digest.split(':');
      const hash = createHash(algorithm);
      const images = [...(this.#named.get(digest) ?? [])];
      try {
        if ((await this.#layout.sizeOf(digest)) === undefined) {
          if (!this.#lacking.has(digest)) this.#damaged.push({ subject: digest, problem: NO_FILE_THERE, images });
          continue;
        }
        for await (const chunk of await this.#layout.open(digest)) {
          this.#options.signal.throwIfAborted();
          hash.update(chunk as Buffer);
          sizeBytes += (chunk as Buffer).length;
          count((chunk as Buffer).length);
        }
      } catch (error) {
        this.#options.signal.throwIfAborted();
        this.#damaged.push({
          subject: digest,
          problem: `cannot be read (${errnoWords(error) ?? messageOf(error)})`,
          images,
        });
        continue;
      }
      const wrongSize = this.#wrongSizes.get(digest);
      if (hash.digest('hex') === hex) {
        if (wrongSize !== undefined) this.#damaged.push({ subject: digest, problem: wrongSize, images });
        continue;
      }
      const blame = namesFiles ? await this.#layout.blame(digest) : undefined;
      const where = blame instanceof LayoutBlobDamaged ? `: ${blame.found}` : '';
      const facts = [...(wrongSize === undefined ? [] : [wrongSize]), `does not match its digest${where}`];
      this.#damaged.push({ subject: digest, problem: facts.join(' and '), images });
    }
    return sizeBytes;
  }
}

/** Links are not followed: they may lead out of the folder. */
const NO_FILE_THERE = 'is a link or a folder in the bundle, not a regular file';

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Reading {
  readonly count: (bytes: number) => void;
  readonly beginBlobs: () => void;
}

interface Descriptor {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType?: unknown;
}

function listed(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isDescriptor(value: unknown): value is Descriptor {
  if (typeof value !== 'object' || value === null) return false;
  const { digest, size } = value as { digest?: unknown; size?: unknown };
  return isDigest(digest) && typeof size === 'number';
}

/** In words: how the versions of a bundle differ from those of another lockfile. */
async function compareLockfiles(locked: readonly LockfileEntry[], path: string, isPartial: boolean): Promise<string[]> {
  const lockfile = await readLockfile(path);
  if (lockfile === undefined) throw new LockUnreadable(path, NO_FILE);
  const others = new Map(lockfile.entries.map(entry => [versionKey(entry), entry]));
  const contentOf = (entry: LockfileEntry): string =>
    entry.kind === 'image' ? entry.digest : `sha256:${entry.sha256}`;
  const differences = locked.flatMap(entry => {
    const other = others.get(versionKey(entry));
    const subject = `${entry.name} ${entry.version}`;
    if (other === undefined) return [`${subject} is not in ${path}`];
    if (contentOf(other) === contentOf(entry)) return [];
    return [`${subject} is ${contentOf(entry)} in the bundle, and ${contentOf(other)} in ${path}`];
  });
  const inBundle = new Set(locked.map(versionKey));
  const lacking = isPartial ? [] : [...others].filter(([key]) => !inBundle.has(key));
  return [...differences, ...lacking.map(([, { name, version }]) => `${name} ${version} is not in the bundle`)];
}
