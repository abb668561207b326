import { RegistryAllFailed, RegistryNotFound, RegistryProtocol, RegistryRefusal } from '../../registry/errors.ts';

/**
 * The registry's own word that something is not there, undefined of any other failure. That a mirror lacks it says
 * nothing: of several places the last one, the registry itself, is what counts.
 */
export function goneOf(error: unknown): RegistryNotFound | undefined {
  if (error instanceof RegistryNotFound) return error;
  if (!(error instanceof RegistryAllFailed) || !(error.cause instanceof AggregateError)) return undefined;
  const last: unknown = error.cause.errors.at(-1);
  return last instanceof RegistryNotFound ? last : undefined;
}

/** How some registries answer a HEAD whose GET they answer well (RFC 9110, 15.5.6 and 15.6.2). */
const NO_HEAD = [405, 501];

/**
 * True where a registry was there and its answer to HEAD tells nothing of the tag, so that only a GET would: it leaves the
 * digest out, or knows no HEAD. Of several places the last one, the registry itself, is what counts.
 */
export function isHeadMute(error: unknown): boolean {
  if (error instanceof RegistryAllFailed && error.cause instanceof AggregateError)
    return isHeadMute(error.cause.errors.at(-1));
  if (error instanceof RegistryProtocol && error.expected === 'a Docker-Content-Digest header') return true;
  return error instanceof RegistryRefusal && error.status !== undefined && NO_HEAD.includes(error.status);
}
