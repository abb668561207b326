import { digestOf } from '../../base/digest.ts';
import { announcedDigest, manifestRequest, readManifest } from '../builtin/answers/manifest.ts';
import { RegistryClient, type RegistryRequest, requestFor } from '../builtin/client/registryClient.ts';
import { type Reply, requestOf } from '../builtin/http/reply.ts';
import { dropBody } from '../builtin/transport/bodies.ts';
import type { RawManifest } from '../engine.ts';
import { RegistryDigestMismatch, RegistryNotFound, RegistryRefusal } from '../errors.ts';
import { Mirrors } from '../fallback/mirrors.ts';
import { referrersTag } from '../images/referrers.ts';
import type { Digest, Reference } from '../reference.ts';
import type { RegistryOptions, Traffic } from '../registry.ts';
import { type PushedManifest, withReferrer } from './referrersTag.ts';
import { type PushBlob, uploadBlob } from './uploadBlob.ts';

export type { PushedManifest } from './referrersTag.ts';
export type { PushBlob } from './uploadBlob.ts';

/**
 * Pushes to registries (distribution-spec 1.1, Push): with the credentials, retries and proxies of reading. Every method rejects
 * with a refusal of registry/errors.ts, or with the signal's reason.
 */
export interface Pusher {
  /** Returns the digest that a tag or digest has there; undefined if there is none. */
  digestAt(reference: Reference, signal: AbortSignal): Promise<Digest | undefined>;
  /** Reads the manifest that a tag or digest has there; undefined if there is none. */
  manifestAt(reference: Reference, signal: AbortSignal): Promise<RawManifest | undefined>;
  /** Pushes a blob unless the repository has it. `mountFrom`: another repository there that has it. @returns what was necessary */
  pushBlob(at: Reference, blob: PushBlob, mountFrom: string | undefined, signal: AbortSignal): Promise<BlobResult>;
  /** Pushes a manifest by its tag, or by its digest. A referrer is listed under its subject, whatever the registry supports. */
  pushManifest(at: Reference, manifest: PushedManifest, signal: AbortSignal): Promise<void>;
  readonly traffic: Pick<Traffic, 'requests'> & { readonly bytesUploaded: number };
  close(): Promise<void>;
}

const NO_SUCH_METHOD = [405, 501];

export type BlobResult = 'present' | 'mounted' | 'uploaded';

/** Opens a pusher over the built-in client. Sends no request. @throws RegistryOptionsInvalid */
export function openPusher(options: RegistryOptions): Pusher {
  return new BuiltinPusher(options);
}

class BuiltinPusher implements Pusher {
  readonly #client: RegistryClient;
  /** Without mirrors: it gives up a host that is down, so that the rest of a run does not retry for each image. */
  readonly #hosts = new Mirrors();
  #bytesUploaded = 0;

  constructor(options: RegistryOptions) {
    this.#client = new RegistryClient(options);
  }

  get traffic(): Pusher['traffic'] {
    return { requests: this.#client.transport.requests, bytesUploaded: this.#bytesUploaded };
  }

  digestAt(reference: Reference, signal: AbortSignal): Promise<Digest | undefined> {
    return this.#hosts.first(reference, signal, () => this.#readDigest(reference, signal));
  }

  manifestAt(reference: Reference, signal: AbortSignal): Promise<RawManifest | undefined> {
    return this.#hosts.first(reference, signal, () => this.#readManifest(reference, signal));
  }

  pushBlob(at: Reference, blob: PushBlob, mountFrom: string | undefined, signal: AbortSignal): Promise<BlobResult> {
    return this.#hosts.first(at, signal, () => this.#pushBlob(at, blob, mountFrom, signal));
  }

  pushManifest(at: Reference, manifest: PushedManifest, signal: AbortSignal): Promise<void> {
    return this.#hosts.first(at, signal, () => this.#pushManifest(at, manifest, signal));
  }

  close(): Promise<void> {
    return this.#client.transport.close();
  }

  async #readDigest(reference: Reference, signal: AbortSignal): Promise<Digest | undefined> {
    const read = async (reply: Reply): Promise<Digest | 'not announced'> => {
      await dropBody(reply, signal);
      return announcedDigest(reply) ?? reference.digest ?? 'not announced';
    };
    const request = manifestRequest(reference, 'HEAD', true);
    const found = await this.#ifFound(() => this.#client.fetch(request, read, signal)).catch((error: unknown) => {
      signal.throwIfAborted();
      // Some registries do not support HEAD; of others, the reply to a GET explains the error.
      const isReply = error instanceof RegistryRefusal && error.status !== undefined;
      if (!isReply || !error.request?.startsWith('HEAD ')) throw error;
      return 'not announced' as const;
    });
    return found === 'not announced' ? (await this.#readManifest(reference, signal))?.digest : found;
  }

  #readManifest(reference: Reference, signal: AbortSignal): Promise<RawManifest | undefined> {
    const request = manifestRequest(reference, 'GET', true);
    const read = (reply: Reply): Promise<RawManifest> =>
      readManifest(reply, reference, request.purpose, this.#client.transport.timeoutMs, signal);
    return this.#ifFound(() => this.#client.fetch(request, read, signal));
  }

  async #pushBlob(
    at: Reference,
    blob: PushBlob,
    mountFrom: string | undefined,
    signal: AbortSignal,
  ): Promise<BlobResult> {
    const exists = async (): Promise<boolean> => {
      const head: RegistryRequest = {
        ...requestFor(at, { what: 'blob', wanted: blob.digest, writes: true }),
        method: 'HEAD',
        path: `blobs/${blob.digest}`,
      };
      const found = await this.#ifFound(() =>
        this.#client.fetch(head, reply => dropBody(reply, signal).then(() => true), signal),
      ).catch((error: unknown) => {
        // A registry without HEAD gets the blob again: a GET would send all of it.
        if (error instanceof RegistryRefusal && NO_SUCH_METHOD.includes(error.status ?? 0)) return false;
        throw error;
      });
      return found === true;
    };
    if (await exists()) return 'present';
    const upload = {
      client: this.#client,
      request: requestFor(at, { what: 'blob', wanted: blob.digest, writes: true }),
      exists,
      onBytes: (count: number): void => {
        this.#bytesUploaded += count;
      },
    };
    return uploadBlob(upload, blob, mountFrom, signal);
  }

  async #pushManifest(at: Reference, manifest: PushedManifest, signal: AbortSignal): Promise<void> {
    const put = async (name: string, { bytes, mediaType }: Pick<PushedManifest, 'bytes' | 'mediaType'>) => {
      const request: RegistryRequest = {
        ...requestFor(at, { what: 'manifest', wanted: name, writes: true }),
        method: 'PUT',
        path: `manifests/${name}`,
        headers: { 'content-type': mediaType },
        accept: [201, 202],
        body: async () => bytes,
      };
      return this.#client.fetch(
        request,
        async reply => {
          await dropBody(reply, signal);
          requireSameDigest(reply, bytes, request.purpose.subject);
          return reply.headers['oci-subject'] !== undefined;
        },
        signal,
      );
    };
    const isListed = await put(at.tag ?? manifest.digest, manifest);
    const tagged = manifest.subject === undefined || isListed ? undefined : referrersTag(at, manifest.subject);
    if (tagged?.tag === undefined) return;
    const before = await this.#readManifest(tagged, signal);
    const index = withReferrer(before?.bytes, manifest);
    if (index !== undefined) await put(tagged.tag, index);
  }

  async #ifFound<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof RegistryNotFound) return undefined;
      throw error;
    }
  }
}

/** Registries may convert manifests, for example Docker's to OCI's. @throws RegistryDigestMismatch */
function requireSameDigest(reply: Reply, bytes: Buffer, subject: string): void {
  const found = announcedDigest(reply);
  if (found === undefined) return;
  const expected = digestOf(bytes, found);
  if (found === expected) return;
  throw new RegistryDigestMismatch(
    `${reply.request.url.host} stored other bytes than the pushed manifest of ${subject}`,
    {
      subject,
      status: reply.status,
      request: requestOf(reply),
      expected,
      found,
      hint: 'Signatures and lockfiles do not match changed manifests: let the registry, or a proxy in front of it, store them unchanged, then push again with --force.',
    },
  );
}
