import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { assertSameBytes } from '../support/bytes.ts';
import { plainEnvironment } from '../support/cli.ts';
import { unusedPort } from '../support/unusedPort.ts';

const run = promisify(execFile);

const script = fileURLToPath(new URL('../../scripts/image/curl.sh', import.meta.url));

const answer: RequestListener = (request, response) => {
  if (request.url === '/') response.end(`${request.method} ${request.headers['x-probe'] ?? ''}`);
  else if (request.url === '/binary') response.end(Buffer.from([0, 0x61, 0x73, 0x6d, 0xff, 0]));
  else if (request.url === '/moved') response.writeHead(302, { location: '/' }).end('elsewhere');
  else response.writeHead(503).end('not ready');
};

const server = createServer(answer);
let base: string;
let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'curl-'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(async () => {
  await rm(dir, { recursive: true, force: true });
  server.closeAllConnections();
  server.close();
});

interface Ended {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

async function ended(
  program: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv = plainEnvironment(),
): Promise<Ended> {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: Buffer.concat(stdout), stderr };
}

/** The image's `curl`. */
const curl = (...words: string[]) => ended('bash', [script, ...words]);

test('the check of higress-standalone needs nothing but bash and cat', async () => {
  const path = join(dir, 'path');
  await mkdir(path);
  for (const program of ['bash', 'cat']) {
    const { stdout } = await run('sh', ['-c', `command -v ${program}`]);
    await symlink(stdout.trim(), join(path, program));
  }
  const without = (...words: string[]) => ended('bash', [script, ...words], { PATH: path });
  assert.deepEqual([(await without('-sf', `${base}/`)).stdout.toString()], ['GET ']);
  assert.equal((await without('-fsS', '-o', '/dev/null', `${base}/down`)).code, 22);
});

test('the check of higress-standalone passes on 200, and fails silently on 503', async () => {
  const good = await curl('-sf', `${base}/`);
  assert.deepEqual([good.code, good.stdout.toString(), good.stderr], [0, 'GET ', '']);
  const bad = await curl('-sf', `${base}/down`);
  assert.deepEqual([bad.code, bad.stdout.toString(), bad.stderr], [22, '', '']);
});

test('without -f an error status is an answer like any other; -S prints errors in spite of -s', async () => {
  const plain = await curl('-s', `${base}/down`);
  assert.deepEqual([plain.code, plain.stdout.toString()], [0, 'not ready']);
  const failed = await curl('-sSf', `${base}/down`);
  assert.equal(failed.code, 22);
  assert.match(failed.stderr, /^curl: \(22\) .*503/);
});

test('a body reaches a file or standard output byte for byte', async () => {
  const file = join(dir, 'body');
  const module = Buffer.from([0, 0x61, 0x73, 0x6d, 0xff, 0]);
  const written = await curl('-s', '-o', file, `${base}/binary`);
  assert.deepEqual([written.code, written.stdout.toString()], [0, '']);
  assertSameBytes(await readFile(file), module);
  assert.deepEqual((await curl('-s', `${base}/binary`)).stdout, module);
  assert.deepEqual((await curl('-s', '--output', '-', `${base}/binary`)).stdout, module);
});

test('redirects are not followed', async () => {
  assert.equal((await curl('-s', `${base}/moved`)).stdout.toString(), 'elsewhere');
});

test('an IPv6 address is possible', async t => {
  const ipv6 = createServer(answer);
  t.after(() => ipv6.close());
  const listening = once(ipv6.listen(0, '::1'), 'listening').catch(() => undefined);
  if ((await listening) === undefined) return t.skip('no IPv6 on this machine');
  const { port } = ipv6.address() as AddressInfo;
  assert.equal((await curl('-sf', `http://[::1]:${port}/`)).stdout.toString(), 'GET ');
});

test("failures end with curl's own exit codes", async () => {
  assert.equal((await curl('-s', '-o', '/nowhere/at/all', `${base}/`)).code, 23);
  const refused = await curl(`127.0.0.1:${await unusedPort()}`);
  assert.equal(refused.code, 7);
  assert.match(refused.stderr, /^curl: \(7\) .*127\.0\.0\.1/);
});

test('an option or a URL that it does not support is refused by name, even with -s', async () => {
  for (const [words, expected] of [
    [['--retry', '3', `${base}/`], /--retry is not supported/],
    [['-sL', `${base}/`], /-sL is not supported/],
    [['-s', '-X', 'POST', `${base}/`], /-X is not supported/],
    [['-s', '-w', '%{http_code}', `${base}/`], /-w is not supported/],
    [['-s', 'https://127.0.0.1/'], /https:\/\/127\.0\.0\.1\/ is not supported/],
    [['-s', 'ftp://127.0.0.1/'], /is not supported/],
    [['-s', 'http://['], /is not supported/],
    [['-s', `${base}/`, `${base}/`], /more than one URL/],
    [['-s'], /no URL/],
    [['-s', '-o'], /needs a file/],
  ] as const) {
    const { code, stdout, stderr } = await curl(...words);
    assert.deepEqual([code, stdout.toString()], [2, ''], words.join(' '));
    assert.match(stderr, expected);
    assert.match(stderr, /^curl: \(2\) .*curl \[-s\] \[-S\] \[-f\] \[-o FILE\]/);
  }
});
