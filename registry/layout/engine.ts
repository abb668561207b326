import type { Layout } from '../../layout/layout.ts';
import { type LayoutEntry, nameOf } from '../../layout/layoutIndex.ts';
import { MAX_MANIFEST_BYTES } from '../../layout/manifestDocument.ts';
import type { BlobBody, Engine, RawManifest } from '../engine.ts';
import { RegistryNotFound } from '../errors.ts';
import type { Descriptor } from '../image.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import { readReferrers } from './referrers.ts';

/**
 * An engine that reads from an OCI image layout instead of a registry. The layout answers for every registry host; no
 * packet leaves the machine. It keeps the layout open; the caller that opened it closes it.
 */
export function createLayoutEngine(layout: Layout): Engine {
  const names = new LayoutNames(layout.index.entries);
  let referrers: Promise<ReadonlyMap<Digest, readonly Descriptor[]>> | undefined;
  const digestOf = (reference: Reference): Digest => reference.digest ?? names.digestOf(reference, layout.path);
  return {
    resolve: async reference => digestOf(reference),
    async fetchManifest(reference): Promise<RawManifest> {
      const digest = digestOf(reference);
      if ((await layout.sizeOf(digest)) === undefined) {
        if (names.mediaTypeOf(digest) !== undefined) throw incomplete(reference, digest, layout.path);
        throw notInBundle(reference, layout.path, names.near(reference));
      }
      const bytes = await layout.read(digest, MAX_MANIFEST_BYTES);
      return { bytes, digest, mediaType: names.mediaTypeOf(digest) ?? '' };
    },
    async fetchBlob(_reference, descriptor, offset): Promise<BlobBody> {
      return { offset, body: await layout.open(descriptor.digest, offset) };
    },
    listTags: async reference => names.tagsOf(reference),
    async listReferrers(_reference, digest) {
      referrers ??= readReferrers(layout);
      return [...((await referrers).get(digest) ?? [])];
    },
    traffic: { requests: 0, bytesDownloaded: 0 },
    close: async () => undefined,
  };
}

/** The names of a layout's entries: `HOST/REPOSITORY:TAG`. */
class LayoutNames {
  readonly #byName = new Map<string, LayoutEntry>();
  /** By `REPOSITORY:TAG`; undefined where two hosts have different images of that name. */
  readonly #byPath = new Map<string, LayoutEntry | undefined>();
  readonly #mediaTypes = new Map<Digest, string>();

  constructor(entries: readonly LayoutEntry[]) {
    for (const entry of entries) {
      this.#mediaTypes.set(entry.digest, entry.mediaType);
      const name = nameOf(entry);
      if (name === undefined) continue;
      this.#byName.set(name, entry);
      const path = name.slice(name.indexOf('/') + 1);
      const other = this.#byPath.get(path);
      this.#byPath.set(path, this.#byPath.has(path) && other?.digest !== entry.digest ? undefined : entry);
    }
  }

  /** The digest under a name. A bundle made from one registry also serves a manifest that names a mirror of it. */
  digestOf(reference: Reference, path: string): Digest {
    const found =
      this.#byName.get(formatReference(reference)) ?? this.#byPath.get(`${reference.repository}:${reference.tag}`);
    if (found === undefined) throw notInBundle(reference, path, this.near(reference));
    return found.digest;
  }

  mediaTypeOf(digest: Digest): string | undefined {
    return this.#mediaTypes.get(digest);
  }

  tagsOf({ registry, repository }: Reference): string[] {
    const start = `${registry}/${repository}:`;
    return [...this.#byName.keys()].filter(name => name.startsWith(start)).map(name => name.slice(start.length));
  }

  /** The tags of the same repository, for messages. */
  near(reference: Reference): readonly string[] {
    return this.tagsOf(reference).filter(tag => !tag.startsWith('sha256-'));
  }
}

/** Returns the error for a manifest that index.json names: a delta leaves it to its base, and any other bundle should have it. */
function incomplete(reference: Reference, digest: Digest, path: string): RegistryNotFound {
  return new RegistryNotFound(`${path} does not contain the manifest of ${formatReference(reference)}`, {
    subject: formatReference(reference),
    missing: 'manifest',
    expected: `${digest}, which its index.json names`,
    found: 'no such blob',
    hint: 'Copy the bundle again, or make it again. If it is a delta (--since), load its base first.',
  });
}

function notInBundle(reference: Reference, path: string, tags: readonly string[]): RegistryNotFound {
  return new RegistryNotFound(`${path} does not contain ${formatReference(reference)}`, {
    subject: formatReference(reference),
    missing: tags.length === 0 ? 'repository' : 'manifest',
    expected: reference.digest ?? reference.tag ?? 'a tag',
    found: tags.length === 0 ? 'no image of that repository' : `the tags ${tags.slice(0, 5).join(', ')}`,
    hint: 'Add it to the manifest where the bundle is made, make the bundle again and carry it over.',
  });
}
