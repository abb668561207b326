import { CredentialsSource } from '../credentials/credentialsSource.ts';
import type { BlobBody, Engine, RawManifest } from '../engine.ts';
import { RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../errors.ts';
import { endpointOf } from '../hosts/hosts.ts';
import type { Descriptor } from '../image.ts';
import { digestOf } from '../images/digestOf.ts';
import { parseReferrers, referrersTag } from '../images/referrers.ts';
import { type Digest, formatReference, type Reference } from '../reference.ts';
import type { RegistryOptions, Traffic } from '../registry.ts';
import { readBlob } from './answers/blob.ts';
import { ACCEPTED_MANIFESTS, announcedDigest, readManifest } from './answers/manifest.ts';
import { readReferrers } from './answers/referrers.ts';
import { readTags } from './answers/tags.ts';
import { Authenticator } from './client/authenticator.ts';
import { RegistryClient, type RegistryRequest } from './client/registryClient.ts';
import { type Purpose, webPageError } from './faults/replyErrors.ts';
import { isWebPage, type Reply } from './http/reply.ts';
import { dropBody } from './transport/bodies.ts';
import { Schemes } from './transport/schemes.ts';
import { Transport, type TransportOptions } from './transport/transport.ts';

export type BuiltinEngineOptions = Pick<
  RegistryOptions,
  | 'concurrency'
  | 'plainHttp'
  | 'insecure'
  | 'allowHost'
  | 'caFile'
  | 'certFile'
  | 'keyFile'
  | 'certsDir'
  | 'registryConfig'
  | 'username'
  | 'password'
  | 'credentialsFor'
  | 'headsOnly'
  | 'timeoutMs'
  | 'retries'
  | 'env'
  | 'onEvent'
  | 'onRequest'
> &
  Pick<TransportOptions, 'onContact'> & {
    /** Longest wait before the first retry; it doubles each time, up to 10 000. Default 250. */
    readonly backoffMs?: number;
    /** Called as soon as a host has sent a challenge, which shows that it is a registry. */
    readonly onIdentified?: (registry: string) => void;
  };

/** Our own client of the distribution-spec's pull half, over undici. @throws RegistryOptionsInvalid */
export function createBuiltinEngine(options: BuiltinEngineOptions): Engine {
  return new BuiltinEngine(options);
}

/** If fewer bytes of a blob than this arrive within `timeoutMs`, it is requested once more: a new connection is often faster. */
const LEAST_BYTES = 1024;

/** Media types of blobs that are compressed themselves (image-spec, media-types.md; Docker's). */
const COMPRESSED = /[+.](?:gzip|zstd)$/;

class BuiltinEngine implements Engine {
  readonly #transport: Transport;
  readonly #client: RegistryClient;
  readonly #headsOnly: boolean;
  readonly #retries: number;
  /** Digests of blobs that were requested once more because they were slow. */
  readonly #slow = new Set<string>();
  /** Digests of blobs that came with a Content-Encoding and no length, and that are next to be read in the less likely way. */
  readonly #unlikely = new Set<string>();
  #bytesDownloaded = 0;

  constructor(options: BuiltinEngineOptions) {
    this.#transport = new Transport(options);
    this.#headsOnly = options.headsOnly ?? false;
    this.#retries = options.retries ?? 5;
    const onEvent = options.onEvent ?? (() => {});
    const authenticator = new Authenticator(this.#transport, new CredentialsSource(options), onEvent);
    const plainHttp = options.plainHttp ?? false;
    this.#client = new RegistryClient(this.#transport, authenticator, new Schemes(plainHttp), {
      plainHttp,
      retries: this.#retries,
      backoffMs: options.backoffMs ?? 250,
      onEvent,
      onIdentified: options.onIdentified ?? (() => {}),
    });
  }

  get traffic(): Traffic {
    return { requests: this.#transport.requests, bytesDownloaded: this.#bytesDownloaded };
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
      readManifest(reply, reference, request.purpose, this.#transport.timeoutMs, signal);
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
      purpose: { ...purposeOf(reference), what: 'blob', wanted: descriptor.digest },
      endpoint: endpointOf(reference.registry, reference.repository),
      method: 'GET',
      path: `blobs/${descriptor.digest}`,
      accept: [206],
      ...(start === 0 ? {} : { headers: { range: `bytes=${start}-` }, accept: [206, 416] }),
    };
    const { digest } = descriptor;
    const mayRetry = Math.min(retries ?? this.#retries, this.#retries) > 0;
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
        timeoutMs: this.#transport.timeoutMs,
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
      purpose: { ...purposeOf(reference), what: 'tags' },
      endpoint: endpointOf(reference.registry, reference.repository),
      method: 'GET',
      path: 'tags/list',
    };
    return readTags(this.#client, request, this.#transport.timeoutMs, signal, retries);
  }

  async listReferrers(reference: Reference, digest: Digest, signal: AbortSignal): Promise<Descriptor[]> {
    const request: RegistryRequest = {
      purpose: { ...purposeOf({ ...reference, digest }), what: 'manifest', wanted: digest },
      endpoint: endpointOf(reference.registry, reference.repository),
      method: 'GET',
      path: `referrers/${digest}`,
    };
    const listed = await readReferrers(this.#client, request, this.#transport.timeoutMs, signal);
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
    return this.#transport.close();
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

function manifestRequest(reference: Reference, method: 'GET' | 'HEAD'): RegistryRequest {
  const wanted = reference.digest ?? reference.tag ?? '';
  return {
    purpose: { ...purposeOf(reference), what: 'manifest', wanted },
    endpoint: endpointOf(reference.registry, reference.repository),
    method,
    path: `manifests/${wanted}`,
    headers: { accept: ACCEPTED_MANIFESTS },
  };
}

function purposeOf(reference: Reference): Pick<Purpose, 'subject' | 'registry' | 'repository'> {
  return {
    subject: formatReference(reference),
    registry: reference.registry,
    repository: reference.repository,
  };
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
