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

/** A refusal that concerns a host as a whole, and for how many different things it must be met before the host is given up. */
const HOST_FAULTS = [
  { Kind: RegistryDns, limit: 1 },
  { Kind: RegistryTls, limit: 1 },
  { Kind: RegistryRefused, limit: 1 },
  { Kind: RegistryProxy, limit: 1 },
  { Kind: RegistryTimeout, limit: 2 },
  { Kind: RegistryUnavailable, limit: 3 },
  // What nothing else can stand in for is waited for; a mirror that counts requests is left alone.
  { Kind: RegistryRateLimited, limit: Number.POSITIVE_INFINITY },
  // Only those that say that they are the host's: a log-in page, a redirect to nowhere, what is no HTTP, a 401 without a challenge.
  { Kind: RegistryProtocol, limit: 3 },
  { Kind: RegistryRedirect, limit: 3 },
  { Kind: RegistryUnauthorized, limit: 3 },
] as const;
const HOSTWIDE_ONLY: readonly unknown[] = [RegistryProtocol, RegistryRedirect, RegistryUnauthorized];

/** A host given up is asked again by one caller after this long: a run may outlast a restart. */
export const PROBE_AFTER_MS = 60_000;

/** Undefined where a refusal says nothing of the host that gave it. */
export function hostFaultOf(error: RegistryRefusal): (typeof HOST_FAULTS)[number] | undefined {
  const fault = HOST_FAULTS.find(({ Kind }) => error instanceof Kind);
  return fault !== undefined && HOSTWIDE_ONLY.includes(fault.Kind) && !error.hostwide ? undefined : fault;
}

/** What is said at once in place of another attempt; of the same kind as `error`, which the host failed with before. `worth`: repeating it. */
export function passedOver(
  host: string,
  subject: string,
  error: RegistryRefusal,
  worth: { readonly temporary?: boolean; readonly retryLimit?: number } = {},
): RegistryRefusal {
  const Kind = hostFaultOf(error)?.Kind ?? RegistryUnavailable;
  return new Kind(`${host} failed before and is not asked again for every image: ${error.message}`, {
    subject,
    hint: error.hint,
    ...(error.registrySaid === undefined ? {} : { registrySaid: error.registrySaid }),
    ...(error.request === undefined ? {} : { request: error.request }),
    consequenceOf: error,
    ...worth,
  });
}
