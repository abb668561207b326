import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { describe, test } from 'node:test';
import { setImmediate as loopTurn } from 'node:timers/promises';
import { FairScheduler, type Sender } from '../../server/sending/fairScheduler.ts';

describe('the fair scheduler', () => {
  const senderOf = (chunkKey: number, sent: number[]): Sender => ({ chunkKey, send: () => void sent.push(chunkKey) });

  test('senders of one chunk send one after the other, and no sender is passed over', async () => {
    const scheduler = new FairScheduler();
    const sent: number[] = [];
    for (const chunk of [7, 3, 7, 3, 5]) scheduler.add(senderOf(chunk, sent));
    while (sent.length < 5) await loopTurn();
    assert.deepEqual(sent, [3, 3, 5, 7, 7]);
  });

  test('while connections arrive, the event loop gets its turn after each chunk', async () => {
    const scheduler = new FairScheduler();
    const sent: number[] = [];
    for (let chunk = 0; chunk < 4; chunk++) scheduler.add(senderOf(chunk, sent));
    const perTurn: number[] = [];
    for (let before = 0; before < 4; before = sent.length) {
      scheduler.connectionArrived();
      await loopTurn();
      perTurn.push(sent.length - before);
    }
    assert.ok(perTurn.length >= 3, `sent in each turn: ${perTurn}`);
    assert.ok(Math.max(...perTurn) <= 2);
  });

  test('each turn of the event loop runs one action, in their order', async () => {
    const scheduler = new FairScheduler();
    const ran: string[] = [];
    for (const name of ['a', 'b', 'c']) scheduler.addAction(() => ran.push(name));
    const perTurn: number[] = [];
    for (let before = 0; before < 3; before = ran.length) {
      await loopTurn();
      perTurn.push(ran.length - before);
    }
    assert.deepEqual(ran, ['a', 'b', 'c']);
    assert.ok(Math.max(...perTurn) <= 2, `actions in each turn: ${perTurn}`);
  });

  test('while connections arrive, actions take at most a fifth of the time, and no chunk waits for two of them', async () => {
    const scheduler = new FairScheduler();
    const done: number[] = [];
    const startedAtMs: number[] = [];
    for (let key = 0; key < 4; key++) scheduler.add(senderOf(key, done));
    for (let key = 10; key < 14; key++)
      scheduler.addAction(() => {
        startedAtMs.push(performance.now());
        while (performance.now() - (startedAtMs.at(-1) ?? 0) < 3);
        done.push(key);
      });
    while (done.length < 8) {
      scheduler.connectionArrived();
      await loopTurn();
    }
    assert.deepEqual(
      done.filter(key => key >= 10),
      [10, 11, 12, 13],
    );
    for (const [at, key] of done.entries())
      assert.ok(key < 10 || (done[at + 1] ?? 10) < 10 || done.slice(at).every(later => later >= 10), String(done));
    for (const [at, startMs] of startedAtMs.entries())
      assert.ok(at === 0 || startMs - (startedAtMs[at - 1] ?? 0) >= 15);
  });
});
