import { RegistryNotFound } from '../registry/errors.ts';
import { RegistryAllFailed } from '../registry/places.ts';

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
