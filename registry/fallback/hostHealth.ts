import {
  RegistryDns,
  RegistryProtocol,
  RegistryProxy,
  RegistryRateLimited,
  RegistryRedirect,
  type RegistryRefusal,
  RegistryRefused,
  RegistryTimeout,
  RegistryTls,
  RegistryUnauthorized,
  RegistryUnavailable,
} from '../errors.ts';

/** Errors that concern a host rather than one image, and after how many different images the host is given up. */
const HOST_FAULTS = [
  { Kind: RegistryDns, limit: 1 },
  { Kind: RegistryTls, limit: 1 },
  { Kind: RegistryRefused, limit: 1 },
  { Kind: RegistryProxy, limit: 1 },
  { Kind: RegistryTimeout, limit: 2 },
  { Kind: RegistryUnavailable, limit: 3 },
  // A rate limit ends some time; only a mirror is given up for it, because another host has the image too.
  { Kind: RegistryRateLimited, limit: Number.POSITIVE_INFINITY },
  // These three count only when marked `hostwide`: a login page, a bad redirect, an answer that is not HTTP, a 401 without
  // a challenge.
  { Kind: RegistryProtocol, limit: 3 },
  { Kind: RegistryRedirect, limit: 3 },
  { Kind: RegistryUnauthorized, limit: 3 },
] as const;
const ONLY_IF_HOSTWIDE: readonly unknown[] = [RegistryProtocol, RegistryRedirect, RegistryUnauthorized];

/** One caller may ask a host again this long after it was given up: a run may outlast a restart. */
const PROBE_AFTER_MS = 60_000;

interface Health {
  error: RegistryRefusal | undefined;
  /** The images for which the host has failed since it last answered. */
  readonly failedFor: Set<string>;
  isGivenUp: boolean;
  probeAtMs: number;
  answeredAt: number | undefined;
}

/** Returns the fault of the host that an error reports; undefined for an error that concerns one image, such as a 404. */
export function hostFaultOf(error: RegistryRefusal): (typeof HOST_FAULTS)[number] | undefined {
  const fault = HOST_FAULTS.find(({ Kind }) => error instanceof Kind);
  return fault !== undefined && ONLY_IF_HOSTWIDE.includes(fault.Kind) && !error.hostwide ? undefined : fault;
}

/**
 * Remembers which hosts fail, so that a host which is down is not asked again for every image of a run. A host that answers
 * is healthy again. Used for registries and mirrors, and by the built-in engine for the storage hosts that registries
 * redirect to.
 */
export class HostHealth {
  readonly #hosts = new Map<string, Health>();
  readonly #nowMs: () => number;
  #step = 0;

  /** `nowMs` is a clock in milliseconds; default `performance.now`. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Returns a mark for `failed`. Marks are counted, because two events can share a millisecond. */
  mark(): number {
    this.#step += 1;
    return this.#step;
  }

  /**
   * Returns the error to report in place of a request: undefined unless the host is given up. The error has the kind of the
   * one that the host failed with. Once a minute one caller gets undefined and so probes the host.
   */
  skip(
    host: string,
    subject: string,
    details: { readonly temporary?: boolean; readonly retryLimit?: number } = {},
  ): RegistryRefusal | undefined {
    const health = this.#of(host);
    const { error } = health;
    if (error === undefined || !health.isGivenUp) return undefined;
    if (this.#nowMs() >= health.probeAtMs) {
      health.probeAtMs = this.#nowMs() + PROBE_AFTER_MS;
      return undefined;
    }
    const Kind = hostFaultOf(error)?.Kind ?? RegistryUnavailable;
    return new Kind(`${host} failed before and is not asked again for every image: ${error.message}`, {
      subject,
      hint: error.hint,
      ...(error.registrySaid === undefined ? {} : { registrySaid: error.registrySaid }),
      ...(error.request === undefined ? {} : { request: error.request }),
      consequenceOf: error,
      ...details,
    });
  }

  answered(host: string): void {
    const health = this.#of(host);
    health.answeredAt = this.mark();
    health.error = undefined;
    health.failedFor.clear();
    health.isGivenUp = false;
  }

  hasAnswered(host: string): boolean {
    return this.#of(host).answeredAt !== undefined;
  }

  /** Returns true if a host other than this one has answered. */
  hasAnother(host: string): boolean {
    return [...this.#hosts].some(([name, { answeredAt }]) => name !== host && answeredAt !== undefined);
  }

  /**
   * Counts a failure for `image`, unless the host has answered another request since `mark`. Returns true if this failure
   * is the one that gives the host up. `limit` is the number of images that does so; default: as the kind of error says.
   */
  failed(
    host: string,
    image: string,
    error: RegistryRefusal,
    mark: number,
    limit = hostFaultOf(error)?.limit,
  ): boolean {
    const health = this.#of(host);
    if (limit === undefined || (health.answeredAt ?? 0) > mark) return false;
    const wasGivenUp = health.isGivenUp;
    health.error = error;
    health.failedFor.add(image);
    if (health.failedFor.size < limit) return false;
    health.isGivenUp = true;
    health.probeAtMs = this.#nowMs() + PROBE_AFTER_MS;
    return !wasGivenUp;
  }

  #of(host: string): Health {
    const health = this.#hosts.get(host) ?? {
      error: undefined,
      failedFor: new Set(),
      isGivenUp: false,
      probeAtMs: 0,
      answeredAt: undefined,
    };
    this.#hosts.set(host, health);
    return health;
  }
}
