import assert from 'node:assert/strict';
import { get } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { unusedPort } from '../support/unusedPort.ts';
import { startServe } from './serveProcess.ts';
import { makeTree, wasm } from './tree.ts';

const PATHS = ['/plugins/a/1.0.0/plugin.wasm', '/flat/a.wasm'];

/**
 * Starts `plugin-mirror serve` several times. From the start on, gateways request a plugin of the tree every 2 ms, as those
 * of a cluster do that starts together with its mirror. Each answer must be the plugin, or a 503 after which they retry.
 */
export async function requestFromStart(t: TestContext, starts: number): Promise<void> {
  const tree = await makeTree(t, [{ name: 'a', version: '1.0.0', bytes: wasm(5000) }]);
  for (let start = 0; start < starts; start++) {
    const port = await unusedPort();
    const args = ['--tree', tree, '--host', '127.0.0.1', '--port', String(port), '--url-pattern', '/flat/${name}.wasm'];
    const server = startServe(t, [...args, '--access-log', 'off']);
    const requests: Promise<number | undefined>[] = [];
    let isServing = false;
    while (!isServing) {
      assert.equal(server.child.exitCode, null, server.out.stderr);
      const request = statusOf(port, PATHS[requests.length % PATHS.length] ?? '');
      requests.push(request);
      request.then(status => {
        isServing ||= status === 200;
      });
      await wait(2);
    }
    const statuses = new Set(await Promise.all(requests));
    statuses.delete(undefined);
    server.child.kill('SIGKILL');
    await server.ended;
    assert.deepEqual(
      [...statuses].filter(status => status !== 200 && status !== 503),
      [],
      `start ${start + 1}`,
    );
  }
}

/** Returns undefined while nothing listens. */
function statusOf(port: number, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get({ port, path, host: '127.0.0.1', agent: false }, response => {
      if (response.statusCode === 503) assert.match(response.headers['retry-after'] ?? '', /^\d+$/);
      response.resume().on('end', () => resolve(response.statusCode));
    }).on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    });
  });
}
