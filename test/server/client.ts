import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { ServerOptions } from '../../server/options.ts';
import { type RunningServer, startServer } from '../../server/startServer.ts';

export interface Answer {
  readonly status: number;
  /** By lower-case name; several lines with one name are joined by commas. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** What the command line passes without any option, but on a free port of the loopback. */
export const OPTIONS: Omit<ServerOptions, 'treeDir'> = {
  programVersion: '0.0.0',
  host: '127.0.0.1',
  port: 0,
  basePath: '',
  urlPatterns: [],
  latest: false,
  encoding: 'auto',
  cacheBytes: 48 * 1024 * 1024,
  maxDownloads: 1536,
  stallTimeoutMs: 60_000,
  trustedProxies: 0,
};

/** Starts a server that notices a changed tree within 20 ms, and closes it when the test ends. */
export async function serve(
  t: TestContext,
  treeDir: string,
  options: Partial<ServerOptions> = {},
): Promise<RunningServer> {
  const server = await startServer({ ...OPTIONS, treeDir, pollMs: 20, ...options });
  t.after(() => server.close({ graceMs: 0 }));
  return server;
}

/** Waits until `fits` returns true, for at most a minute. */
export async function until(what: string, fits: () => boolean | Promise<boolean>): Promise<void> {
  const endsAtMs = Date.now() + 60_000;
  while (Date.now() < endsAtMs) {
    if (await fits()) return;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  assert.fail(`not within a minute: ${what}`);
}

/** Returns the value of a metric without labels, by its name without `plugin_mirror_`. */
export async function metric(port: number, name: string): Promise<number> {
  const text = (await ask(port, '/metrics')).body.toString();
  return Number(new RegExp(`^plugin_mirror_${name} (.+)$`, 'm').exec(text)?.[1]);
}

/** Sends exactly these bytes over a new connection and returns all that the server sends until it closes the connection. */
export async function sendRaw(port: number, text: string): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  socket.write(text, 'latin1');
  return readAll(socket);
}

export function readAll(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    socket.setTimeout(60_000, () => socket.destroy(new Error('The server neither answered nor closed')));
    socket.on('data', part => parts.push(part));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve(Buffer.concat(parts));
      else reject(error);
    });
    socket.on('close', () => resolve(Buffer.concat(parts)));
  });
}

/** Sends one request over a new connection. Lines of `headers` are sent unchanged, after Host and Connection. */
export async function ask(
  port: number,
  target: string,
  { method = 'GET', headers = [] }: { readonly method?: string; readonly headers?: readonly string[] } = {},
): Promise<Answer> {
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: mirror.test', 'Connection: close', ...headers];
  return parseAnswer(await sendRaw(port, `${lines.join('\r\n')}\r\n\r\n`));
}

export function parseAnswer(bytes: Buffer): Answer {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) throw new Error(`No HTTP answer: ${JSON.stringify(bytes.subarray(0, 200).toString('latin1'))}`);
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const former = headers.get(name);
    headers.set(name, former === undefined ? value : `${former}, ${value}`);
  }
  return { status: Number(first.split(' ')[1]), headers, body: dechunk(headers, bytes.subarray(end + 4)) };
}

function dechunk(headers: ReadonlyMap<string, string>, body: Buffer): Buffer {
  if (headers.get('transfer-encoding') !== 'chunked') return body;
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf('\r\n', at);
    const length = Number.parseInt(body.subarray(at, lineEnd).toString('latin1'), 16);
    if (!(length > 0)) return Buffer.concat(parts);
    parts.push(body.subarray(lineEnd + 2, lineEnd + 2 + length));
    at = lineEnd + 2 + length + 2;
  }
}
