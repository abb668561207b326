import { digestOf } from '../../base/digest.ts';
import type { BlobBody, Engine, RawManifest } from '../engine.ts';
import { RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../errors.ts';
import type { Descriptor } from '../image.ts';
import { parseReferrers, referrersTag } from '../images/referrers.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import type { RegistryOptions, Traffic } from '../registry.ts';
import { readBlob } from './answers/blob.ts';
import { readReferrers, readTags } from './answers/lists.ts';
import { announcedDigest, manifestRequest, readManifest } from './answers/manifest.ts';
import {
  RegistryClient,
  type RegistryClientOptions,
  type RegistryRequest,
  requestFor,
} from './client/registryClient.ts';
import { webPageError } from './faults/replyErrors.ts';
import { isWebPage, type Reply } from './http/reply.ts';
import { dropBody } from './transport/bodies.ts';

export type BuiltinEngineOptions = RegistryClientOptions & Pick<RegistryOptions, 'headsOnly'>;

/** Our own client of the distribution-spec's pull half, over undici. @throws RegistryOptionsInvalid */
export function createBuiltinEngine(options: BuiltinEngineOptions): Engine {
  return new BuiltinEngine(options);
}

/** If fewer bytes of a blob than this arrive within `timeoutMs`, it is requested once more: a new connection is often faster. */
const LEAST_BYTES = 1024;

/** Media types of blobs that are compressed themselves (image-spec, media-types.md; Docker's). */
const COMPRESSED = /[+.](?:gzip|zstd)$/;

class BuiltinEngine implements Engine {
  readonly #client: RegistryClient;
  readonly #headsOnly: boolean;
  /** Digests of blobs that were requested once more because they were slow. */
  readonly #slow = new Set<string>();
  /** Digests of blobs that came with a Content-Encoding and no length, and that are next to be read in the less likely way. */
  readonly #unlikely = new Set<string>();
  #bytesDownloaded = 0;

  constructor(options: BuiltinEngineOptions) {
    this.#client = new RegistryClient(options);
    this.#headsOnly = options.headsOnly ?? false;
  }

  get traffic(): Traffic {
    return { requests: this.#client.transport.requests, bytesDownloaded: this.#bytesDownloaded };
  }

  async resolve(reference: Reference, signal: AbortSignal, retries?: number): Promise<Digest> {
    const digest = await this.#resolveByHead(reference, signal, retries);
    if (digest !== undefined) return digest;
    if (this.#headsOnly) throw missingDigestError(reference);
    return (await this.fetchManifest(reference, signal, retries)).digest;
  }

  fetchManifest(reference: Reference, signal: AbortSignal, retries?: number): Promise<RawManifest> {
    const request = manifestRequest(reference, 'GET');
    const read = (reply: Reply): Promise<RawManifest> =>
      readManifest(reply, reference, request.purpose, this.#client.transport.timeoutMs, signal);
    return this.#client.fetch(request, read, signal, retries);
  }

  async fetchBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    signal: AbortSignal,
    retries?: number,
  ): Promise<BlobBody> {
    const start = offset > 0 && offset < descriptor.size ? offset : 0;
    const request: RegistryRequest = {
      ...requestFor(reference, { what: 'blob', wanted: descriptor.digest }),
      method: 'GET',
      path: `blobs/${descriptor.digest}`,
      accept: [206],
      ...(start === 0 ? {} : { headers: { range: `bytes=${start}-` }, accept: [206, 416] }),
    };
    const { digest } = descriptor;
    const mayRetry = Math.min(retries ?? this.#client.retries, this.#client.retries) > 0;
    // A compressed blob is rarely compressed again: its label is that of the storage.
    const asStored = COMPRESSED.test(descriptor.mediaType) !== this.#unlikely.has(digest);
    let ignoreLength = false;
    const read = (reply: Reply): BlobBody | undefined =>
      readBlob(reply, {
        descriptor,
        start,
        ignoreLength,
        onWrongLength: () => {
          ignoreLength = true;
        },
        timeoutMs: this.#client.transport.timeoutMs,
        leastBytes: mayRetry && !this.#slow.has(digest) ? LEAST_BYTES : 0,
        signal,
        onBytes: count => {
          this.#bytesDownloaded += count;
        },
        onSlow: () => this.#slow.add(digest),
        asStored,
        onDoubtfulEnd: () => {
          if (!this.#unlikely.delete(digest)) this.#unlikely.add(digest);
        },
      });
    try {
      const blob = await this.#client.fetch(request, read, signal, retries);
      if (blob !== undefined) return blob;
    } catch (error) {
      signal.throwIfAborted();
      if (start === 0 || !mayRefuseRanges(error)) throw error;
    }
    // The registry could not continue at the offset: request the whole blob.
    return this.fetchBlob(reference, descriptor, 0, signal, retries);
  }

  listTags(reference: Reference, signal: AbortSignal, retries?: number): Promise<string[]> {
    const request: RegistryRequest = {
      ...requestFor(reference, { what: 'tags' }),
      method: 'GET',
      path: 'tags/list',
    };
    return readTags(this.#client, request, signal, retries);
  }

  async listReferrers(reference: Reference, digest: Digest, signal: AbortSignal): Promise<Descriptor[]> {
    const request: RegistryRequest = {
      ...requestFor({ ...reference, digest }, { what: 'manifest', wanted: digest }),
      method: 'GET',
      path: `referrers/${digest}`,
    };
    const listed = await readReferrers(this.#client, request, signal);
    const tagged = referrersTag(reference, digest);
    if (listed !== undefined || tagged === undefined) return listed ?? [];
    try {
      const { bytes, mediaType } = await this.fetchManifest(tagged, signal);
      // `cosign copy` of version 3 gives this tag to the image itself, which lists no referrers.
      if (digestOf(bytes, digest) === digest) return [];
      return [...parseReferrers(bytes, mediaType, formatReference(tagged))];
    } catch (error) {
      if (error instanceof RegistryNotFound) return [];
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#client.transport.close();
  }

  /** Returns undefined if the HEAD is not enough: no valid digest, or an error that only the body of a GET explains. */
  async #resolveByHead(
    reference: Reference,
    signal: AbortSignal,
    retries: number | undefined,
  ): Promise<Digest | undefined> {
    const read = async (reply: Reply): Promise<Digest | undefined> => {
      await dropBody(reply, signal);
      const digest = announcedDigest(reply);
      // Without a GET to follow, a login page must not pass for a registry that leaves the digest out.
      if (digest === undefined && this.#headsOnly && isWebPage(reply))
        throw webPageError(reply, formatReference(reference));
      return digest;
    };
    try {
      return await this.#client.fetch(manifestRequest(reference, 'HEAD'), read, signal, retries);
    } catch (error) {
      // The reply to a HEAD has no body; the reply to a GET explains the error, or succeeds. An error of the token server
      // would be the same again.
      if (!(error instanceof RegistryRefusal) || !error.request?.startsWith('HEAD ')) throw error;
      // Some registries answer 500 because they do not support HEAD.
      if (error.temporary && error.status !== 500) throw error;
      if (this.#headsOnly || error.status === undefined || error.status < 400 || error.status === 407) throw error;
      return undefined;
    }
  }
}

/** Returns true if the same request without a Range may succeed: some storage refuses ranges with an arbitrary status. */
function mayRefuseRanges(error: unknown): boolean {
  if (!(error instanceof RegistryRefusal) || error.status === undefined || error.status < 400) return false;
  return ![401, 404, 407, 408, 429, 502, 503, 504].includes(error.status);
}

function missingDigestError(reference: Reference): RegistryProtocol {
  return new RegistryProtocol(
    `${reference.registry} sent no Docker-Content-Digest for ${formatReference(reference)} in its reply to HEAD`,
    {
      subject: formatReference(reference),
      expected: 'a Docker-Content-Digest header',
      found: 'none',
      hint: 'plugin-mirror sync sends a GET to such a registry.',
    },
  );
}
