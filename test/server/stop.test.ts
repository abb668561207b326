import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { connect as connectSecurely } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { CertificateAuthority } from '../support/certificates.ts';
import { slow } from '../support/slow.ts';
import { serve } from './client.ts';
import { emptyFolder, sharedTree, wasm } from './tree.ts';

const bytes = Buffer.concat([wasm(6_000_000), Buffer.alloc(6_000_000)]);
const files = { 'plugin.wasm.gz': gzipSync(bytes) };
const TREE = await sharedTree([
  { name: 'a', version: '1.0.0', bytes, files },
  { name: 'b', version: '1.0.0', bytes: wasm(400_000) },
]);
const PAUSES_MS = [0, 1, 3, 8];

interface Got {
  readonly taken: number;
  readonly expected: number | undefined;
}

/** Reads one answer with a pause after each part, and closes the connection when it is whole. */
function readAtLeisure(socket: Socket, pauseMs: number): Promise<Got> {
  return new Promise(resolve => {
    let head = '';
    let taken = 0;
    let expected: number | undefined;
    socket.on('data', part => {
      if (expected === undefined) {
        head += part.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        expected = Number(/^content-length: (\d+)/im.exec(head)?.[1]);
        taken = head.length - end - 4;
      } else taken += part.length;
      if (taken === expected) socket.end();
      else if (pauseMs > 0) {
        socket.pause();
        setTimeout(() => socket.resume(), pauseMs);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve({ taken, expected }));
  });
}

describe('a stop cuts no answer', () => {
  const authority = new CertificateAuthority();
  for (const [name, isSecure, clients] of [
    ['over plain HTTP', false, 40],
    ['over TLS', true, 16],
  ] as const)
    test(`${name}, to readers of many speeds`, slow, async t => {
      const folder = await emptyFolder(t);
      const tls = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
      const { cert, key } = authority.issue();
      await writeFile(tls.certFile, cert);
      await writeFile(tls.keyFile, key);
      for (const stopAfterMs of [5, 60, 250]) {
        const server = await serve(t, TREE, isSecure ? { tls } : {});
        const to = { port: server.port, host: '127.0.0.1' };
        const begin = async (at: number): Promise<{ readonly got: Promise<Got> }> => {
          const socket = isSecure ? connectSecurely({ ...to, ca: authority.cert }) : connect(to);
          await once(socket, isSecure ? 'secureConnect' : 'connect');
          const coding = at % 2 === 0 ? '' : 'Accept-Encoding: gzip\r\n';
          const kind = at % 3 === 0 ? 'close' : 'keep-alive';
          const path = `/plugins/${at % 5 === 0 ? 'b' : 'a'}/1.0.0/plugin.wasm`;
          socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: ${kind}\r\n${coding}\r\n`);
          const got = readAtLeisure(socket, PAUSES_MS[at % PAUSES_MS.length] ?? 0);
          await once(socket, 'data');
          return { got };
        };
        const downloads = await Promise.all(Array.from({ length: clients }, (_, at) => begin(at)));
        await new Promise(resolve => setTimeout(resolve, stopAfterMs));
        const { cut } = await server.close({ graceMs: 60_000 });
        for (const { got } of downloads) {
          const { taken, expected } = await got;
          assert.equal(taken, expected);
        }
        assert.equal(cut, 0);
      }
    });

  test('the end of an answer that the kernel holds, on a connection without a request under way', async t => {
    const server = await serve(t, TREE);
    const socket = connect(server.port, '127.0.0.1').pause();
    await once(socket, 'connect');
    // As much as fits into the buffers, so that the answer has left the process.
    socket.write('GET /plugins/b/1.0.0/plugin.wasm HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'readable');
    const closing = server.close({ graceMs: 30_000 });
    await new Promise(resolve => setTimeout(resolve, 1300));
    const { taken, expected } = await readAtLeisure(socket.resume(), 0);
    assert.equal(taken, expected);
    assert.deepEqual(await closing, { cut: 0 });
  });

  test('connections that the server has not accepted when the stop begins', async t => {
    const server = await serve(t, TREE);
    const downloads = Array.from({ length: 60 }, () => {
      const socket = connect(server.port, '127.0.0.1');
      socket.write('GET /plugins/b/1.0.0/plugin.wasm HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      return { isConnected: once(socket, 'connect'), got: readAtLeisure(socket, 0) };
    });
    // The kernel completes a connection before the server accepts it.
    await Promise.all(downloads.map(({ isConnected }) => isConnected));
    const closing = server.close({ graceMs: 60_000 });
    for (const { got } of downloads) {
      const { taken, expected } = await got;
      assert.ok(expected !== undefined);
      assert.equal(taken, expected);
    }
    assert.deepEqual(await closing, { cut: 0 });
  });
});
