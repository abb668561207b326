import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostLimit } from '../../registry/concurrency/hostLimit.ts';

const SIGNAL = new AbortController().signal;

test('a host that throttles gets fewer simultaneous requests, and more again when it answers', async () => {
  const limit = new HostLimit(8);
  const slots = await Promise.all(Array.from({ length: 8 }, () => limit.acquire(SIGNAL)));
  for (const slot of slots) slot.throttle(0);
  assert.equal(limit.limit, 4);
  for (const slot of slots) slot.release();
  for (const slot of slots) slot.release();
  const [late] = await Promise.all([limit.acquire(SIGNAL)]);
  late?.throttle(0);
  assert.equal(limit.limit, 1);
  late?.release();
  for (let turn = 0; turn < 100; turn += 1) {
    const slot = await limit.acquire(SIGNAL);
    slot.succeed();
    slot.release();
  }
  assert.equal(limit.limit, 8);
});

test('a limit admits requests in order, and forgets one that left the queue', async () => {
  const limit = new HostLimit(2);
  const first = await limit.acquire(SIGNAL);
  await limit.acquire(SIGNAL);
  const order: string[] = [];
  const controller = new AbortController();
  const gone = limit.acquire(controller.signal);
  const third = limit.acquire(SIGNAL).then(() => order.push('third'));
  const fourth = limit.acquire(SIGNAL).then(() => order.push('fourth'));
  controller.abort(new Error('enough'));
  await assert.rejects(gone, /enough/);
  assert.deepEqual(order, []);
  first.release();
  await third;
  assert.deepEqual(order, ['third']);
  void fourth;
});

test('a pause holds all requests back, and an abort during it leaves no timer', async () => {
  const limit = new HostLimit(4);
  const slot = await limit.acquire(SIGNAL);
  slot.throttle(3_600_000);
  slot.release();
  const controller = new AbortController();
  const waiting = limit.acquire(controller.signal);
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  const brief = new HostLimit(4);
  const other = await brief.acquire(SIGNAL);
  other.throttle(20);
  other.release();
  const before = performance.now();
  await brief.acquire(SIGNAL);
  assert.ok(performance.now() - before >= 15);
});
