import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { exitCodeOf } from '../../cli/exit.ts';
import { buildProgram } from '../../cli/program.ts';
import { ask } from './client.ts';
import { portOf, type Started, startServe as start } from './serveProcess.ts';
import { emptyFolder, makeTree, sha256, wasm } from './tree.ts';

describe('the serve command', { concurrency: 3 }, () => {
  const bytes = wasm(8_000_000);
  const plan = { name: 'a', version: '1.0.0', bytes };

  test('reports its address, logs answers, and exits with 0 on SIGTERM after running downloads', async t => {
    const tree = await makeTree(t, [plan]);
    const server = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0'], { PLUGIN_MIRROR_DRAIN_DELAY: '0' });
    const port = await portOf(server);
    assert.equal((await ask(port, '/healthz')).status, 200);
    const response = await fetch(`http://127.0.0.1:${port}/plugins/a/1.0.0/plugin.wasm`);
    server.child.kill('SIGTERM');
    assert.equal(sha256(Buffer.from(await response.arrayBuffer())), sha256(bytes));
    assert.equal(await server.ended, 0);
    const [line = ''] = server.out.stdout.split('\n');
    assert.equal(JSON.parse(line).url, '/plugins/a/1.0.0/plugin.wasm', 'the health check before it is not logged');
    const messages = logOf(server);
    assert.ok(messages.every(({ level }) => level === 'info'));
    assert.match(messages.map(({ message }) => message).join('\n'), /^tree .*\nserving .*\nSIGTERM: /);
  });

  test('SIGHUP and SIGUSR1 while the code is still loading end nothing and open no debugger', {
    skip: !existsSync('/proc/self/status'),
  }, async t => {
    const server = start(t, ['--tree', await makeTree(t, [plan]), '--port', '0', '--drain-delay', '0']);
    // proc(5): SigCgt has a bit for each signal that the process handles; the first is that of SIGHUP.
    const handlesHangUp = async () =>
      /^SigCgt:\t[0-9a-f]+[13579bdf]$/m.test(await readFile(`/proc/${server.child.pid}/status`, 'utf8'));
    while (!(await handlesHangUp())) await setTimeout(2);
    assert.equal(server.out.stderr, '');
    server.child.kill('SIGHUP');
    server.child.kill('SIGUSR1');
    assert.equal((await ask(await portOf(server), '/healthz')).status, 200);
    server.child.kill('SIGTERM');
    assert.equal(await server.ended, 0);
    assert.doesNotMatch(server.out.stderr, /Debugger/);
  });

  test('SIGHUP reads the secrets again and cuts nothing; a grace that runs out is exit code 1', async t => {
    const tree = await makeTree(t, [plan]);
    const file = join(await emptyFolder(t), 'token');
    await writeFile(file, '\ufeffold\r\n');
    const options = ['--port', '0', '--drain-delay', '0', '--grace', '0.1', '--auth-token-file', file];
    const server = start(t, ['--tree', tree, ...options]);
    const port = await portOf(server);
    const get = (token: string) =>
      fetch(`http://127.0.0.1:${port}/plugins/a/1.0.0/plugin.wasm`, { headers: { authorization: `Bearer ${token}` } });
    const running = await get('old');
    assert.equal(running.status, 200);
    await writeFile(file, 'new\n');
    server.child.kill('SIGHUP');
    server.child.kill('SIGUSR1');
    while (!server.out.stderr.includes('the new token')) await once(server.child.stderr ?? server.child, 'data');
    assert.equal(sha256(Buffer.from(await running.arrayBuffer())), sha256(bytes));
    assert.equal((await get('old')).status, 401);
    const stuck = connect(port, '127.0.0.1').pause();
    t.after(() => stuck.destroy());
    stuck.on('error', () => {});
    stuck.write('GET /plugins/a/1.0.0/plugin.wasm HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer new\r\n\r\n');
    await once(stuck, 'readable');
    server.child.kill('SIGTERM');
    assert.equal(await server.ended, 1);
    assert.match(server.out.stderr, /SIGHUP: /);
    assert.match(server.out.stderr, /[12] connections? (?:was|were) cut when the grace of 0\.1 s ended/);
  });

  test('a second SIGTERM cuts nothing, and neither does one after SIGINT; a SIGINT after that ends it', async t => {
    const tree = await makeTree(t, [plan]);
    const begin = async () => {
      const server = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0', '--drain-delay', '0']);
      const answer = await fetch(`http://127.0.0.1:${await portOf(server)}/plugins/a/1.0.0/plugin.wasm`);
      const hasLogged = async (text: string) => {
        while (!server.out.stderr.includes(text)) await once(server.child.stderr ?? server.child, 'data');
      };
      return { server, answer, hasLogged };
    };
    for (const first of ['SIGTERM', 'SIGINT'] as const) {
      const { server, answer, hasLogged } = await begin();
      server.child.kill(first);
      await hasLogged(`${first}: running downloads`);
      for (let times = 0; times < 3; times++) server.child.kill('SIGTERM');
      await hasLogged('SIGTERM: the server is stopping');
      assert.equal(sha256(Buffer.from(await answer.arrayBuffer())), sha256(bytes), first);
      assert.equal(await server.ended, 0);
    }
    const { server, answer, hasLogged } = await begin();
    server.child.kill('SIGTERM');
    await hasLogged('SIGTERM: running downloads');
    server.child.kill('SIGINT');
    assert.equal(await server.ended, 130);
    assert.match(server.out.stderr, /SIGINT: the server ends immediately, and running downloads are cut/);
    await assert.rejects(answer.arrayBuffer());
  });

  test('a misspelled --tree is reported immediately, with text for people and a reason at /readyz', async t => {
    const args = ['--tree', join(await emptyFolder(t), 'typo'), '--host', '127.0.0.1', '--port', '0'];
    const server = start(t, [...args, '--log-format', 'text', '--drain-delay', '0']);
    const port = await portOf(server);
    assert.match(
      server.out.stderr,
      /^plugin-mirror: the folder .+\/typo does not exist; requests get 503 until .*misspelled/,
    );
    const ready = await ask(port, '/readyz');
    assert.equal(ready.status, 503);
    assert.match(ready.body.toString(), /^No plugin tree has been loaded: the folder .+\/typo does not exist\.\n$/);
    server.child.kill('SIGTERM');
    assert.equal(await server.ended, 0);
    const [line = ''] = server.out.stdout.split('\n');
    assert.equal(JSON.parse(line).url, '/readyz', 'failed health checks are logged');
  });

  test('a port that is taken ends it with a refusal, in JSON outside a terminal', async t => {
    const tree = await makeTree(t, [plan]);
    const first = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', '0', '--access-log', 'off']);
    const port = await portOf(first);
    const second = start(t, ['--tree', tree, '--host', '127.0.0.1', '--port', String(port)]);
    assert.equal(await second.ended, 1);
    const [refusal, ...more] = logOf(second);
    assert.deepEqual(more, []);
    assert.equal(refusal?.code, 'SERVER_PORT_TAKEN');
    assert.match(refusal?.hint ?? '', /--port/);
    assert.equal((await ask(port, '/healthz')).status, 200);
    first.child.kill('SIGINT');
    assert.equal(await first.ended, 0);
  });

  test('secrets are read from files and variables and never printed', async t => {
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
      'only failed answers are logged',
    );
    assert.doesNotMatch(serving.out.stdout + serving.out.stderr, /from-/);
    const withoutUser = start(t, ['--print-config'], { PLUGIN_MIRROR_AUTH_PASSWORD: 'x' });
    assert.equal(await withoutUser.ended, 2);
    for (const args of [
      ['--auth-token-file', '/nowhere'],
      ['--auth-token-file', '/dev/null'],
      ['--auth-user', 'gate'],
      ['--tls-cert', file],
      ['--tls-client-ca', file],
    ])
      assert.equal((await runHere(args)).code, 2, args.join(' '));
  });

  test('--print-config prints flags, variables and defaults and exits', async t => {
    const shown = start(t, ['--print-config', '--url-pattern', '/w/${name}.wasm'], {
      PLUGIN_MIRROR_TREE: '/srv/tree',
      PLUGIN_MIRROR_PORT: 'tcp://10.0.0.1:80',
      PLUGIN_MIRROR_STALL_TIMEOUT: '5',
    });
    assert.equal(await shown.ended, 0, shown.out.stderr);
    const config = JSON.parse(shown.out.stdout);
    assert.equal(config.treeDir, '/srv/tree');
    assert.equal(config.port, 8080, 'the variable that Kubernetes sets for a Service is not a port');
    assert.equal(config.stallTimeoutMs, 5000);
    assert.deepEqual(config.urlPatterns, ['/w/${name}.wasm']);
    assert.equal(config.graceMs, 25_000);
    assert.equal(config.maxBodies, 1536);
  });

  test('invalid values and removed options are refused with 2; the variable of a removed option is a warning', async t => {
    for (const args of [
      ['--port', '70000'],
      ['--port', '1.5'],
      ['--port', 'NaN'],
      ['--max-downloads', '0'],
      ['--stall-timeout', '0'],
      ['--url-pattern', '/x'],
      ['--nope'],
      ['--workers', '2'],
    ])
      assert.equal((await runHere(args)).code, 2, args.join(' '));
    assert.match((await runHere(['--workers=2'])).stderr, /^error: removed: --workers\. Run several replicas/);
    const ignored = await runHere(['--poll-interval', '0.2', '--max-queue=7']);
    assert.equal(ignored.code, 0, 'what is a constant now changes nothing');
    const refused = start(t, ['--workers', '2']);
    assert.equal(await refused.ended, 2);
    assert.match(refused.out.stderr, /^error: removed: --workers\. Run several replicas/);
    const line = ['--print-config', '--log-format', 'text', '--poll-interval', '0.2'];
    const warned = start(t, line, { PLUGIN_MIRROR_WORKERS: '2' });
    assert.equal(await warned.ended, 0);
    assert.match(warned.out.stderr, /^plugin-mirror: warning: removed: PLUGIN_MIRROR_WORKERS\. Run several replicas/);
    assert.match(warned.out.stderr, /^plugin-mirror: warning: removed: --poll-interval\. It is a constant now/m);
  });
});

/** Runs `plugin-mirror serve … --print-config` in this process, for command lines that are refused. */
async function runHere(args: readonly string[]): Promise<{ readonly code: number; readonly stderr: string }> {
  const program = buildProgram('0');
  let stderr = '';
  const writeErr = (text: string): void => {
    stderr += text;
  };
  for (const command of [program, ...program.commands]) command.configureOutput({ writeErr });
  const line = ['serve', ...args, '--log-format', 'text', '--print-config'];
  const error = await program.parseAsync(line, { from: 'user' }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { code: error === undefined ? 0 : exitCodeOf(error), stderr };
}

interface Message {
  readonly level: string;
  readonly message: string;
  readonly code?: string;
  readonly hint?: string;
}

/** The messages on stderr, each a line of JSON. */
function logOf({ out }: Started): Message[] {
  return out.stderr
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
}
