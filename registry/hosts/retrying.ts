import { setTimeout as sleep } from 'node:timers/promises';
import { RegistryDns, RegistryRefusal, RegistryTimeout, RegistryTls } from '../errors.ts';

export interface RetryPolicy {
  /** Further attempts after the first. */
  readonly retries: number;
  /** Longest wait before the first retry; it doubles each time. */
  readonly backoffMs: number;
  readonly onRetry: (attempt: number, delayMs: number, reason: RegistryRefusal) => void;
}

const LONGEST_BACKOFF_MS = 10_000;
/** What hung together ends together, to the millisecond: it is spread over a longer time. */
const TIMEOUT_FACTOR = 4;

/** A host that a registry had sent to, and that is not there or not to be trusted: the next time it may send to another. */
const MOST_ELSEWHERE = 2;

function mayLeadElsewhere(error: RegistryRefusal): boolean {
  return error.elsewhere && (error instanceof RegistryDns || error instanceof RegistryTls);
}

/**
 * Repeats what fails with a temporary refusal. Exponential backoff, half of it random, so that requests that broke together
 * do not come back together, and the whole of it outlasts a restart; after a silence all of it random, and longer. Never
 * before the Retry-After that the server named.
 */
export async function retrying<Value>(
  attempt: () => Promise<Value>,
  { retries, backoffMs, onRetry }: RetryPolicy,
  signal: AbortSignal,
): Promise<Value> {
  /** How often each kind of fault was met of which repeating helps rarely: what else went wrong is not held against it. */
  const rare = new Map<unknown, number>();
  for (let failures = 1; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RegistryRefusal) || !(error.temporary || mayLeadElsewhere(error))) throw error;
      const met = (rare.get(error.constructor) ?? 0) + 1;
      const limit = error.temporary ? error.retryLimit : MOST_ELSEWHERE;
      if (limit !== undefined) rare.set(error.constructor, met);
      if (failures > retries || met > (limit ?? retries)) throw error;
      const isSilence = error instanceof RegistryTimeout;
      const firstMs = isSilence ? TIMEOUT_FACTOR * backoffMs : backoffMs;
      const longestMs = Math.min(LONGEST_BACKOFF_MS, firstMs * 2 ** (failures - 1));
      const share = isSilence ? Math.random() : 0.5 + 0.5 * Math.random();
      const delayMs = Math.round((error.retryAfterMs ?? 0) + longestMs * share);
      onRetry(failures, delayMs, error);
      await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}
