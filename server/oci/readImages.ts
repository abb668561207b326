import { realpath } from 'node:fs/promises';
import { relative } from 'node:path';
import { type Digest, isDigest } from '../../base/digest.ts';
import { LayoutInvalid } from '../../layout/errors.ts';
import type { Layout } from '../../layout/layout.ts';
import { type LayoutEntry, nameOf, SUBJECT } from '../../layout/layoutIndex.ts';
import { MAX_MANIFEST_BYTES, parseManifestDocument } from '../../layout/manifestDocument.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { partPatterns } from '../../layout/partFiles.ts';
import type { Content } from '../content/content.ts';
import type { ServedFile } from '../view/treeView.ts';
import { servedBlob, servedManifest } from './servedBlob.ts';

/** The blobs may be anywhere: the paths of contents begin here. */
export const ROOT = '/';
/** As registries list referrers (distribution-spec, Listing Referrers). */
export interface ReferrerDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The images of a layout, as the registry API serves them. */
export interface Images {
  /** Repository, without its host → tag → digest of a manifest. Sorted, as are the tags. */
  readonly repositories: ReadonlyMap<string, ReadonlyMap<string, Digest>>;
  readonly manifests: ReadonlyMap<string, ServedFile>;
  readonly blobs: ReadonlyMap<string, ServedFile>;
  readonly referrers: ReadonlyMap<string, readonly ReferrerDescriptor[]>;
  /** Names of the entries in index.json of which a manifest or a blob is missing, or their digests; and the number of all entries. */
  readonly incomplete: readonly string[];
  readonly entries: number;
  /** With their paths below ROOT. */
  readonly contents: ReadonlyMap<Content, readonly string[]>;
}

/**
 * Reads a layout's manifests, all of them verified. Blobs stay where they are, and are hashed before they are served.
 * @throws LayoutInvalid, LayoutUnreadable, LayoutBlobDamaged
 */
export async function readImages(path: string): Promise<Images> {
  const layout = await openLayout(path);
  try {
    const blobs = await locateBlobs(layout);
    const reader = new ManifestReader(layout);
    for (const entry of layout.index.entries)
      if (!(await reader.add(entry))) reader.incomplete.add(nameOf(entry) ?? entry.digest);
    return {
      repositories: repositoriesOf(layout, reader),
      manifests: reader.files,
      referrers: reader.referrers,
      incomplete: [...reader.incomplete],
      entries: layout.index.entries.length,
      ...blobs,
    };
  } finally {
    await layout.close();
  }
}

async function locateBlobs(layout: Layout): Promise<Pick<Images, 'blobs' | 'contents'>> {
  const blobs = new Map<string, ServedFile>();
  const contents = new Map<Content, readonly string[]>();
  /** Links are followed here, once: an open content must not be behind one. */
  const real = new Map<string, string>();
  for (const digest of await layout.digests()) {
    const location = await layout.locate(digest);
    if (location === undefined) throw inParts(layout);
    const path = real.get(location.path) ?? (await realpath(location.path));
    real.set(location.path, path);
    const file = servedBlob(digest, location);
    blobs.set(digest, file);
    contents.set(file.body as Content, [relative(ROOT, path)]);
  }
  return { blobs, contents };
}

interface BlobDescriptor {
  readonly mediaType?: unknown;
  readonly digest?: unknown;
}

/** Layers that must not be distributed are fetched by their `urls`, not from registries (image-spec, layer.md). */
const NOT_DISTRIBUTED = /nondistributable|foreign/;

/** What the API needs of a manifest, an index or an artifact; other members are not looked at. */
interface Document {
  readonly mediaType?: unknown;
  readonly artifactType?: unknown;
  readonly config?: BlobDescriptor | null;
  readonly layers?: readonly (BlobDescriptor | null)[] | null;
  readonly subject?: { readonly digest?: unknown } | null;
  readonly annotations?: Readonly<Record<string, string>> | null;
  readonly manifests?: readonly { readonly digest?: unknown; readonly mediaType?: unknown }[] | null;
}

class ManifestReader {
  readonly files = new Map<string, ServedFile>();
  readonly referrers = new Map<string, ReferrerDescriptor[]>();
  readonly incomplete = new Set<string>();
  /** Manifests that were read, and whether all that they name is there. */
  readonly #complete = new Map<Digest, boolean>();
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /**
   * Adds a manifest and those that it names, as far as the layout has them. @returns whether the layout has all that it names:
   * of an index, which often lists children that a registry never had, one child
   */
  async add({
    digest,
    mediaType,
    annotations,
  }: Pick<LayoutEntry, 'digest' | 'mediaType' | 'annotations'>): Promise<boolean> {
    const known = this.#complete.get(digest);
    if (known !== undefined) return known;
    const size = await this.#layout.sizeOf(digest);
    if (size === undefined) return false;
    const bytes = await this.#layout.read(digest, MAX_MANIFEST_BYTES);
    const document: Document = parseManifestDocument<Document>(bytes);
    this.files.set(digest, servedManifest(digest, mediaType, bytes));
    const subject = document.subject?.digest ?? annotations?.[SUBJECT];
    if (isDigest(subject)) this.#refer(subject, { digest, mediaType, size }, document);
    let isComplete = await this.#hasBlobs(document);
    if (Array.isArray(document.manifests) && document.manifests.length > 0) {
      let children = 0;
      for (const child of document.manifests)
        if (isDigest(child?.digest) && typeof child.mediaType === 'string')
          if (await this.add({ digest: child.digest, mediaType: child.mediaType })) children++;
      isComplete &&= children > 0;
    }
    this.#complete.set(digest, isComplete);
    return isComplete;
  }

  async #hasBlobs({ config, layers }: Document): Promise<boolean> {
    for (const blob of [config, ...(Array.isArray(layers) ? layers : [])])
      if (isDigest(blob?.digest) && !NOT_DISTRIBUTED.test(String(blob.mediaType)))
        if ((await this.#layout.sizeOf(blob.digest)) === undefined) return false;
    return true;
  }

  #refer(subject: Digest, descriptor: ReferrerDescriptor, { artifactType, config, annotations }: Document): void {
    const type = artifactType ?? config?.mediaType;
    const referrers = this.referrers.get(subject) ?? [];
    this.referrers.set(subject, referrers);
    referrers.push({
      ...descriptor,
      ...(typeof type === 'string' ? { artifactType: type } : {}),
      ...(annotations == null ? {} : { annotations }),
    });
  }
}

/** Hosts are left out: one that has an image of the same name and tag as another one comes second. */
function repositoriesOf({ index }: Layout, { files }: ManifestReader): Images['repositories'] {
  const found = new Map<string, Map<string, Digest>>();
  for (const entry of index.entries) {
    const name = splitName(nameOf(entry) ?? '');
    if (name === undefined || !files.has(entry.digest)) continue;
    const tags = found.get(name.repository) ?? new Map<string, Digest>();
    found.set(name.repository, tags);
    if (name.tag !== undefined && !tags.has(name.tag)) tags.set(name.tag, entry.digest);
  }
  const sorted = <T>(map: ReadonlyMap<string, T>): Map<string, T> =>
    new Map([...map].sort(([one], [other]) => (one < other ? -1 : 1)));
  return new Map([...sorted(found)].map(([repository, tags]) => [repository, sorted(tags)]));
}

/** `[HOST/]REPOSITORY:TAG` or `…@DIGEST`. A name that is only a tag has no repository. */
function splitName(name: string): { readonly repository: string; readonly tag?: string } | undefined {
  const [, path = '', tag] = /^(.+?)(?:@.*|:([^:/@]+))$/.exec(name) ?? [];
  const [first = '', ...rest] = path.split('/');
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const repository = isHost ? rest.join('/') : path;
  if (repository === '') return undefined;
  return { repository, ...(tag === undefined ? {} : { tag }) };
}

function inParts({ path, files }: Layout): LayoutInvalid {
  const whole = path.replace(/\.\d+$|\.sha256$/, '');
  const parts = partPatterns(files.length).map(pattern => `${whole}${pattern}`);
  return new LayoutInvalid(`${path} is split into parts, which cannot be served in place`, {
    subject: path,
    expected: 'one tar, or a folder with an OCI image layout',
    found: 'several parts',
    hint: `Join them first: cat ${parts.join(' ')} > bundle.tar`,
  });
}
