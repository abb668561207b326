import type { Digest, TestImage } from './image.ts';

export interface StoredManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

export interface StoredRepository {
  readonly blobs: Map<Digest, Buffer>;
  readonly manifests: Map<Digest, StoredManifest>;
  readonly tags: Map<string, Digest>;
}

/** All repositories of a registry, in memory. Nothing is checked on the way in: a test may store wrong data. */
export class Store {
  readonly repositories = new Map<string, StoredRepository>();

  /** The repository, made if it is not there. */
  open(name: string): StoredRepository {
    const found = this.repositories.get(name);
    if (found !== undefined) return found;
    const made = { blobs: new Map(), manifests: new Map(), tags: new Map() };
    this.repositories.set(name, made);
    return made;
  }

  push(name: string, tag: string | null, image: TestImage): Digest {
    const repository = this.open(name);
    for (const [digest, body] of image.blobs) repository.blobs.set(digest, body);
    for (const child of image.children ?? []) this.push(name, null, child);
    repository.manifests.set(image.digest, { bytes: image.manifest, mediaType: image.mediaType });
    if (tag !== null) repository.tags.set(tag, image.digest);
    return image.digest;
  }
}
