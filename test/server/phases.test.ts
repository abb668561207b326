import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { ask, sendRaw, serve, until } from './client.ts';
import { sharedTree, wasm } from './tree.ts';

const PLAN = [
  { name: 'big', version: '1.0.0', bytes: wasm(30_000_000) },
  { name: 'small', version: '1.0.0', bytes: wasm(2000) },
];
const TREE = await sharedTree(PLAN);
const BIG = '/plugins/big/1.0.0/plugin.wasm';
const SMALL = '/plugins/small/1.0.0/plugin.wasm';

describe('each phase of a connection has its own timeout', { concurrency: true }, () => {
  const limits = { stallTimeoutMs: 200, headersTimeoutMs: 1500, keepAliveTimeoutMs: 1400 };
  const phases: readonly (readonly [string, string, RegExp])[] = [
    ['no byte of a header', '', /^HTTP\/1\.1 408 /],
    ['half a header', `GET ${SMALL} HTTP/1.1\r\nHost: a\r\n`, /^HTTP\/1\.1 408 /],
    [
      'half a second header',
      `GET ${SMALL} HTTP/1.1\r\nHost: a\r\n\r\nGET ${SMALL} HTTP/1.1\r\nHo`,
      /^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 408 /,
    ],
  ];
  for (const [what, sent, answer] of phases)
    test(`${what} gets 408 after the headers' timeout, whatever the stall timeout is`, async t => {
      const { port } = await serve(t, TREE, { ...limits, keepAliveTimeoutMs: 100 });
      const got = (await sendRaw(port, sent)).toString('latin1');
      assert.match(got, answer);
    });

  test('an idle connection is closed silently after its own timeout, whatever the stall timeout is', async t => {
    const { port } = await serve(t, TREE, limits);
    const socket = connect(port, '127.0.0.1');
    let got = '';
    socket.on('data', part => {
      got += part.toString('latin1');
    });
    const count = (): number => got.split('HTTP/1.1 200').length - 1;
    for (let answers = 1; answers <= 2; answers++) {
      socket.write(`HEAD ${SMALL} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await until('answered', async () => count() === answers);
      // Longer than a body may stall, shorter than a connection is kept.
      await new Promise(resolve => setTimeout(resolve, 600));
    }
    await once(socket, 'close');
    assert.equal(count(), 2);
    assert.doesNotMatch(got, / 408 /);
  });

  test('a download that waits in the queue is not cut by the stall timeout', async t => {
    const { port } = await serve(t, TREE, {
      stallTimeoutMs: 500,
      maxDownloads: 1,
      maxDownloadWaitMs: 1200,
    });
    const running = connect(port, '127.0.0.1');
    t.after(() => running.destroy());
    running.write(`GET ${BIG} HTTP/1.1\r\nHost: a\r\n\r\n`);
    // Little by little, so that it goes on for as long as this takes.
    await once(running, 'readable');
    const timer = setInterval(() => running.read(200_000), 20);
    t.after(() => clearInterval(timer));
    assert.equal((await ask(port, BIG)).status, 503);
  });
});
