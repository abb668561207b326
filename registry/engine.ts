import type { Readable } from 'node:stream';
import type { Descriptor } from './image.ts';
import type { Digest, Reference } from './reference.ts';
import type { Traffic } from './registry.ts';

/**
 * Sends single requests to single registries: it authenticates, follows redirects, retries temporary failures and reports
 * this room's refusals. It does not cache, resume or verify blobs, nor use mirrors; openRegistry does that above all
 * engines. `retries` can only lower the number from the options, for when another host can be asked; an engine may ignore it.
 * Every method rejects with the signal's reason after an abort.
 */
export interface Engine {
  /** Returns the digest of a tag. */
  resolve(reference: Reference, signal: AbortSignal, retries?: number): Promise<Digest>;
  /** Returns the bytes of a manifest or index, by digest if the reference has one, otherwise by tag. At most 4 MiB. */
  fetchManifest(reference: Reference, signal: AbortSignal, retries?: number): Promise<RawManifest>;
  /** Opens a blob, unverified, at `offset` if the registry can, otherwise at an earlier byte: see the result's `offset`. */
  fetchBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    signal: AbortSignal,
    retries?: number,
  ): Promise<BlobBody>;
  listTags(reference: Reference, signal: AbortSignal, retries?: number): Promise<string[]>;
  /** Lists the manifests whose subject is `digest`, by the API or else by the tag schema. Empty if there are none. */
  listReferrers(reference: Reference, digest: Digest, signal: AbortSignal): Promise<Descriptor[]>;
  readonly traffic: Traffic;
  close(): Promise<void>;
}

export interface RawManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly digest: Digest;
}

export interface BlobBody {
  /** The blob's byte at which `body` begins. */
  readonly offset: number;
  readonly body: Readable;
}
