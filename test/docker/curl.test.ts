import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { after, before, describe, it, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

const root = fileURLToPath(new URL('../..', import.meta.url));

const answer: RequestListener = (request, response) => {
  if (request.url === '/') response.end(`${request.method} ${request.headers['x-probe'] ?? ''}`);
  else if (request.url === '/binary') response.end(Buffer.from([0, 0x61, 0x73, 0x6d, 0xff, 0]));
  else if (request.url === '/moved') response.writeHead(302, { location: '/' }).end('elsewhere');
  else if (request.url === '/loop') response.writeHead(302, { location: '/loop' }).end();
  else if (request.url === '/cut')
    response.writeHead(200, { 'content-length': '10' }).write('four', () => response.destroy());
  else if (request.url === '/silent') return;
  else response.writeHead(503).end('not ready');
};

const server = createServer(answer);
let base: string;
let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'curl-'));
  for (const part of ['bin', 'dist/scripts/image']) await mkdir(join(dir, part), { recursive: true });
  await copyFile(join(root, 'scripts/image/curl.sh'), join(dir, 'bin/curl'));
  await symlink(join(root, 'node_modules'), join(dir, 'node_modules'));
  await writeFile(join(dir, 'package.json'), '{"type":"module"}');
  await copyFile(join(root, 'scripts/image/curl.ts'), join(dir, 'dist/scripts/image/curl.ts'));
  const flags = ['--target', 'es2023', '--module', 'nodenext', '--types', 'node', '--skipLibCheck'];
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...flags, 'dist/scripts/image/curl.ts'], {
    cwd: dir,
  });
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

async function ended(program: string, words: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
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

/** The image's command, which does simple things in bash, and the program that it leaves the rest to. */
const commands = {
  'bin/curl': (...words: string[]) => ended('bash', [join(dir, 'bin/curl'), ...words]),
  'curl.js': (...words: string[]) => ended(process.execPath, [join(dir, 'dist/scripts/image/curl.js'), ...words]),
};

test('the check of higress-standalone starts no Node process', async () => {
  const path = join(dir, 'path');
  await mkdir(path);
  for (const program of ['bash', 'cat']) {
    const { stdout } = await run('sh', ['-c', `command -v ${program}`]);
    await symlink(stdout.trim(), join(path, program));
  }
  const without = (...words: string[]) => ended('bash', [join(dir, 'bin/curl'), ...words], { PATH: path });
  assert.deepEqual([(await without('-sf', `${base}/`)).stdout.toString()], ['GET ']);
  assert.equal((await without('-fsS', '-o', '/dev/null', `${base}/down`)).code, 22);
  assert.equal((await without('-sL', `${base}/`)).code, 127, 'redirects are left to Node');
});

for (const [name, curl] of Object.entries(commands))
  describe(name, () => {
    it('the check of higress-standalone passes on 200, and fails without a word on 503', async () => {
      const good = await curl('-sf', `${base}/`);
      assert.deepEqual([good.code, good.stdout.toString(), good.stderr], [0, 'GET ', '']);
      const bad = await curl('-sf', `${base}/down`);
      assert.deepEqual([bad.code, bad.stdout.toString(), bad.stderr], [22, '', '']);
    });

    it('without -f an error status is an answer like any other; -S speaks though -s is given', async () => {
      const plain = await curl('-s', `${base}/down`);
      assert.deepEqual([plain.code, plain.stdout.toString()], [0, 'not ready']);
      const told = await curl('-sSf', `${base}/down`);
      assert.equal(told.code, 22);
      assert.match(told.stderr, /^curl: \(22\) .*503/);
    });

    it('bytes reach a file as they are, and -w says what came', async () => {
      const file = join(dir, `body-${basename(name)}`);
      const ended = await curl('-s', '-o', file, '-w', '%{http_code} %{size_download}\\n', `${base}/binary`);
      assert.deepEqual([ended.code, ended.stdout.toString()], [0, '200 6\n']);
      assert.deepEqual(await readFile(file), Buffer.from([0, 0x61, 0x73, 0x6d, 0xff, 0]));
      assert.deepEqual((await curl('-s', `${base}/binary`)).stdout, Buffer.from([0, 0x61, 0x73, 0x6d, 0xff, 0]));
    });

    it('headers, methods and heads', async () => {
      const sent = await curl('-s', '-X', 'POST', '-H', 'X-Probe: yes', `${base}/`);
      assert.equal(sent.stdout.toString(), 'POST yes');
      const head = await curl('-sI', `${base}/`);
      assert.match(head.stdout.toString(), /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n$/);
    });

    it('redirects are followed only with -L, and not for ever', async () => {
      assert.equal((await curl('-s', `${base}/moved`)).stdout.toString(), 'elsewhere');
      assert.equal((await curl('-sL', `${base}/moved`)).stdout.toString(), 'GET ');
      assert.equal((await curl('-sL', `${base}/loop`)).code, 47);
    });

    it("failures end with curl's own exit codes", async () => {
      assert.equal((await curl('-s', '-m', '0.2', `${base}/silent`)).code, 28);
      assert.equal((await curl('-sL', `${base}/cut`)).code, 18);
      assert.equal((await curl('-s', '-o', '/nowhere/at/all', `${base}/`)).code, 23);
      assert.equal((await curl('-s', 'ftp://127.0.0.1/')).code, 1);
      assert.equal((await curl('-s', 'http://[')).code, 3);
      const closed = createServer();
      await once(closed.listen(0, '127.0.0.1'), 'listening');
      const { port } = closed.address() as AddressInfo;
      await new Promise(resolve => closed.close(resolve));
      const refused = await curl(`127.0.0.1:${port}`);
      assert.equal(refused.code, 7);
      assert.match(refused.stderr, /^curl: \(7\) .*127\.0\.0\.1/);
    });

    it('an option it does not know is refused by name', async () => {
      const { code, stderr } = await curl('--retry', '3', `${base}/`);
      assert.equal(code, 2);
      assert.match(stderr, /--retry/);
      assert.equal((await curl('-s')).code, 2);
    });
  });
