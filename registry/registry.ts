import type { Readable } from 'node:stream';
import type { Layout } from '../layout/layout.ts';
import type { Descriptor, Image } from './image.ts';
import type { Digest, Reference } from './reference.ts';

/**
 * An OCI registry to read from, whichever engine speaks to it. Everything it returns is verified against its digest and size,
 * except what `resolve` and `listReferrers` say. Retries, resumption, credentials, mirrors and caching are internal. Every
 * method rejects with one of this room's refusals (registry/errors.ts), or with the signal's reason after an abort.
 */
export interface Registry {
  /**
   * Returns the digest of a tag, by one HEAD (by GET where the registry's reply to HEAD has no digest); no request for a
   * reference with a digest. Each reference is resolved once per run. A HEAD proves nothing: fetchImage of the same tag reads
   * the manifest behind the tag if there is nothing at this digest, and then `Image.digest` is the right one.
   */
  resolve(reference: Reference, signal?: AbortSignal): Promise<Digest>;

  /**
   * Returns the image manifest of a reference. An index is followed to the platform of RegistryOptions.platform, or, with
   * `lockedPlatform` (a text of platformText), to exactly that one.
   */
  fetchImage(reference: Reference, signal?: AbortSignal, lockedPlatform?: string): Promise<Image>;

  /**
   * Opens a blob as it is stored: a tar+gzip layer is not decompressed. All of it is downloaded and verified before the stream
   * is returned. A blob is downloaded once per run, however many callers open it, and not at all if the cache has it.
   * @param proof when a blob of the cache is hashed. Default: `first`
   */
  openBlob(reference: Reference, descriptor: Descriptor, signal?: AbortSignal, proof?: CacheProof): Promise<Readable>;

  /** Lists the tags of the reference's repository, all pages, in the registry's order; those of its mirrors, too. */
  listTags(reference: Reference, signal?: AbortSignal): Promise<TagList>;

  /**
   * Lists the manifests whose subject is `digest`, such as signatures: all pages, in the registry's order, from the API or
   * else from the tag schema (distribution-spec 1.1, Listing Referrers). Unverified: a registry may add or omit entries.
   * Empty if there are none.
   */
  listReferrers(reference: Reference, digest: Digest, signal?: AbortSignal): Promise<Descriptor[]>;

  /** Returns the bytes of a manifest or index as they are stored, verified. At most 4 MiB. */
  fetchManifest(reference: Reference & { readonly digest: Digest }, signal?: AbortSignal): Promise<Buffer>;

  readonly traffic: Traffic;

  /** Ends all transfers and connections, and trims the cache. Later calls wait for the first. */
  close(): Promise<void>;
}

/**
 * When the bytes of a large blob in the cache are compared with its digest. `first`: before the stream is returned. `read`: while
 * it is read, once instead of twice; the stream then ends with CacheUnusable if they differ, and the next one is downloaded.
 */
export type CacheProof = 'first' | 'read';

export interface TagList {
  /** Each tag once. */
  readonly tags: readonly string[];
  /** The hosts that failed while another answered: they may have more tags. */
  readonly unheard: readonly { readonly registry: string; readonly error: Error }[];
}

export interface Traffic {
  /** HTTP requests sent, including retries, redirects and token requests; with the ORAS engine, processes started. */
  readonly requests: number;
  /** Bytes of blobs received over the network. */
  readonly bytesDownloaded: number;
}

/** Progress and warnings, to show to people. */
export type RegistryEvent =
  | {
      readonly type: 'retry';
      readonly subject: string;
      /** Which retry comes, from 1 to `retries`; one more where all of a blob is requested instead of its rest. */
      readonly attempt: number;
      readonly delayMs: number;
      readonly reason: string;
    }
  /** A registry's `Warning: 299` header (RFC 9111, 5.5; distribution-spec, Warnings), or a mirror or the cache given up. */
  | { readonly type: 'warning'; readonly subject: string; readonly message: string }
  | { readonly type: 'bytes'; readonly digest: Digest; readonly receivedBytes: number; readonly sizeBytes: number };

/** One HTTP request, or one ORAS process, after its end. Holds no secrets: queries and user info are left out. */
export interface RequestEvent {
  /** `GET`, `HEAD` or `POST`; with ORAS its command, such as `oras manifest fetch`. */
  readonly method: string;
  /** `HOST[:PORT]`. */
  readonly host: string;
  /** Without the query. With ORAS `/REPOSITORY:TAG` or `/REPOSITORY@DIGEST`. */
  readonly path: string;
  /** HTTP status; undefined if there was no reply, or where ORAS does not show it. */
  readonly status?: number;
  /** Why the request failed before its reply, in one line. */
  readonly error?: string;
  /** Bytes of the reply's body that were read. */
  readonly bytes: number;
  /** From sending the request to the end of its body. */
  readonly ms: number;
  /** Which attempt it was, from 1. */
  readonly attempt: number;
}

/** All hosts, no host, or the hosts named as a reference names them: `HOST` or `HOST:PORT`. */
export type HostChoice = boolean | readonly string[];

/** Options of openRegistry. All have defaults; the environment is read only from `env`. */
export interface RegistryOptions {
  /** Default `builtin`. */
  readonly engine?: 'builtin' | 'oras';
  /** Read from this OCI image layout instead of any registry: no request is sent, and nothing is cached. It stays open. */
  readonly layout?: Layout;
  /** Blobs downloaded at the same time, from all hosts together. Default 8. */
  readonly concurrency?: number;
  /** Use http instead of https, for all or for these registries. Loopback is always tried over http first. Default false. */
  readonly plainHttp?: HostChoice;
  /**
   * Accept any TLS certificate, of all or of these hosts. Dangerous: an attacker on the path can serve any image by tag.
   * Redirect targets, token servers and proxies are hosts of their own. Default false.
   */
  readonly insecure?: HostChoice;
  /**
   * Hosts that a registry may name as its token server or redirect to although their addresses are private or loopback and
   * its own is not. Link-local addresses are never allowed. Ignored by the ORAS engine. Default: none.
   */
  readonly allowHost?: readonly string[];
  /** PEM file with further certificate authorities. */
  readonly caFile?: string;
  /** PEM files of a client certificate and its key; both or neither. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Docker's folder of certificates per registry: `HOST:PORT/{*.crt,*.cert,*.key}`. Default /etc/docker/certs.d. */
  readonly certsDir?: string;
  /** Docker's `config.json` or podman's `auth.json`. If given, no other credentials file is read. */
  readonly registryConfig?: string;
  /** Credentials for the hosts of `credentialsFor`, preferred to those of files; both or neither. */
  readonly username?: string;
  readonly password?: string;
  /** Registry hosts, with their ports, that may get `username` and `password`. Default: every registry that asks for them. */
  readonly credentialsFor?: readonly string[];
  /** The image of an index to take: `os/architecture[/variant]`. Default: the only one, or `linux/amd64`, or the first. */
  readonly platform?: string;
  /**
   * `resolve` sends only HEADs, so that many tags can be resolved cheaply; a tag whose reply has no digest is an error.
   * Default false: then a GET follows, and a missing tag's error names similar tags. Ignored by the ORAS engine's requests.
   */
  readonly headsOnly?: boolean;
  /**
   * Longest time without a header or a byte, in milliseconds. A blob of which less than 1 KiB arrives in that time is
   * requested once more. Default 30 000.
   */
  readonly timeoutMs?: number;
  /** Retries per request. For a blob the count starts again when 64 KiB or a hundredth of it has arrived. Default 5. */
  readonly retries?: number;
  /** Environment to read proxies, DOCKER_CONFIG, REGISTRY_AUTH_FILE, HOME and PATH from. Default: empty. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Folder that keeps blobs and parts of blobs between runs. Default: they are not kept. */
  readonly cacheDir?: string;
  /** `cacheDir` is trimmed to this many bytes on close. Default 2 GiB. */
  readonly cacheSizeBytes?: number;
  /** Registry host → the `HOST[/PREFIX]`s that are tried before it, in order. Digests are verified in any case. */
  readonly mirrors?: Readonly<Record<string, readonly string[]>>;
  readonly onEvent?: (event: RegistryEvent) => void;
  /** Called after each request, for a debug log. */
  readonly onRequest?: (event: RequestEvent) => void;
}
