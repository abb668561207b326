import type { Readable } from 'node:stream';
import type { Descriptor } from './image.ts';
import type { Digest, Reference } from './reference.ts';
import type { Traffic } from './registry.ts';

/**
 * What an engine can do: ask one registry for one thing. It authenticates, follows redirects, retries requests that are
 * worth it and speaks this room's refusals; it neither caches nor resumes nor verifies a blob. All of that stands above
 * the engines, once, in openRegistry. `retries`, where given, allows fewer further attempts than the options do: for where
 * another place can be asked instead. An engine may leave it out of account.
 */
export interface Engine {
  /** The digest behind a tag. */
  resolve(reference: Reference, signal: AbortSignal, retries?: number): Promise<Digest>;
  /** A manifest or an index, raw; by digest if the reference has one, else by tag. At most 4 MiB. */
  fetchManifest(reference: Reference, signal: AbortSignal, retries?: number): Promise<RawManifest>;
  /** A blob's bytes, unverified, from `offset` on if the registry can, else from 0: `offset` of the answer says which. */
  fetchBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    signal: AbortSignal,
    retries?: number,
  ): Promise<BlobBody>;
  listTags(reference: Reference, signal: AbortSignal, retries?: number): Promise<string[]>;
  /** What refers to a manifest as its subject, by the API or else by the tag schema; empty if nothing does. */
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
  readonly offset: number;
  readonly body: Readable;
}
