import { Refusal, type RefusalDetails } from '../base/refusal.ts';

/** One entry of the distribution-spec's error body (Error codes), cut in length and without control characters. */
export interface Diagnostic {
  readonly code: string;
  readonly message: string;
}

export interface RegistryRefusalDetails extends RefusalDetails {
  /** HTTP status; undefined if there was no reply. */
  readonly status?: number;
  readonly diagnostics?: readonly Diagnostic[];
  /** `METHOD URL`, without user info and query string, which may hold secrets. */
  readonly request?: string;
  /** True if the same request may succeed a little later. Default false. */
  readonly temporary?: boolean;
  /** The server's Retry-After; at most 60 000. */
  readonly retryAfterMs?: number;
  /** For errors that a retry rarely cures: at most this many retries, whatever the options allow. Default: no limit. */
  readonly retryLimit?: number;
  /** True if the host answered, but would fail in the same way for every image. Default false. */
  readonly hostwide?: boolean;
}

/** An error of this room, with the request that failed. */
export abstract class RegistryRefusal extends Refusal {
  readonly status: number | undefined;
  readonly diagnostics: readonly Diagnostic[];
  readonly request: string | undefined;
  readonly temporary: boolean;
  readonly retryAfterMs: number | undefined;
  readonly retryLimit: number | undefined;
  readonly hostwide: boolean;
  /** True if not the registry failed, but a host that it had redirected to. */
  afterRedirect = false;

  constructor(message: string, details: RegistryRefusalDetails) {
    super(message, { faultIn: hostOf(details), ...details });
    this.status = details.status;
    this.diagnostics = details.diagnostics ?? [];
    this.request = details.request;
    this.temporary = details.temporary ?? false;
    this.retryAfterMs = details.retryAfterMs;
    this.retryLimit = details.retryLimit;
    this.hostwide = details.hostwide ?? false;
  }
}

/** 401 after everything was tried: no credentials, wrong credentials, or a hidden repository. */
export class RegistryUnauthorized extends RegistryRefusal {
  readonly code = 'REGISTRY_UNAUTHORIZED';
}

/** 403: the registry knows the user, who is not allowed to read the repository. */
export class RegistryDenied extends RegistryRefusal {
  readonly code = 'REGISTRY_DENIED';
}

/** 404; `missing` is what does not exist. */
export class RegistryNotFound extends RegistryRefusal {
  readonly code = 'REGISTRY_NOT_FOUND';
  readonly missing: 'repository' | 'manifest' | 'blob' | 'unknown';

  constructor(message: string, details: RegistryRefusalDetails & { readonly missing: RegistryNotFound['missing'] }) {
    super(message, details.missing === 'repository' ? details : ofOneImage(details));
    this.missing = details.missing;
  }
}

/** 5xx, a connection that broke, a body that ended early. */
export class RegistryUnavailable extends RegistryRefusal {
  readonly code = 'REGISTRY_UNAVAILABLE';
}

/** No connection, no header or no byte within `timeoutMs`. */
export class RegistryTimeout extends RegistryRefusal {
  readonly code = 'REGISTRY_TIMEOUT';
}

/** A blob that arrives very slowly. Reported once per blob, since a new connection is often faster; after that it is waited for. */
export class RegistrySlow extends RegistryTimeout {}

export class RegistryTls extends RegistryRefusal {
  readonly code = 'REGISTRY_TLS';
}

export class RegistryDns extends RegistryRefusal {
  readonly code = 'REGISTRY_DNS';
}

/** The connection was refused: nothing listens at the host's port. */
export class RegistryRefused extends RegistryRefusal {
  readonly code = 'REGISTRY_REFUSED';
}

/** The proxy failed, not the registry. */
export class RegistryProxy extends RegistryRefusal {
  readonly code = 'REGISTRY_PROXY';
}

export class RegistryRateLimited extends RegistryRefusal {
  readonly code = 'REGISTRY_RATE_LIMITED';
}

/** Too many redirects, a loop, or a redirect that must not be followed. */
export class RegistryRedirect extends RegistryRefusal {
  readonly code = 'REGISTRY_REDIRECT';
}

/** Bytes that do not have the requested or announced digest. */
export class RegistryDigestMismatch extends RegistryRefusal {
  readonly code = 'REGISTRY_DIGEST_MISMATCH';

  constructor(message: string, details: RegistryRefusalDetails) {
    super(message, ofOneImage(details));
  }
}

/** A reply that breaks the protocol: HTML, an invalid header, a manifest that is not JSON. */
export class RegistryProtocol extends RegistryRefusal {
  readonly code = 'REGISTRY_PROTOCOL';
}

/** A credentials file that cannot be read, or a credential helper that fails. */
export class RegistryCredentials extends RegistryRefusal {
  readonly code = 'REGISTRY_CREDENTIALS';
}

/** An invalid option or variable: a missing CA file, a certificate without its key, a proxy that is not a URL. */
export class RegistryOptionsInvalid extends RegistryRefusal {
  readonly code = 'REGISTRY_OPTIONS';
}

/** The registry and all its mirrors failed; `cause` is an AggregateError with the error of each, in the order in which they were asked. */
export class RegistryAllFailed extends RegistryRefusal {
  readonly code = 'REGISTRY_ALL_FAILED';
}

/** The reference names a document that is not a valid manifest. */
export class ImageManifestInvalid extends Refusal {
  readonly code = 'IMAGE_MANIFEST_INVALID';
}

/** The reference names a manifest of a type without an image: Docker's schema 1, an artifact manifest, a newer type. */
export class ImageTypeUnsupported extends Refusal {
  readonly code = 'IMAGE_TYPE_UNSUPPORTED';
}

/** The index has no image for the requested platform, or no image. */
export class ImageNoPlatform extends Refusal {
  readonly code = 'IMAGE_NO_PLATFORM';
}

/** The host that was asked last, which is not always the registry: a token server, blob storage. */
function hostOf({ request, subject = '' }: RegistryRefusalDetails): string {
  const url = request?.split(' ')[1];
  if (url !== undefined && URL.canParse(url)) return new URL(url).host;
  return subject.split('/')[0] ?? '';
}

function ofOneImage(details: RegistryRefusalDetails): RegistryRefusalDetails {
  return details.subject === undefined ? details : { faultIn: details.subject, ...details };
}
