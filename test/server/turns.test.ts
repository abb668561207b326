import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as loopTurn } from 'node:timers/promises';
import { SlotQueue } from '../../server/content/slotQueue.ts';
import { type Sender, Turns } from '../../server/sending/fairScheduler.ts';

describe('turns', () => {
  const senderOf = (pieceKey: number, sent: number[]): Sender => ({ pieceKey, send: () => void sent.push(pieceKey) });

  test('those at the same piece go one after the other, and nobody is passed over', async () => {
    const turns = new Turns();
    const sent: number[] = [];
    for (const piece of [7, 3, 7, 3, 5]) turns.add(senderOf(piece, sent));
    while (sent.length < 5) await loopTurn();
    assert.deepEqual(sent, [3, 3, 5, 7, 7]);
  });

  test('while connections are coming, the event loop has its turn after each piece', async () => {
    const turns = new Turns();
    const sent: number[] = [];
    for (let piece = 0; piece < 4; piece++) turns.add(senderOf(piece, sent));
    const perTurn: number[] = [];
    for (let before = 0; before < 4; before = sent.length) {
      turns.welcome();
      await loopTurn();
      perTurn.push(sent.length - before);
    }
    assert.ok(perTurn.length >= 3, `so many in each turn: ${perTurn}`);
    assert.ok(Math.max(...perTurn) <= 2);
  });
});

describe('the queue for slots', () => {
  const told = (queue: SlotQueue, pieceKey: number, log: string[], name: string): void =>
    queue.wait(pieceKey, isFree => void log.push(`${name} ${isFree ? 'free' : 'go'}`));

  test('nobody waits where nobody lets go of anything', () => {
    const log: string[] = [];
    told(new SlotQueue(), 1, log, 'a');
    assert.deepEqual(log, ['a go']);
  });

  test('a slot wakes all that wait for one piece, the longest waiting first', () => {
    const queue = new SlotQueue();
    const log: string[] = [];
    queue.free();
    told(queue, 1, log, 'a');
    told(queue, 2, log, 'b');
    told(queue, 1, log, 'c');
    assert.deepEqual(log, []);
    queue.free();
    assert.deepEqual(log, ['a free', 'c free']);
    queue.free();
    assert.deepEqual(log, ['a free', 'c free', 'b free']);
  });

  test('who has waited too long is sent away, each in time', async () => {
    const queue = new SlotQueue();
    const log: string[] = [];
    queue.free();
    await new Promise<void>(resolve => {
      told(queue, 1, log, 'a');
      queue.wait(2, isFree => {
        log.push(`b ${isFree ? 'free' : 'go'}`);
        resolve();
      });
    });
    assert.deepEqual(log, ['a go', 'b go']);
  });
});
