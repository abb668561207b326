import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Download, DownloadLimit } from '../../server/sending/downloadLimit.ts';

/** Downloads with names, and what has become of them. */
class Clients {
  readonly log: string[] = [];
  readonly #limit: DownloadLimit;

  constructor(limit: DownloadLimit) {
    this.#limit = limit;
  }

  enter(client: string | undefined, name: string, stalledMs = 0): Download {
    const download: Download = {
      client,
      stalledMs: () => stalledMs,
      cut: () => {
        this.log.push(`${name} cut`);
        this.#limit.leave(download);
      },
    };
    const entered = this.#limit.enter(download, isAdmitted => this.log.push(`${name} ${isAdmitted ? 'in' : 'out'}`));
    if (typeof entered === 'boolean') this.log.push(`${name} ${entered ? 'in' : 'out'}`);
    return download;
  }
}

describe('downloads are shared between clients', () => {
  test('a free place goes to a client below its quarter, each in turn, and only then to others', t => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    const limit = new DownloadLimit(4, 10, 60_000);
    const clients = new Clients(limit);
    const running = ['a1', 'a2', 'a3', 'a4'].map(name => clients.enter('a', name));
    for (const name of ['a5', 'a6', 'b1', 'b2', 'c1']) clients.enter(name.slice(0, 1), name);
    clients.log.length = 0;
    assert.equal(limit.waiting, 5);
    for (const download of running) limit.leave(download);
    assert.deepEqual(clients.log, ['b1 in', 'c1 in', 'a5 in', 'b2 in']);
    assert.deepEqual([limit.running, limit.waiting], [4, 1]);
  });

  test('stalled downloads above the quarter are cut for other clients that wait, and for no one else', t => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    const limit = new DownloadLimit(8, 10, 60_000);
    const clients = new Clients(limit);
    for (let at = 0; at < 7; at++) clients.enter('a', `a${at}`, at * 600);
    clients.enter('b', 'b0', 9000);
    clients.enter('a', 'a7');
    clients.log.length = 0;
    t.mock.timers.tick(5000);
    assert.deepEqual(clients.log, [], 'the one that waits has its quarter');
    for (const name of ['c0', 'c1']) clients.enter('c', name);
    t.mock.timers.tick(1000);
    assert.deepEqual(clients.log, ['a6 cut', 'c0 in', 'a5 cut', 'c1 in']);
    t.mock.timers.tick(10_000);
    assert.equal(clients.log.length, 4);
  });

  test('downloads that are not stalled, and those of shared addresses, are not cut', t => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    const clients = new Clients(new DownloadLimit(4, 10, 60_000));
    for (const name of ['a0', 'a1']) clients.enter('a', name, 999);
    for (const name of ['s0', 's1']) clients.enter(undefined, name, 60_000);
    clients.log.length = 0;
    clients.enter('b', 'b0');
    t.mock.timers.tick(30_000);
    assert.deepEqual(clients.log, []);
  });

  test('clients that occupy all slots together lose one each that is stalled long, for a client without any', t => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    const clients = new Clients(new DownloadLimit(8, 20, 60_000));
    for (const name of ['a0', 'b0', 'c0', 'd0']) clients.enter(name.slice(0, 1), name, 4999);
    for (const name of ['a1', 'b1', 'c1', 'd1']) clients.enter(name.slice(0, 1), name, 5000);
    for (const name of ['a2', 'b2', 'c2', 'd2', 'e0', 'e1', 'f0']) clients.enter(name.slice(0, 1), name);
    clients.log.length = 0;
    t.mock.timers.tick(1000);
    assert.deepEqual(clients.log, ['a1 cut', 'e0 in', 'b1 cut', 'f0 in']);
    t.mock.timers.tick(10_000);
    assert.equal(clients.log.length, 4, 'each client has one now');
  });

  test('a full queue refuses the last of the client that has most in it', t => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    const limit = new DownloadLimit(1, 3, 5000);
    const clients = new Clients(limit);
    for (const name of ['a0', 'a1', 'a2', 'a3']) clients.enter('a', name);
    clients.log.length = 0;
    for (const name of ['a4', 'b0', 'b1', 'c0']) clients.enter(name.slice(0, 1), name);
    assert.deepEqual(clients.log, ['a4 out', 'a3 out', 'b1 out', 'a2 out']);
    clients.log.length = 0;
    t.mock.timers.tick(5000);
    assert.deepEqual(clients.log.sort(), ['a1 out', 'b0 out', 'c0 out']);
    assert.deepEqual([limit.running, limit.waiting], [1, 0]);
  });
});
