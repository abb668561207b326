import { BlobStore } from './blobs/blobStore.ts';
import { SharedWork } from './concurrency/sharedWork.ts';
import { TransferQueue } from './concurrency/transferQueue.ts';
import type { Engine } from './engine.ts';
import { RegistryAllFailed, RegistryDigestMismatch, RegistryNotFound } from './errors.ts';
import { Places } from './fallback/mirrors.ts';
import { type Descriptor, type Image, parsePlatform } from './image.ts';
import { fetchImage, fetchManifest } from './images/fetchImage.ts';
import { withNearestTags } from './images/nearestTags.ts';
import { type Digest, formatReference, type Reference } from './reference.ts';
import type { Registry, RegistryOptions, TagList, Traffic } from './registry.ts';

const CONCURRENCY = 8;
const RETRIES = 5;

/**
 * A registry to read from, over the engine that the options name. Only that engine's modules are loaded.
 * @throws RegistryOptionsInvalid, or the engine's refusal to start (OrasMissing, OrasTooOld)
 */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const places = new Places(options.mirrors, {
    onGivenUp: (subject, error) =>
      options.onEvent?.({
        type: 'warning',
        subject,
        message: `this mirror is given up, the next place is asked instead: ${error.message}`,
      }),
  });
  if (options.platform !== undefined) parsePlatform(options.platform);
  const engine = await openEngine(options, places);
  return new VerifiedRegistry(options.headsOnly ? engine : withNearestTags(engine, options.mirrors), places, options);
}

async function openEngine(options: RegistryOptions, places: Places): Promise<Engine> {
  if (options.engine === 'oras') {
    const { createOrasEngine } = await import('./oras/engine.ts');
    return createOrasEngine(options);
  }
  const { createBuiltinEngine } = await import('./builtin/engine.ts');
  return createBuiltinEngine({ ...options, onLearned: registry => places.hear(registry) });
}

/** Everything that is the same whichever engine asks: verifying, following indexes, asking once, mirrors, the cache. */
class VerifiedRegistry implements Registry {
  readonly #engine: Engine;
  readonly #places: Places;
  readonly #blobs: BlobStore;
  readonly #platform: string | undefined;
  readonly #digests: Memo<Digest>;
  readonly #images: Memo<Image>;
  #closed: Promise<void> | undefined;

  constructor(engine: Engine, places: Places, options: RegistryOptions) {
    this.#engine = engine;
    this.#places = places;
    this.#platform = options.platform;
    this.#digests = new Memo();
    this.#images = new Memo();
    const queue = new TransferQueue(options.concurrency ?? CONCURRENCY);
    const transfer = { engine, retries: options.retries ?? RETRIES, onEvent: options.onEvent };
    this.#blobs = new BlobStore({ places, queue, transfer, verified: new Set() }, options);
  }

  get traffic(): Traffic {
    return this.#engine.traffic;
  }

  async resolve(reference: Reference, signal?: AbortSignal): Promise<Digest> {
    signal?.throwIfAborted();
    if (reference.digest !== undefined) return reference.digest;
    return this.#digests.get(formatReference(reference), signal, own =>
      this.#places.ask(reference, own, (at, retries) => this.#engine.resolve(at, own, retries)),
    );
  }

  async fetchImage(reference: Reference, signal?: AbortSignal, held?: string): Promise<Image> {
    if (reference.digest !== undefined) return this.#imageAt(reference, signal, held);
    const name = formatReference(reference);
    // What the tag was resolved to is what is fetched, even if the tag has moved since.
    const digest = await this.#digests.known(name, signal);
    if (digest !== undefined)
      try {
        return await this.#imageAt({ ...reference, digest }, signal, held);
      } catch (error) {
        signal?.throwIfAborted();
        // A header said so, and headers may be wrong: the bytes behind the tag tell.
        if (!leadsNowhere(error)) throw error;
      }
    const image = await this.#imageAt(reference, signal, held);
    this.#digests.set(name, image.digest);
    return image;
  }

  #imageAt(reference: Reference, signal: AbortSignal | undefined, held: string | undefined): Promise<Image> {
    const source = { engine: this.#engine, places: this.#places, platform: this.#platform, held };
    const key = `${formatReference(reference)} ${held ?? ''}`;
    return this.#images.get(key, signal, own => fetchImage(source, reference, own));
  }

  async openBlob(reference: Reference, descriptor: Descriptor, signal?: AbortSignal) {
    return this.#blobs.open(reference, descriptor, signal);
  }

  async listTags(reference: Reference, signal: AbortSignal = new AbortController().signal): Promise<TagList> {
    const { answers, failures } = await this.#places.askAll(reference, signal, (at, retries) =>
      this.#engine.listTags(at, signal, retries),
    );
    // A mirror without the repository has answered: it has nothing newer.
    const unheard = failures.filter(({ error }) => !(error instanceof RegistryNotFound));
    return {
      tags: [...new Set(answers.flat())],
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
      return await this.#places.ask(reference, signal, async at => {
        const found = await this.#engine.listReferrers(at, digest, signal);
        answered = true;
        // A mirror often has the image without what stands beside it: the next place may have both.
        if (found.length === 0) throw nothingRefers(at, digest);
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
    const source = { engine: this.#engine, places: this.#places, platform: undefined };
    return (await fetchManifest(source, reference, undefined, signal)).bytes;
  }

  async close(): Promise<void> {
    this.#closed ??= this.#blobs.close().finally(() => this.#engine.close());
    await this.#closed;
  }
}

/** True if nothing that hashes to the digest asked for could be had, wherever it was asked for. */
function leadsNowhere(error: unknown): boolean {
  if (error instanceof RegistryAllFailed && error.cause instanceof AggregateError)
    return error.cause.errors.some(leadsNowhere);
  return error instanceof RegistryNotFound || error instanceof RegistryDigestMismatch;
}

function nothingRefers(at: Reference, digest: Digest): RegistryNotFound {
  const subject = formatReference({ ...at, digest });
  return new RegistryNotFound(`Nothing refers to ${subject}`, {
    subject,
    missing: 'manifest',
    hint: 'Push what is to stand beside the image, such as its signature, to that registry too.',
  });
}

/** Answers by name, each asked for once however many ask; a failure is not remembered. */
class Memo<T> {
  readonly #answers = new Map<string, SharedWork<T>>();

  async get(name: string, signal: AbortSignal | undefined, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const found = this.#answers.get(name);
    if (found !== undefined && !found.abandoned) return found.join(signal, answer => answer);
    const work: SharedWork<T> = new SharedWork(async own => {
      try {
        return await ask(own);
      } catch (error) {
        if (this.#answers.get(name) === work) this.#answers.delete(name);
        throw error;
      }
    });
    this.#answers.set(name, work);
    return work.join(signal, answer => answer);
  }

  /** The answer, if it was asked for before; undefined if not, or if asking failed. */
  async known(name: string, signal: AbortSignal | undefined): Promise<T | undefined> {
    const found = this.#answers.get(name);
    if (found === undefined || found.abandoned) return undefined;
    try {
      return await found.join(signal, answer => answer);
    } catch {
      signal?.throwIfAborted();
      return undefined;
    }
  }

  set(name: string, answer: T): void {
    this.#answers.set(name, new SharedWork(async () => answer));
  }
}
