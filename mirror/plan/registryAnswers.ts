import { RegistryAllFailed, RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../../registry/errors.ts';

/**
 * The registry's answer that something does not exist; undefined of any other failure. That a mirror does not have it proves
 * nothing: of several hosts the last one, the registry itself, decides.
 */
export function notFoundIn(error: unknown): RegistryNotFound | undefined {
  if (error instanceof RegistryNotFound) return error;
  const own = registryFailure(error);
  return own instanceof RegistryNotFound ? own : undefined;
}

/** How some registries answer a HEAD although they answer the GET (RFC 9110, 15.5.6 and 15.6.2). */
const NO_HEAD = [405, 501];

/**
 * True if the registry answered a HEAD without a digest, so that only a GET would show it: it leaves the header out, or does
 * not support HEAD. Of several hosts the last one, the registry itself, decides.
 */
export function lacksHeadDigest(error: unknown): boolean {
  const own = registryFailure(error);
  if (own !== undefined) return lacksHeadDigest(own);
  if (error instanceof RegistryProtocol && error.expected === 'a Docker-Content-Digest header') return true;
  return error instanceof RegistryRefusal && error.status !== undefined && NO_HEAD.includes(error.status);
}

/** Of a failure of all mirrors and the registry: the registry's own. */
function registryFailure(error: unknown): unknown {
  if (!(error instanceof RegistryAllFailed) || !(error.cause instanceof AggregateError)) return undefined;
  return error.cause.errors.at(-1);
}
