import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CertificateAuthority } from '../support/certificates.ts';

const scripts = fileURLToPath(new URL('../../scripts/image', import.meta.url));

/** Runs the health check with a /proc that has one process with the command line `line`. */
async function check(
  t: TestContext,
  line: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ code: number; stderr: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'health-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  for (const name of ['curl', 'health']) await copyFile(join(scripts, `${name}.sh`), join(dir, name));
  const processes = { 1: ['/sbin/docker-init', '--', 'plugin-mirror', 'serve'], 7: ['node', ...line], 30: ['sh'] };
  for (const [pid, words] of Object.entries(processes)) {
    await mkdir(join(dir, 'proc', pid), { recursive: true });
    await writeFile(join(dir, 'proc', pid, 'cmdline'), words.map(word => `${word}\0`).join(''));
  }
  const { PATH = '' } = process.env;
  return new Promise(resolve => {
    // No code means a signal: SIGPIPE, if the server closed the connection before the request.
    execFile(
      'bash',
      [join(dir, 'health')],
      { env: { PATH, HEALTH_PROC: join(dir, 'proc'), ...env } },
      (error, _, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? 141), stderr }),
    );
  });
}

async function listening(t: TestContext, server: ReturnType<typeof createServer>, host: string): Promise<string> {
  server.on('request', (request, response) => response.writeHead(request.url === '/readyz' ? 200 : 404).end());
  await new Promise<void>(resolve => server.listen(0, host, resolve));
  t.after(() => server.close());
  return String((server.address() as AddressInfo).port);
}

const SERVE = ['/usr/local/bin/plugin-mirror', 'serve'];

test('asks the address of the command line, otherwise the one of the variables', async t => {
  const port = await listening(t, createServer(), '127.0.0.1');
  const other = '1';
  const good = [
    [[...SERVE, '--port', port], { PLUGIN_MIRROR_PORT: other }],
    [[...SERVE, '--tree', 'x', `--port=${port}`, '--host', '127.0.0.1'], { PLUGIN_MIRROR_HOST: '127.0.0.9' }],
    [SERVE, { PLUGIN_MIRROR_PORT: port }],
    [SERVE, { PLUGIN_MIRROR_PORT: port, PLUGIN_MIRROR_HOST: '0.0.0.0' }],
    [SERVE, { PLUGIN_MIRROR_PORT: port, PLUGIN_MIRROR_HOST: '::' }],
  ] as const;
  for (const [line, env] of good) assert.deepEqual(await check(t, line, env), { code: 0, stderr: '' }, line.join(' '));
  assert.equal((await check(t, [...SERVE, '--port', other], { PLUGIN_MIRROR_PORT: port })).code, 7);
  assert.equal((await check(t, [...SERVE, '--host', '127.0.0.9'], { PLUGIN_MIRROR_PORT: port })).code, 7);
});

test('a server that is not ready is not healthy', async t => {
  const server = createServer((_, response) => response.writeHead(503).end());
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  assert.equal((await check(t, [...SERVE, '--port', String(port)], {})).code, 22);
});

test('uses TLS if a certificate is set, and accepts any issuer', async t => {
  const { cert, key } = new CertificateAuthority().issue({ hosts: ['elsewhere.example'] });
  const port = await listening(t, createSecureServer({ cert, key }), '127.0.0.1');
  assert.equal((await check(t, [...SERVE, '--port', port, '--tls-cert', '/c.pem'], {})).code, 0);
  assert.equal((await check(t, SERVE, { PLUGIN_MIRROR_PORT: port, PLUGIN_MIRROR_TLS_CERT: '/c.pem' })).code, 0);
  assert.notEqual((await check(t, [...SERVE, '--port', port], {})).code, 0);
});
