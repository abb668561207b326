import { BlobStore } from './blobs/blobStore.ts';
import { CacheFolder, ManifestCache } from './blobs/cacheFolder.ts';
import { SharedWork } from './concurrency/sharedWork.ts';
import { TransferQueue } from './concurrency/transferQueue.ts';
import type { Engine } from './engine.ts';
import { RegistryAllFailed, RegistryDigestMismatch, RegistryNotFound } from './errors.ts';
import { Mirrors } from './fallback/mirrors.ts';
import { type Descriptor, type Image, parsePlatform } from './image.ts';
import { fetchImage, fetchManifest, type ImageSource } from './images/fetchImage.ts';
import { withNearestTags } from './images/nearestTags.ts';
import { type Digest, formatReference, type Reference } from './reference.ts';
import type { CacheProof, Registry, RegistryOptions, TagList, Traffic } from './registry.ts';

const CONCURRENCY = 8;
const RETRIES = 5;

/**
 * Opens a registry to read from, over the engine that the options name. Only that engine's modules are loaded, and no request
 * is sent. @throws RegistryOptionsInvalid; OrasMissing or OrasTooOld for the ORAS engine
 */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const mirrors = new Mirrors(options.layout === undefined ? options.mirrors : {}, {
    onGivenUp: (subject, error) =>
      options.onEvent?.({
        type: 'warning',
        subject,
        message: `this mirror failed and is skipped from now on: ${error.message}`,
      }),
  });
  if (options.platform !== undefined) parsePlatform(options.platform);
  if (options.layout !== undefined) {
    const [{ createLayoutEngine }, { LayoutBlobs }] = await Promise.all([
      import('./layout/engine.ts'),
      import('./layout/blobs.ts'),
    ]);
    const blobs = new LayoutBlobs(options.layout);
    return new VerifiedRegistry(
      { engine: createLayoutEngine(options.layout), mirrors, platform: options.platform },
      blobs,
    );
  }
  const engine = await openEngine(options, mirrors);
  const queue = new TransferQueue(options.concurrency ?? CONCURRENCY);
  const transfer = { engine, retries: options.retries ?? RETRIES, onEvent: options.onEvent };
  const blobs = new BlobStore({ mirrors, queue, transfer, verified: new Set() }, options);
  const hinting = options.headsOnly ? engine : withNearestTags(engine, options.mirrors);
  const { cacheDir, platform } = options;
  const manifests = cacheDir === undefined ? undefined : new ManifestCache(new CacheFolder(cacheDir));
  return new VerifiedRegistry({ engine: hinting, mirrors, platform, manifests }, blobs);
}

async function openEngine(options: RegistryOptions, mirrors: Mirrors): Promise<Engine> {
  if (options.engine === 'oras') {
    const { createOrasEngine } = await import('./oras/engine.ts');
    return createOrasEngine(options);
  }
  const { createBuiltinEngine } = await import('./builtin/engine.ts');
  return createBuiltinEngine({ ...options, onIdentified: registry => mirrors.identified(registry) });
}

/** The parts that all engines share: verification, indexes, one request per digest, mirrors, the cache. */
class VerifiedRegistry implements Registry {
  readonly #source: ImageSource;
  readonly #blobs: Pick<BlobStore, 'open' | 'close'>;
  readonly #digests: Memo<Digest>;
  readonly #images: Memo<Image>;
  #closed: Promise<void> | undefined;

  constructor(source: ImageSource, blobs: Pick<BlobStore, 'open' | 'close'>) {
    this.#source = source;
    this.#blobs = blobs;
    this.#digests = new Memo();
    this.#images = new Memo();
  }

  get traffic(): Traffic {
    return this.#source.engine.traffic;
  }

  async resolve(reference: Reference, signal?: AbortSignal): Promise<Digest> {
    signal?.throwIfAborted();
    if (reference.digest !== undefined) return reference.digest;
    return this.#digests.get(formatReference(reference), signal, own =>
      this.#source.mirrors.first(reference, own, (at, retries) => this.#source.engine.resolve(at, own, retries)),
    );
  }

  async fetchImage(reference: Reference, signal?: AbortSignal, lockedPlatform?: string): Promise<Image> {
    if (reference.digest !== undefined) return this.#imageAt(reference, signal, lockedPlatform);
    const name = formatReference(reference);
    // Fetch what the tag was resolved to, even if the tag has moved since.
    const digest = await this.#digests.known(name, signal);
    if (digest !== undefined)
      try {
        return await this.#imageAt({ ...reference, digest }, signal, lockedPlatform);
      } catch (error) {
        signal?.throwIfAborted();
        // The digest came from a header, which may be wrong: fetch by the tag.
        if (!isMissing(error)) throw error;
      }
    const image = await this.#imageAt(reference, signal, lockedPlatform);
    this.#digests.set(name, image.digest);
    return image;
  }

  #imageAt(reference: Reference, signal: AbortSignal | undefined, lockedPlatform: string | undefined): Promise<Image> {
    const source = { ...this.#source, lockedPlatform };
    const key = `${formatReference(reference)} ${lockedPlatform ?? ''}`;
    return this.#images.get(key, signal, own => fetchImage(source, reference, own));
  }

  async openBlob(reference: Reference, descriptor: Descriptor, signal?: AbortSignal, proof?: CacheProof) {
    return this.#blobs.open(reference, descriptor, signal, proof);
  }

  async listTags(reference: Reference, signal: AbortSignal = new AbortController().signal): Promise<TagList> {
    const { results, failures } = await this.#source.mirrors.all(reference, signal, (at, retries) =>
      this.#source.engine.listTags(at, signal, retries),
    );
    // A mirror without the repository has no further tags.
    const unheard = failures.filter(({ error }) => !(error instanceof RegistryNotFound));
    return {
      tags: [...new Set(results.flat())],
      unheard: unheard.map(({ at, error }) => ({ registry: at.registry, error })),
    };
  }

  async listReferrers(
    reference: Reference,
    digest: Digest,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Descriptor[]> {
    let answered = false;
    try {
      return await this.#source.mirrors.first(reference, signal, async at => {
        const found = await this.#source.engine.listReferrers(at, digest, signal);
        answered = true;
        // A mirror often has the image without its referrers: the next host may have both.
        if (found.length === 0) throw noReferrersError(at, digest);
        return found;
      });
    } catch (error) {
      signal.throwIfAborted();
      if (answered) return [];
      throw error;
    }
  }

  async fetchManifest(
    reference: Reference & { readonly digest: Digest },
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Buffer> {
    return (await fetchManifest(this.#source, reference, undefined, signal)).bytes;
  }

  async close(): Promise<void> {
    this.#closed ??= this.#blobs.close().finally(() => this.#source.engine.close());
    await this.#closed;
  }
}

/** Returns true if a host has nothing with the requested digest. */
function isMissing(error: unknown): boolean {
  if (error instanceof RegistryAllFailed && error.cause instanceof AggregateError)
    return error.cause.errors.some(isMissing);
  return error instanceof RegistryNotFound || error instanceof RegistryDigestMismatch;
}

function noReferrersError(at: Reference, digest: Digest): RegistryNotFound {
  const subject = formatReference({ ...at, digest });
  return new RegistryNotFound(`Nothing refers to ${subject}`, {
    subject,
    missing: 'manifest',
    hint: 'Push the referrers of the image, such as its signature, to that registry, too.',
  });
}

/** Results by name. Callers that need the same one share the work; a failure is not remembered. */
class Memo<T> {
  readonly #results = new Map<string, SharedWork<T>>();

  async get(name: string, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const found = this.#results.get(name);
    if (found !== undefined && !found.abandoned) return found.join(signal, result => result);
    const shared: SharedWork<T> = new SharedWork(async own => {
      try {
        return await work(own);
      } catch (error) {
        if (this.#results.get(name) === shared) this.#results.delete(name);
        throw error;
      }
    });
    this.#results.set(name, shared);
    return shared.join(signal, result => result);
  }

  /** Returns the result if the work was begun before; undefined if not, or if it failed. */
  async known(name: string, signal: AbortSignal | undefined): Promise<T | undefined> {
    const found = this.#results.get(name);
    if (found === undefined || found.abandoned) return undefined;
    try {
      return await found.join(signal, result => result);
    } catch {
      signal?.throwIfAborted();
      return undefined;
    }
  }

  set(name: string, result: T): void {
    this.#results.set(name, new SharedWork(async () => result));
  }
}
