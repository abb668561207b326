import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ask } from './client.ts';
import { makeTree, sha256, wasm } from './tree.ts';

const PROGRAM = fileURLToPath(new URL('./serveProgram.ts', import.meta.url));

interface Started {
  readonly child: ChildProcess;
  /** What has been printed so far. */
  readonly out: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
}

function start(t: TestContext, args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, 'serve', ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', part => {
    out.stdout += String(part);
  });
  child.stderr.on('data', part => {
    out.stderr += String(part);
  });
  t.after(() => child.kill('SIGKILL'));
  return { child, out, ended: once(child, 'close').then(([code]) => code as number | null) };
}

async function portOf({ child, out }: Started): Promise<number> {
  for (;;) {
    const port = /serving .* at http:\/\/\S+:(\d+)\//.exec(out.stderr)?.[1];
    if (port !== undefined) return Number(port);
    assert.equal(child.exitCode, null, out.stderr);
    await once(child.stderr ?? child, 'data');
  }
}

describe('the serve command', () => {
  const bytes = wasm(8_000_000);
  const plan = { name: 'a', version: '1.0.0', bytes };

  test('says where it serves, logs answers, and ends with 0 on SIGTERM after running downloads', async t => {
    const tree = await makeTree(t, [plan]);
    const server = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0'], { PLUGIN_MIRROR_DRAIN_DELAY: '0' });
    const port = await portOf(server);
    const response = await fetch(`http://127.0.0.1:${port}/plugins/a/1.0.0/plugin.wasm`);
    server.child.kill('SIGTERM');
    assert.equal(sha256(Buffer.from(await response.arrayBuffer())), sha256(bytes));
    assert.equal(await server.ended, 0);
    const [line = ''] = server.out.stdout.split('\n');
    assert.equal(JSON.parse(line).url, '/plugins/a/1.0.0/plugin.wasm');
  });

  test('a port that is taken ends it with a refusal', async t => {
    const tree = await makeTree(t, [plan]);
    const first = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0', '--access-log', 'off']);
    const port = await portOf(first);
    const second = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', String(port)]);
    assert.equal(await second.ended, 1);
    assert.match(second.out.stderr, /SERVER_PORT_TAKEN/);
    assert.equal((await ask(port, '/healthz')).status, 200);
    first.child.kill('SIGINT');
    assert.equal(await first.ended, 0);
  });

  test('--print-config shows flags, variables and defaults, and serves nothing', async t => {
    const shown = start(t, ['--print-config', '--url-pattern', '/w/${name}.wasm'], {
      PLUGIN_MIRROR_TREE: '/srv/tree',
      PLUGIN_MIRROR_PORT: 'tcp://10.0.0.1:80',
      PLUGIN_MIRROR_STALL_TIMEOUT: '5',
    });
    assert.equal(await shown.ended, 0, shown.out.stderr);
    const config = JSON.parse(shown.out.stdout);
    assert.equal(config.treeDir, '/srv/tree');
    assert.equal(config.port, 8080, 'what Kubernetes puts there for a Service is not a port');
    assert.equal(config.stallTimeoutMs, 5000);
    assert.deepEqual(config.urlPatterns, ['/w/${name}.wasm']);
    assert.equal(config.keepAliveTimeoutMs, 90_000);
  });

  test('options that cannot be are refused with 2', async t => {
    const wrong = [['--port', '99999'], ['--url-pattern', '/x'], ['--nope']];
    const codes = await Promise.all(wrong.map(args => start(t, [...args, '--print-config']).ended));
    assert.deepEqual(codes, [2, 2, 2]);
  });
});
