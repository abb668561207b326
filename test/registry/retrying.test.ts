import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RegistryProtocol, type RegistryRefusal, RegistryTimeout, RegistryUnavailable } from '../../registry/errors.ts';
import { retrying } from '../../registry/fallback/retrying.ts';

const SIGNAL = new AbortController().signal;

test('waits grow, are random, and respect Retry-After', async () => {
  const delays: number[] = [];
  const fail = (retryAfterMs?: number): Promise<never> =>
    Promise.reject(
      new RegistryUnavailable('x', { hint: '', temporary: true, ...(retryAfterMs ? { retryAfterMs } : {}) }),
    );
  const policy = { retries: 4, backoffMs: 1, onRetry: (_: number, delayMs: number) => void delays.push(delayMs) };
  await assert.rejects(
    retrying(() => fail(), policy, SIGNAL),
    RegistryUnavailable,
  );
  assert.equal(delays.length, 4);
  assert.ok(delays.every((delayMs, index) => delayMs <= 2 ** index));
  delays.length = 0;
  await assert.rejects(
    retrying(() => fail(5), { ...policy, retries: 1 }, SIGNAL),
    RegistryUnavailable,
  );
  assert.ok(delays.every(delayMs => delayMs >= 5));
});

test('an error with a retry limit is retried up to it, whatever failed before', async () => {
  const broken = new RegistryUnavailable('x', { hint: '', temporary: true });
  const odd = new RegistryProtocol('y', { hint: '', temporary: true, retryLimit: 1 });
  const play = async (...faults: readonly RegistryRefusal[]): Promise<unknown> => {
    const left = [...faults];
    const retries: number[] = [];
    const policy = { retries: 4, backoffMs: 1, onRetry: (attempt: number) => void retries.push(attempt) };
    const attempt = async (): Promise<string> => {
      const fault = left.shift();
      if (fault !== undefined) throw fault;
      return 'there';
    };
    return [await retrying(attempt, policy, SIGNAL).catch((error: RegistryRefusal) => error.code), retries];
  };
  assert.deepEqual(await play(broken, broken, odd), ['there', [1, 2, 3]]);
  assert.deepEqual(await play(odd, broken, odd), ['REGISTRY_PROTOCOL', [1, 2]]);
  assert.deepEqual(await play(broken, odd, broken, broken, broken), ['REGISTRY_UNAVAILABLE', [1, 2, 3, 4]]);
});

test('requests that timed out together are retried over a longer time', async context => {
  const delaysAt = async (random: number, fault: RegistryRefusal): Promise<number[]> => {
    context.mock.method(Math, 'random', () => random);
    const delays: number[] = [];
    const onRetry = (_attempt: number, delayMs: number): void => void delays.push(delayMs);
    const failing = (): Promise<never> => Promise.reject(fault);
    await assert.rejects(retrying(failing, { retries: 2, backoffMs: 4, onRetry }, SIGNAL));
    context.mock.restoreAll();
    return delays;
  };
  const details = { temporary: true, hint: 'wait' };
  assert.deepEqual(await delaysAt(0, new RegistryTimeout('silence', details)), [0, 0]);
  assert.deepEqual(await delaysAt(1, new RegistryTimeout('silence', details)), [16, 32]);
  assert.deepEqual(await delaysAt(0, new RegistryUnavailable('503', details)), [2, 4]);
});
