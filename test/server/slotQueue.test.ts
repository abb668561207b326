import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SlotQueue } from '../../server/content/slotQueue.ts';

describe('the queue for slots of the cache', () => {
  const wait = (queue: SlotQueue, chunkKey: number, log: string[], name: string): void =>
    queue.wait(chunkKey, isFree => void log.push(`${name} ${isFree ? 'free' : 'expired'}`));

  test('a download does not wait when no slot has been released lately', () => {
    const log: string[] = [];
    wait(new SlotQueue(), 1, log, 'a');
    assert.deepEqual(log, ['a expired']);
  });

  test('a released slot wakes all that wait for one chunk, the longest waiting first', () => {
    const queue = new SlotQueue();
    const log: string[] = [];
    queue.free();
    wait(queue, 1, log, 'a');
    wait(queue, 2, log, 'b');
    wait(queue, 1, log, 'c');
    assert.deepEqual(log, []);
    queue.free();
    assert.deepEqual(log, ['a free', 'c free']);
    queue.free();
    assert.deepEqual(log, ['a free', 'c free', 'b free']);
  });

  test('each wait expires in time', async () => {
    const queue = new SlotQueue();
    const log: string[] = [];
    queue.free();
    await new Promise<void>(resolve => {
      wait(queue, 1, log, 'a');
      queue.wait(2, isFree => {
        log.push(`b ${isFree ? 'free' : 'expired'}`);
        resolve();
      });
    });
    assert.deepEqual(log, ['a expired', 'b expired']);
  });
});
