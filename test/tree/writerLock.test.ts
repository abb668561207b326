import assert from 'node:assert/strict';
import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { TreeLocked } from '../../tree/errors.ts';
import { openPublishingTree } from '../../tree/publish/openPublishingTree.ts';
import { times } from '../support/slow.ts';
import { code, publish, sample, temporary } from './fixture.ts';
import { startWriter } from './writerProcess.ts';

/** The record of a lock of this process, from which the tests forge others. */
async function record(dir: string): Promise<Record<string, unknown>> {
  const publishing = await openPublishingTree(dir);
  const text = await readFile(join(dir, '.lock'), 'utf8');
  await publishing.close();
  return JSON.parse(text);
}

async function forge(dir: string, text: string, ageMs: number): Promise<void> {
  await writeFile(join(dir, '.lock'), text);
  const time = new Date(Date.now() - ageMs);
  await utimes(join(dir, '.lock'), time, time);
}

async function opens(dir: string): Promise<void> {
  const publishing = await openPublishingTree(dir);
  await publishing.close();
  assert.deepEqual(await readdir(dir), []);
}

test('the second writer is refused with the pid, the host and the time of the first', async t => {
  const dir = await temporary(t);
  const writer = await startWriter(dir);
  try {
    assert.equal(writer.said, 'open');
    await assert.rejects(openPublishingTree(dir), error => {
      assert.ok(error instanceof TreeLocked);
      assert.match(error.message, new RegExp(`process ${writer.pid} on .+ since \\d{4}-\\d\\d-\\d\\dT`));
      return true;
    });
    assert.equal((await startWriter(dir)).said, 'TREE_LOCKED');
  } finally {
    // Hooks run in the order of their registration: this one before the folder is removed.
    await writer.kill();
  }
});

test('a second writer in the same process is refused as well', async t => {
  const dir = await temporary(t);
  const publishing = await openPublishingTree(dir);
  await assert.rejects(openPublishingTree(dir), code('TREE_LOCKED'));
  await publishing.close();
  await opens(dir);
});

test('a waiting writer is notified once and continues when the first is done', async t => {
  const dir = await temporary(t);
  const writer = await startWriter(dir);
  const notified: (number | undefined)[] = [];
  const publishing = await openPublishingTree(dir, {
    waitMs: 30_000,
    onWait: holder => {
      notified.push(holder.pid);
      void writer.finish();
    },
  });
  await publishing.close();
  assert.deepEqual(notified, [writer.pid]);
});

test('a wait can be aborted', async t => {
  const dir = await temporary(t);
  const first = await openPublishingTree(dir);
  const controller = new AbortController();
  const onWait = (): void => controller.abort(new Error('enough'));
  await assert.rejects(openPublishingTree(dir, { waitMs: 60_000, onWait, signal: controller.signal }), /enough/);
  await first.close();
  await opens(dir);
});

test('the lock of a killed process is taken over immediately, that of a stopped one is not', async t => {
  const dir = await temporary(t);
  const writer = await startWriter(dir);
  writer.process.kill('SIGSTOP');
  await assert.rejects(openPublishingTree(dir), code('TREE_LOCKED'));
  await writer.kill();
  await (await openPublishingTree(dir)).close();
});

test('a stale lock is distinguished from a held one', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, async t => {
  const dir = await temporary(t);
  const own = await record(dir);
  const text = (change: Record<string, unknown>): string => JSON.stringify({ ...own, ...change });
  const fresh = 1000;
  const old = 61_000;
  // Another process has this number now: its start time differs.
  await forge(dir, text({ startTime: '1' }), fresh);
  await opens(dir);
  await forge(dir, text({ pid: 4_194_304 + 1 }), fresh);
  await opens(dir);
  for (const other of [{ host: 'elsewhere' }, { pidNamespace: 'pid:[1]' }, { bootId: 'another' }]) {
    await forge(dir, text(other), fresh);
    await assert.rejects(openPublishingTree(dir), code('TREE_LOCKED'), JSON.stringify(other));
    await forge(dir, text(other), old);
    await opens(dir);
  }
  for (const garbage of ['', '{', '{"pid":"1"}', '<<<<<<<']) {
    await forge(dir, garbage, fresh);
    await assert.rejects(openPublishingTree(dir), code('TREE_LOCKED'), garbage);
    await forge(dir, garbage, old);
    await opens(dir);
  }
  // This process holds it: a live process of this machine keeps its lock, however old the file is.
  await forge(dir, text({}), old);
  await assert.rejects(openPublishingTree(dir), code('TREE_LOCKED'));
});

test('of many writers that find a stale lock at the same time exactly one gets it', async t => {
  const dir = await temporary(t);
  const own = await record(dir);
  for (let round = 0; round < times(9, 30); round++) {
    const stale = { ...own, token: crypto.randomUUID(), pid: 4_194_304 + 1 };
    await forge(dir, JSON.stringify(stale), 0);
    // In every third round a process died while it took the lock over, and left its right to it.
    const heir = { ...stale, token: crypto.randomUUID() };
    if (round % 3 === 0) await writeFile(join(dir, `.lock.${stale.token}`), JSON.stringify(heir));
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => openPublishingTree(dir)));
    const winners = outcomes.filter(outcome => outcome.status === 'fulfilled');
    for (const outcome of outcomes) if (outcome.status === 'rejected') code('TREE_LOCKED')(outcome.reason);
    assert.equal(winners.length, 1);
    await assert.rejects(openPublishingTree(dir), code('TREE_LOCKED'));
    for (const winner of winners) await winner.value.close();
    assert.deepEqual(await readdir(dir), []);
  }
});

test('of many processes that find a stale lock at the same time exactly one gets it', async t => {
  const dir = await temporary(t);
  const own = await record(dir);
  for (let round = 0; round < times(1, 2); round++) {
    await forge(dir, JSON.stringify({ ...own, token: crypto.randomUUID(), pid: 4_194_304 + 1 }), 0);
    const writers = await Promise.all(Array.from({ length: 4 }, () => startWriter(dir)));
    assert.deepEqual(writers.map(writer => writer.said).sort(), [...Array(3).fill('TREE_LOCKED'), 'open']);
    for (const writer of writers) if (writer.said === 'open') await writer.finish();
  }
});

test('a writer that lost its lock publishes nothing more and keeps the new lock in place', async t => {
  const dir = await temporary(t);
  const first = await openPublishingTree(dir);
  await rm(join(dir, '.lock'));
  const second = await openPublishingTree(dir);
  await assert.rejects(publish(first, sample('p', '1.0.0')), code('TREE_LOCK_LOST'));
  await assert.rejects(first.writeCatalog([]), code('TREE_LOCK_LOST'));
  await first.close();
  await assert.rejects(openPublishingTree(dir), code('TREE_LOCKED'));
  await publish(second, sample('p', '1.0.0'));
  await second.close();
});
