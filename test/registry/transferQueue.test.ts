import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TransferQueue } from '../../registry/concurrency/transferQueue.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;
const settle = () => new Promise(resolve => setImmediate(resolve));

/** Queues transfers of these sizes, runs them one after the other, and returns the order. */
async function orderOf(limit: number, sizes: readonly number[]): Promise<number[]> {
  const queue = new TransferQueue(limit);
  const order: number[] = [];
  const running: (() => void)[] = [];
  const all = sizes.map(async size => {
    const release = await queue.acquire(size, never);
    order.push(size);
    running.push(release);
  });
  await settle();
  for (let ended = 0; ended < sizes.length; ended++) {
    running.shift()?.();
    await settle();
  }
  await Promise.all(all);
  return order;
}

describe('the queue of transfers', () => {
  it('runs no more transfers than its limit', async () => {
    const queue = new TransferQueue(3);
    let running = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const release = await queue.acquire(index * MIB, never);
        most = Math.max(most, ++running);
        await settle();
        running--;
        release();
        release();
      }),
    );
    assert.equal(most, 3);
  });

  it('starts the largest first', async () => {
    assert.deepEqual(await orderOf(1, [2 * MIB, 3 * MIB, 9 * MIB, 5 * MIB, 4 * MIB]), [
      2 * MIB,
      9 * MIB,
      5 * MIB,
      4 * MIB,
      3 * MIB,
    ]);
  });

  it('keeps slots for small ones', async () => {
    const order = await orderOf(2, [20 * MIB, 21 * MIB, 22 * MIB, 10, 23 * MIB, 24 * MIB]);
    assert.ok(order.indexOf(10) <= 2, String(order));
  });

  it('forgets an aborted caller', async () => {
    const queue = new TransferQueue(1);
    const release = await queue.acquire(1, never);
    const controller = new AbortController();
    const leaving = queue.acquire(9, controller.signal);
    const staying = queue.acquire(5, never);
    controller.abort(new Error('left'));
    await assert.rejects(leaving, /left/);
    release();
    (await staying)();
    (await queue.acquire(1, never))();
  });
});
