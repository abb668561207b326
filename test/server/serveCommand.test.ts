import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { ENTRY } from '../support/cli.ts';
import { ask } from './client.ts';
import { portOf, startServe as start } from './serveProcess.ts';
import { makeTree, sha256, wasm } from './tree.ts';

/** Those that run the command. proc_pid_stat(5): the fourth field is the parent. */
function workersOf(pid: number): number[] {
  const found = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number);
  return found.filter(candidate => {
    try {
      const text = readFileSync(`/proc/${candidate}/stat`, 'latin1');
      const isChild = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]) === pid;
      return isChild && readFileSync(`/proc/${candidate}/cmdline`, 'utf8').includes(ENTRY);
    } catch {
      return false;
    }
  });
}

describe('the serve command', { concurrency: 3 }, () => {
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

  test('workers share the port, the log and the figures; one that is lost is replaced; all of them drain', async t => {
    const tree = await makeTree(t, [plan]);
    const env = { PLUGIN_MIRROR_WORKERS: '2', PLUGIN_MIRROR_DRAIN_DELAY: '0', PLUGIN_MIRROR_MEMORY_CACHE: '2' };
    const server = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0'], env);
    const port = await portOf(server);
    const figures = async () => (await ask(port, '/metrics')).body.toString();
    assert.match(await figures(), /^plugin_mirror_workers 2$/m);
    for (let round = 0; round < 6; round++) await ask(port, '/plugins/a/1.0.0/plugin.wasm', { method: 'HEAD' });
    const text = await figures();
    assert.match(text, /requests_total\{plugin="a",version="1\.0\.0",coding="identity",status="200"\} 6/);
    assert.match(text, /^plugin_mirror_tree_versions 1$/m, 'one tree, however many look at it');
    const [lost] = workersOf(server.child.pid ?? 0);
    process.kill(lost ?? 0, 'SIGKILL');
    while (!/a worker ended \(SIGKILL\)/.test(server.out.stderr))
      await once(server.child.stderr ?? server.child, 'data');
    while (!/^plugin_mirror_workers 2$/m.test(await figures()));
    const bodies = await Promise.all(
      Array.from({ length: 4 }, () => fetch(`http://127.0.0.1:${port}/plugins/a/1.0.0/plugin.wasm`)),
    );
    for (const pid of workersOf(server.child.pid ?? 0)) process.kill(pid, 'SIGTERM'); // as Ctrl-C reaches all of them
    server.child.kill('SIGTERM');
    for (const body of bodies) assert.equal(sha256(Buffer.from(await body.arrayBuffer())), sha256(bytes));
    assert.equal(await server.ended, 0, server.out.stderr);
    const lines = server.out.stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line).url);
    assert.ok(lines.filter(url => url === '/plugins/a/1.0.0/plugin.wasm').length >= 4);
  });

  test('workers that cannot start say so once, and end the command', async t => {
    const tree = await makeTree(t, [plan]);
    const first = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0']);
    const port = await portOf(first);
    const second = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', String(port), '--workers', '3']);
    assert.equal(await second.ended, 1);
    assert.equal(second.out.stderr.match(/SERVER_PORT_TAKEN/g)?.length, 1, second.out.stderr);
  });

  test('secrets come from files and variables, and are shown nowhere', async t => {
    const tree = await makeTree(t, [plan]);
    const file = join(tree, 'token');
    await writeFile(file, 'from-a-file\n');
    const env = { PLUGIN_MIRROR_AUTH_USER: 'gate', PLUGIN_MIRROR_AUTH_PASSWORD: 'from-the-environment' };
    const args = ['--tree', tree, '--host', '127.0.0.1', '--port', '0', '--auth-token-file', file];
    const server = start(t, [...args, '--log-level', 'warn', '--print-config'], env);
    assert.equal(await server.ended, 0);
    assert.doesNotMatch(server.out.stdout, /from-/);
    assert.deepEqual(JSON.parse(server.out.stdout).asksFor, { token: true, user: 'gate' });
    const serving = start(t, [...args, '--access-log', 'errors'], env);
    const port = await portOf(serving);
    const status = async (line: string) => (await ask(port, '/index.json', { headers: [line] })).status;
    assert.equal(await status('Authorization: Bearer from-a-file'), 200);
    assert.equal(await status('Authorization: Bearer from-a-file\\n'), 401);
    assert.equal(await status(`Authorization: Basic ${btoa('gate:from-the-environment')}`), 200);
    serving.child.kill('SIGINT');
    assert.equal(await serving.ended, 0);
    const lines = serving.out.stdout.trimEnd().split('\n');
    assert.deepEqual(
      lines.map(line => JSON.parse(line).status),
      [401],
      'only what failed is logged',
    );
    assert.doesNotMatch(serving.out.stdout + serving.out.stderr, /from-/);
    const wrong = [
      { args: ['--auth-token-file', '/nowhere'] },
      { args: ['--auth-user', 'gate'] },
      { args: [], env: { PLUGIN_MIRROR_AUTH_PASSWORD: 'x' } },
      { args: ['--tls-cert', file] },
      { args: ['--workers', '0'] },
    ];
    const codes = await Promise.all(wrong.map(it => start(t, [...it.args, '--print-config'], it.env).ended));
    assert.deepEqual(codes, [2, 2, 2, 2, 2]);
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
