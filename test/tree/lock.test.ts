import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { TreeLocked } from '../../tree/errors.ts';
import { openPublishing } from '../../tree/publish/openPublisher.ts';
import { compileWriter, startWriter } from './compiledWriter.ts';
import { code, publish, sample, temporary } from './fixture.ts';

let script = '';
let scriptDir = '';

before(async () => {
  scriptDir = await mkdtemp(join(tmpdir(), 'plugin-mirror-writer-'));
  script = await compileWriter(scriptDir);
});
after(() => rm(scriptDir, { recursive: true, force: true }));

/** What a lock of this process looks like, as a value to be forged from. */
async function record(dir: string): Promise<Record<string, unknown>> {
  const publishing = await openPublishing(dir);
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
  const publishing = await openPublishing(dir);
  await publishing.close();
  assert.deepEqual(await readdir(dir), []);
}

test('the second writer is refused with the pid, the host and the time of the first', async t => {
  const dir = await temporary(t);
  const writer = await startWriter(script, dir);
  try {
    assert.equal(writer.said, 'open');
    await assert.rejects(openPublishing(dir), error => {
      assert.ok(error instanceof TreeLocked);
      assert.match(error.message, new RegExp(`process ${writer.pid} on .+ since \\d{4}-\\d\\d-\\d\\dT`));
      return true;
    });
    assert.equal((await startWriter(script, dir)).said, 'TREE_LOCKED');
  } finally {
    // Before its folder is removed: hooks run in the order they were made.
    await writer.kill();
  }
});

test('a writer in the same process is refused just so', async t => {
  const dir = await temporary(t);
  const publishing = await openPublishing(dir);
  await assert.rejects(openPublishing(dir), code('TREE_LOCKED'));
  await publishing.close();
  await opens(dir);
});

test('who waits is told of it once and goes on when the first is done', async t => {
  const dir = await temporary(t);
  const writer = await startWriter(script, dir);
  const told: (number | undefined)[] = [];
  const publishing = await openPublishing(dir, {
    waitMs: 30_000,
    onWait: holder => {
      told.push(holder.pid);
      void writer.finish();
    },
  });
  await publishing.close();
  assert.deepEqual(told, [writer.pid]);
});

test('a wait can be aborted', async t => {
  const dir = await temporary(t);
  const first = await openPublishing(dir);
  const controller = new AbortController();
  const onWait = (): void => controller.abort(new Error('enough'));
  await assert.rejects(openPublishing(dir, { waitMs: 60_000, onWait, signal: controller.signal }), /enough/);
  await first.close();
  await opens(dir);
});

test('the lock of a killed process is taken over at once, that of a stopped one is not', async t => {
  const dir = await temporary(t);
  const writer = await startWriter(script, dir);
  writer.process.kill('SIGSTOP');
  await assert.rejects(openPublishing(dir), code('TREE_LOCKED'));
  await writer.kill();
  await (await openPublishing(dir)).close();
});

test('a stale lock is told from a held one', { skip: process.platform !== 'linux' && 'needs /proc' }, async t => {
  const dir = await temporary(t);
  const own = await record(dir);
  const text = (change: Record<string, unknown>): string => JSON.stringify({ ...own, ...change });
  const fresh = 1000;
  const old = 61_000;
  // A process that has this number now, but began at another time.
  await forge(dir, text({ startTime: '1' }), fresh);
  await opens(dir);
  await forge(dir, text({ pid: 4_194_304 + 1 }), fresh);
  await opens(dir);
  for (const other of [{ host: 'elsewhere' }, { pidNamespace: 'pid:[1]' }, { bootId: 'another' }]) {
    await forge(dir, text(other), fresh);
    await assert.rejects(openPublishing(dir), code('TREE_LOCKED'), JSON.stringify(other));
    await forge(dir, text(other), old);
    await opens(dir);
  }
  for (const garbage of ['', '{', '{"pid":"1"}', '<<<<<<<']) {
    await forge(dir, garbage, fresh);
    await assert.rejects(openPublishing(dir), code('TREE_LOCKED'), garbage);
    await forge(dir, garbage, old);
    await opens(dir);
  }
  // This very process holds it: however old the file, a live process of this machine is believed.
  await forge(dir, text({}), old);
  await assert.rejects(openPublishing(dir), code('TREE_LOCKED'));
});

test('of many who find a stale lock at once exactly one gets it', async t => {
  const dir = await temporary(t);
  const own = await record(dir);
  for (let round = 0; round < 30; round++) {
    const stale = { ...own, token: crypto.randomUUID(), pid: 4_194_304 + 1 };
    await forge(dir, JSON.stringify(stale), 0);
    // In every third round somebody died while taking it over, and left the right to it behind.
    const heir = { ...stale, token: crypto.randomUUID() };
    if (round % 3 === 0) await writeFile(join(dir, `.lock.${stale.token}`), JSON.stringify(heir));
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => openPublishing(dir)));
    const winners = outcomes.filter(outcome => outcome.status === 'fulfilled');
    for (const outcome of outcomes) if (outcome.status === 'rejected') code('TREE_LOCKED')(outcome.reason);
    assert.equal(winners.length, 1);
    await assert.rejects(openPublishing(dir), code('TREE_LOCKED'));
    for (const winner of winners) await winner.value.close();
    assert.deepEqual(await readdir(dir), []);
  }
});

test('of many processes that find a stale lock at once exactly one gets it', async t => {
  const dir = await temporary(t);
  const own = await record(dir);
  for (let round = 0; round < 2; round++) {
    await forge(dir, JSON.stringify({ ...own, token: crypto.randomUUID(), pid: 4_194_304 + 1 }), 0);
    const writers = await Promise.all(Array.from({ length: 4 }, () => startWriter(script, dir)));
    assert.deepEqual(writers.map(writer => writer.said).sort(), [...Array(3).fill('TREE_LOCKED'), 'open']);
    for (const writer of writers) if (writer.said === 'open') await writer.finish();
  }
});

test('a writer whose lock was taken away publishes nothing more, and leaves the new lock alone', async t => {
  const dir = await temporary(t);
  const first = await openPublishing(dir);
  await rm(join(dir, '.lock'));
  const second = await openPublishing(dir);
  await assert.rejects(publish(first, sample('p', '1.0.0')), code('TREE_LOCK_LOST'));
  await assert.rejects(first.writeCatalog([]), code('TREE_LOCK_LOST'));
  await first.close();
  await assert.rejects(openPublishing(dir), code('TREE_LOCKED'));
  await publish(second, sample('p', '1.0.0'));
  await second.close();
});
