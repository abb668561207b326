import { RegistryAllFailed, RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../../registry/errors.ts';

/**
 * Returns the registry's error that something does not exist, and undefined for any other failure. Of several hosts the last
 * one, the registry itself, decides: a mirror need not have everything.
 */
export function notFoundIn(error: unknown): RegistryNotFound | undefined {
  if (error instanceof RegistryNotFound) return error;
  const own = registryFailure(error);
  return own instanceof RegistryNotFound ? own : undefined;
}

/** Statuses of registries that do not support HEAD (RFC 9110, 15.5.6 and 15.6.2). */
const NO_HEAD = [405, 501];

/**
 * True if the registry's reply to a HEAD has no digest, so that a GET is needed: the registry leaves the header out or does not
 * support HEAD. Of several hosts the last one, the registry itself, decides.
 */
export function lacksHeadDigest(error: unknown): boolean {
  const own = registryFailure(error);
  if (own !== undefined) return lacksHeadDigest(own);
  if (error instanceof RegistryProtocol && error.expected === 'a Docker-Content-Digest header') return true;
  return error instanceof RegistryRefusal && error.status !== undefined && NO_HEAD.includes(error.status);
}

/** Returns the registry's own error if all mirrors and the registry failed. */
function registryFailure(error: unknown): unknown {
  if (!(error instanceof RegistryAllFailed) || !(error.cause instanceof AggregateError)) return undefined;
  return error.cause.errors.at(-1);
}
