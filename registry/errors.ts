import { Refusal, type RefusalDetails } from '../base/refusal.ts';

/** One entry of the distribution-spec's error body (Error codes). Text only, bounded, without control characters. */
export interface Diagnostic {
  readonly code: string;
  readonly message: string;
}

export interface RegistryRefusalDetails extends RefusalDetails {
  /** HTTP status, if an answer came at all. */
  readonly status?: number;
  readonly diagnostics?: readonly Diagnostic[];
  /** `METHOD URL`, without user info and query string: signed URLs carry their secret there. */
  readonly request?: string;
  /** True if the same request may well succeed a little later. Default false. */
  readonly temporary?: boolean;
  /** How long the server asked to wait; at most 60 000. */
  readonly retryAfterMs?: number;
  /** Repeating helps rarely: at most this many further attempts, whatever the options allow. Default: no such limit. */
  readonly retryLimit?: number;
  /** True if this host would hardly fare better with any other image, though it answered. Default false. */
  readonly hostwide?: boolean;
}

/** What every refusal of this room knows about the exchange that failed. */
export abstract class RegistryRefusal extends Refusal {
  readonly status: number | undefined;
  readonly diagnostics: readonly Diagnostic[];
  readonly request: string | undefined;
  readonly temporary: boolean;
  readonly retryAfterMs: number | undefined;
  readonly retryLimit: number | undefined;
  readonly hostwide: boolean;
  /** True if it was not the registry that failed, but a host to which it had sent the request on. */
  elsewhere = false;

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

/** 401 after all that could be tried: no credentials, wrong ones, or a repository that is hidden. */
export class RegistryUnauthorized extends RegistryRefusal {
  readonly code = 'REGISTRY_UNAUTHORIZED';
}

/** 403: known to the registry, but not allowed to read this. */
export class RegistryDenied extends RegistryRefusal {
  readonly code = 'REGISTRY_DENIED';
}

/** 404: `missing` says what. */
export class RegistryNotFound extends RegistryRefusal {
  readonly code = 'REGISTRY_NOT_FOUND';
  readonly missing: 'repository' | 'manifest' | 'blob' | 'unknown';

  constructor(message: string, details: RegistryRefusalDetails & { readonly missing: RegistryNotFound['missing'] }) {
    super(message, details.missing === 'repository' ? details : ofOneImage(details));
    this.missing = details.missing;
  }
}

/** 5xx, connections that break, bodies that end early. */
export class RegistryUnavailable extends RegistryRefusal {
  readonly code = 'REGISTRY_UNAVAILABLE';
}

/** No connection, no header or no byte within the time given. */
export class RegistryTimeout extends RegistryRefusal {
  readonly code = 'REGISTRY_TIMEOUT';
}

/** A body that comes, but hardly: another connection may be faster. Said once of a blob, then it is waited for. */
export class RegistrySlow extends RegistryTimeout {}

export class RegistryTls extends RegistryRefusal {
  readonly code = 'REGISTRY_TLS';
}

export class RegistryDns extends RegistryRefusal {
  readonly code = 'REGISTRY_DNS';
}

/** Nobody listens at the registry's address. */
export class RegistryRefused extends RegistryRefusal {
  readonly code = 'REGISTRY_REFUSED';
}

/** The proxy in between failed, not the registry behind it. */
export class RegistryProxy extends RegistryRefusal {
  readonly code = 'REGISTRY_PROXY';
}

export class RegistryRateLimited extends RegistryRefusal {
  readonly code = 'REGISTRY_RATE_LIMITED';
}

/** Too many redirects, a loop, or one that may not be followed. */
export class RegistryRedirect extends RegistryRefusal {
  readonly code = 'REGISTRY_REDIRECT';
}

/** Bytes that do not hash to what was asked for or announced. */
export class RegistryDigestMismatch extends RegistryRefusal {
  readonly code = 'REGISTRY_DIGEST_MISMATCH';

  constructor(message: string, details: RegistryRefusalDetails) {
    super(message, ofOneImage(details));
  }
}

/** An answer that no registry may give: HTML, a broken header, a manifest that is none. */
export class RegistryProtocol extends RegistryRefusal {
  readonly code = 'REGISTRY_PROTOCOL';
}

/** A credentials file or helper that cannot be read. */
export class RegistryCredentials extends RegistryRefusal {
  readonly code = 'REGISTRY_CREDENTIALS';
}

/** Options or environment that cannot be used: a missing CA file, a certificate without its key, a proxy that is no URL. */
export class RegistryOptionsInvalid extends RegistryRefusal {
  readonly code = 'REGISTRY_OPTIONS';
}

/** The registry and each of its mirrors failed; `cause` is an AggregateError with one refusal each, in the order asked. */
export class RegistryAllFailed extends RegistryRefusal {
  readonly code = 'REGISTRY_ALL_FAILED';
}

/** What stands behind the reference is not a manifest that can be read. */
export class ImageManifestInvalid extends Refusal {
  readonly code = 'IMAGE_MANIFEST_INVALID';
}

/** It is a manifest, of a kind that holds no image: Docker's schema 1, an artifact manifest, something newer. */
export class ImageTypeUnsupported extends Refusal {
  readonly code = 'IMAGE_TYPE_UNSUPPORTED';
}

/** The index has no image for the platform asked for, or none at all. */
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
