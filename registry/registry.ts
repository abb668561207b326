import type { Readable } from 'node:stream';
import type { Descriptor, Image } from './image.ts';
import type { Digest, Reference } from './reference.ts';

/**
 * The door of this room: an OCI registry to read from, whichever engine speaks to it. Whatever comes out of it has been
 * verified against its digest and size; retries, resumption, credentials and caching happen behind it. Every call takes
 * an AbortSignal and rejects with one of this room's refusals (registry/errors.ts) or with the signal's reason.
 */
export interface Registry {
  /**
   * Tag → digest by one HEAD (GET where a registry leaves the digest out of its answer to HEAD); no request for a reference
   * with a digest. Asked once per reference and run. What a HEAD says is proven only by fetchImage of the same tag, which
   * reads the manifest behind the tag itself where that digest leads nowhere; `Image.digest` is then the truth.
   */
  resolve(reference: Reference, signal?: AbortSignal): Promise<Digest>;

  /**
   * The image manifest behind a reference; an index is followed to the platform asked for (RegistryOptions.platform), or to
   * exactly the one that is `held`, as platformText gave it of an image that was taken before.
   */
  fetchImage(reference: Reference, signal?: AbortSignal, held?: string): Promise<Image>;

  /**
   * The bytes of a blob as they are stored (a tar+gzip layer comes compressed). The stream errors if they do not hash to
   * the descriptor's digest and size: nothing read from it may be published before its `end`. A digest travels once per
   * run whatever number of callers ask, and not at all if the cache has it.
   */
  openBlob(reference: Reference, descriptor: Descriptor, signal?: AbortSignal): Promise<Readable>;

  /** All tags of the reference's repository, all pages, in the registry's order; of its mirrors, too, since each may hold fewer. */
  listTags(reference: Reference, signal?: AbortSignal): Promise<TagList>;

  /**
   * What names the manifest of that digest as its subject, such as signatures: all pages, in the registry's order, from
   * the API or else from the tag schema (distribution-spec 1.1, Listing Referrers). Unverified: a registry may list
   * anything and leave anything out. Empty if there is nothing.
   */
  listReferrers(reference: Reference, digest: Digest, signal?: AbortSignal): Promise<Descriptor[]>;

  /** The bytes of a manifest or index as they are stored; the reference has its digest. At most 4 MiB. */
  fetchManifest(reference: Reference & { readonly digest: Digest }, signal?: AbortSignal): Promise<Buffer>;

  /** What has travelled so far. */
  readonly traffic: Traffic;

  /** Ends idle connections and releases the cache. */
  close(): Promise<void>;
}

export interface TagList {
  /** Each once. */
  readonly tags: readonly string[];
  /** Places that could have more, and did not answer while another did. */
  readonly unheard: readonly { readonly registry: string; readonly error: Error }[];
}

export interface Traffic {
  /** HTTP requests sent, retries, token requests and redirects included; with the ORAS engine, its processes. */
  readonly requests: number;
  /** Body bytes of blobs received over the network. */
  readonly bytesDownloaded: number;
}

/** What a listener hears while a registry works; for people, never for decisions. */
export type RegistryEvent =
  | {
      readonly type: 'retry';
      readonly subject: string;
      /** From 1 to `retries`: which of the further attempts comes; one more where all of a blob is asked for, not its rest. */
      readonly attempt: number;
      readonly delayMs: number;
      readonly reason: string;
    }
  /** A registry's `Warning: 299` header (RFC 9111, 5.5; distribution-spec, Warnings); a mirror or the cache given up. */
  | { readonly type: 'warning'; readonly subject: string; readonly message: string }
  | { readonly type: 'bytes'; readonly digest: Digest; readonly receivedBytes: number; readonly sizeBytes: number };

/** All hosts, none, or those named as a reference names them: `HOST` or `HOST:PORT`. */
export type HostChoice = boolean | readonly string[];

/** Options of openRegistry. All have defaults; nothing here is read from the environment by itself. */
export interface RegistryOptions {
  /** Default `builtin`. */
  readonly engine?: 'builtin' | 'oras';
  /** Blobs in flight at once, all hosts together. Default 8. */
  readonly concurrency?: number;
  /** http instead of https, for every registry or for these. Loopback is spoken to over http anyway. Default false. */
  readonly plainHttp?: HostChoice;
  /**
   * Accept any TLS certificate, of every host or of these. Dangerous: an attacker on the path can serve anything by tag.
   * Where a registry redirects to, its token server and proxies are hosts of their own. Default false.
   */
  readonly insecure?: HostChoice;
  /** PEM file with further certificate authorities. */
  readonly caFile?: string;
  /** PEM files of a client certificate and its key; both or neither. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Docker's folder of certificates per registry: `HOST:PORT/{*.crt,*.cert,*.key}`. Default /etc/docker/certs.d. */
  readonly certsDir?: string;
  /** Docker's `config.json` or podman's `auth.json`; when given, the only file looked at. */
  readonly registryConfig?: string;
  /** Credentials for the hosts of `credentialsFor`, before any file's; both or neither. */
  readonly username?: string;
  readonly password?: string;
  /** Registry hosts, ports included, that may be told `username` and `password`. Default: every registry that asks. */
  readonly credentialsFor?: readonly string[];
  /** Which image of an index: `os/architecture[/variant]`. Default: the only one there is, or `linux/amd64`, or the first that holds a plugin. */
  readonly platform?: string;
  /**
   * `resolve` sends HEADs and nothing else: what an answer to HEAD does not tell stays unknown. For a look at many tags that
   * must stay cheap. Default false: a GET finds out, and names the nearest tags. The ORAS engine resolves as ORAS does.
   */
  readonly headsOnly?: boolean;
  /** No byte and no header for this long is a fault; less than 1 KiB of a blob in it is one once. Default 30 000. */
  readonly timeoutMs?: number;
  /** Further attempts after the first, per request; a blob of which 64 KiB or a hundredth came is counted anew. Default 5. */
  readonly retries?: number;
  /** Environment to read proxies, DOCKER_CONFIG, REGISTRY_AUTH_FILE, HOME and PATH from. Default: empty. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where blobs and parts of blobs are kept between runs. Default: none are kept. */
  readonly cacheDir?: string;
  /** At most this many bytes stay in `cacheDir`. Default 2 GiB. */
  readonly cacheSizeBytes?: number;
  /** Other places to ask first, tried in order: registry host → `HOST[/PREFIX]`s. Digests are verified all the same. */
  readonly mirrors?: Readonly<Record<string, readonly string[]>>;
  readonly onEvent?: (event: RegistryEvent) => void;
}
