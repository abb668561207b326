import { setTimeout as sleep } from 'node:timers/promises';
import { RegistryDns, RegistryRefusal, RegistryTimeout, RegistryTls } from '../errors.ts';

export interface RetryPolicy {
  /** Further attempts after the first. */
  readonly retries: number;
  /** Longest wait before the first retry; it doubles each time, up to 10 000. */
  readonly backoffMs: number;
  /** Called before each wait. `attempt` counts retries from 1. */
  readonly onRetry: (attempt: number, delayMs: number, reason: RegistryRefusal) => void;
}

/** Requests that timed out together did so in the same millisecond: their retries are spread over a longer time. */
const TIMEOUT_FACTOR = 4;

/** Retries after a redirect to a host that does not exist or is not trusted: the registry may redirect to another. */
const RETRIES_AFTER_REDIRECT = 2;

function mayRedirectElsewhere(error: RegistryRefusal): boolean {
  return error.afterRedirect && (error instanceof RegistryDns || error instanceof RegistryTls);
}

/**
 * Returns how many milliseconds to wait after an attempt, from 1. The longest wait begins with `firstMs` and doubles each time,
 * up to `longestMs` (10 000). All of it but `leastShare` (0.5) is random, so that what failed together does not return together.
 */
export function backoff(attempt: number, firstMs = 250, { longestMs = 10_000, leastShare = 0.5 } = {}): number {
  const ms = Math.min(longestMs, firstMs * 2 ** (attempt - 1));
  return Math.round(ms * (leastShare + (1 - leastShare) * Math.random()));
}

/**
 * Repeats `attempt` while it fails with a temporary error. The wait grows exponentially and half of it is random (after a
 * timeout all of it, and it is longer), so that requests that failed together do not return together. The wait is never
 * shorter than the server's Retry-After. `attempt` gets its number, from 1. @throws the last error, or the signal's reason
 */
export async function retrying<Value>(
  attempt: (number: number) => Promise<Value>,
  { retries, backoffMs, onRetry }: RetryPolicy,
  signal: AbortSignal,
): Promise<Value> {
  /** Failures by kind, for kinds with a `retryLimit`: other failures do not count towards that limit. */
  const limited = new Map<unknown, number>();
  for (let number = 1; ; number += 1) {
    try {
      return await attempt(number);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryRefusal) || !(error.temporary || mayRedirectElsewhere(error))) throw error;
      const sameKind = (limited.get(error.constructor) ?? 0) + 1;
      const limit = error.temporary ? error.retryLimit : RETRIES_AFTER_REDIRECT;
      if (limit !== undefined) limited.set(error.constructor, sameKind);
      if (number > retries || sameKind > (limit ?? retries)) throw error;
      const isTimeout = error instanceof RegistryTimeout;
      const firstMs = isTimeout ? TIMEOUT_FACTOR * backoffMs : backoffMs;
      const delayMs = (error.retryAfterMs ?? 0) + backoff(number, firstMs, { leastShare: isTimeout ? 0 : 0.5 });
      onRetry(number, delayMs, error);
      await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}
