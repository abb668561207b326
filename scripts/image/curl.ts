#!/usr/bin/env node
import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import process from 'node:process';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';

/**
 * The `curl` of the image, for health checks that others wrote (`curl -sf http://127.0.0.1:8080/`): slim Node images have
 * none, and installing one would need Debian's archive at every build, and emulation for other platforms. It knows what
 * such checks use, says so about anything else, and ends with curl's own exit codes.
 */
const OPTIONS = {
  silent: { type: 'boolean', short: 's' },
  'show-error': { type: 'boolean', short: 'S' },
  fail: { type: 'boolean', short: 'f' },
  location: { type: 'boolean', short: 'L' },
  head: { type: 'boolean', short: 'I' },
  include: { type: 'boolean', short: 'i' },
  insecure: { type: 'boolean', short: 'k' },
  output: { type: 'string', short: 'o' },
  request: { type: 'string', short: 'X' },
  header: { type: 'string', short: 'H', multiple: true },
  'user-agent': { type: 'string', short: 'A' },
  'write-out': { type: 'string', short: 'w' },
  'max-time': { type: 'string', short: 'm' },
  'connect-timeout': { type: 'string' },
  'max-redirs': { type: 'string' },
  version: { type: 'boolean', short: 'V' },
  help: { type: 'boolean', short: 'h' },
} as const;

type Flags = ReturnType<typeof readArguments>['values'];

class CurlError extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

async function curl(flags: Flags, urls: readonly string[]): Promise<void> {
  if (flags.version) return say('curl (of plugin-mirror: only what health checks use)\nProtocols: http https\n');
  if (flags.help)
    return say(
      `Usage: curl [options] URL\n${Object.keys(OPTIONS)
        .map(name => `  --${name}\n`)
        .join('')}`,
    );
  const [url] = urls;
  if (url === undefined || urls.length > 1) throw new CurlError(2, `expected one URL, found ${urls.length}`);
  const maxTimeMs = milliseconds(flags, 'max-time');
  const signal = maxTimeMs === undefined ? undefined : AbortSignal.timeout(maxTimeMs);
  try {
    await fetchUrl(flags, url, signal);
  } catch (error) {
    throw signal?.aborted ? new CurlError(28, `Operation timed out after ${maxTimeMs} milliseconds`) : error;
  }
}

async function fetchUrl(flags: Flags, url: string, signal: AbortSignal | undefined): Promise<void> {
  const startedMs = performance.now();
  let target = parseUrl(url);
  let response = await send(flags, target, signal);
  const maxRedirects = Number(flags['max-redirs'] ?? 50);
  for (let followed = 0; flags.location && isRedirect(response); followed += 1) {
    if (followed === maxRedirects) throw new CurlError(47, `Maximum (${maxRedirects}) redirects followed`);
    response.resume();
    target = new URL(response.headers.location ?? '', target);
    response = await send(flags, target, signal);
  }
  const status = response.statusCode ?? 0;
  const failed = flags.fail === true && status >= 400;
  const sizeBytes = failed ? 0 : await receive(flags, response, signal);
  if (flags['write-out'] !== undefined)
    say(writeOut(flags['write-out'], { status, sizeBytes, seconds: (performance.now() - startedMs) / 1000, target }));
  if (!failed) return;
  response.destroy();
  throw new CurlError(22, `The requested URL returned error: ${status}`);
}

async function send(flags: Flags, target: URL, signal: AbortSignal | undefined): Promise<IncomingMessage> {
  // An import of node:http reads its every getter, one of which loads an HTTP client: twice the time to start.
  const { request } = process.getBuiltinModule(target.protocol === 'https:' ? 'node:https' : 'node:http');
  const connectTimeoutMs = milliseconds(flags, 'connect-timeout');
  return new Promise((resolve, reject) => {
    const outgoing = request(target, {
      method: flags.request ?? (flags.head ? 'HEAD' : 'GET'),
      headers: { accept: '*/*', 'user-agent': flags['user-agent'] ?? 'curl/8 (plugin-mirror)', ...headersOf(flags) },
      rejectUnauthorized: flags.insecure !== true,
      agent: false,
      ...(signal === undefined ? {} : { signal }),
    });
    if (connectTimeoutMs !== undefined) {
      const timer = setTimeout(() => outgoing.destroy(new CurlError(28, 'Connection timed out')), connectTimeoutMs);
      outgoing
        .on('socket', socket => socket.once('connect', () => clearTimeout(timer)))
        .on('close', () => clearTimeout(timer));
    }
    outgoing
      .on('response', resolve)
      .on('error', error => reject(asCurlError(error, target)))
      .end();
  });
}

/** Writes head and body to where the flags say; the size of the body in bytes. */
async function receive(flags: Flags, response: IncomingMessage, signal: AbortSignal | undefined): Promise<number> {
  const output =
    flags.output === undefined || flags.output === '-' ? standardOutput() : createWriteStream(flags.output);
  if (flags.head || flags.include) output.write(headOf(response));
  let sizeBytes = 0;
  response.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
  });
  try {
    await pipeline(response, output, { ...(signal === undefined ? {} : { signal }) });
  } catch (error) {
    if (error instanceof Error && 'syscall' in error && error.syscall !== 'read')
      throw new CurlError(23, `Failed writing body: ${error.message}`);
    throw new CurlError(18, 'transfer closed before the body was whole');
  }
  return sizeBytes;
}

/** pipeline would end process.stdout, and --write-out comes after it. */
function standardOutput(): Writable {
  return new Writable({ write: (chunk, _encoding, done) => void process.stdout.write(chunk, done) });
}

function headOf(response: IncomingMessage): string {
  const { httpVersion, statusCode, statusMessage, rawHeaders } = response;
  const lines = rawHeaders.flatMap((name, index) => (index % 2 === 0 ? `${name}: ${rawHeaders[index + 1]}\r\n` : []));
  return `HTTP/${httpVersion} ${statusCode} ${statusMessage}\r\n${lines.join('')}\r\n`;
}

interface Outcome {
  readonly status: number;
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly target: URL;
}

function writeOut(format: string, { status, sizeBytes, seconds, target }: Outcome): string {
  const values: Readonly<Record<string, string>> = {
    http_code: String(status).padStart(3, '0'),
    response_code: String(status).padStart(3, '0'),
    size_download: String(sizeBytes),
    time_total: seconds.toFixed(6),
    url_effective: target.href,
  };
  return format
    .replace(/\\([nrt])/g, (_, letter: string) => ({ n: '\n', r: '\r', t: '\t' })[letter] ?? letter)
    .replace(/%\{(\w+)\}/g, (_, name: string) => values[name] ?? '');
}

const EXIT_CODES: Readonly<Record<string, number>> = {
  ENOTFOUND: 6,
  EAI_AGAIN: 6,
  ECONNREFUSED: 7,
  EHOSTUNREACH: 7,
  ENETUNREACH: 7,
  ECONNRESET: 56,
  HPE_INVALID_CONSTANT: 1,
};

function asCurlError(error: Error & { code?: string }, target: URL): CurlError {
  if (error instanceof CurlError) return error;
  const { code = '' } = error;
  const tls = /^(?:CERT|DEPTH|SELF_SIGNED|UNABLE_TO|ERR_TLS)/.test(code);
  // An AggregateError (localhost by IPv6 and IPv4) has an empty message.
  return new CurlError(tls ? 60 : (EXIT_CODES[code] ?? 7), `${target.host}: ${error.message || code}`);
}

function isRedirect({ statusCode = 0, headers }: IncomingMessage): boolean {
  return [301, 302, 303, 307, 308].includes(statusCode) && headers.location !== undefined;
}

function headersOf(flags: Flags): Record<string, string> {
  return Object.fromEntries(
    (flags.header ?? []).map(line => {
      const colon = line.indexOf(':');
      if (colon < 1) throw new CurlError(2, `expected --header 'Name: value', found ${line}`);
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}

function milliseconds(flags: Flags, name: 'max-time' | 'connect-timeout'): number | undefined {
  const text = flags[name];
  if (text === undefined) return undefined;
  if (!/^\d+(?:\.\d+)?$/.test(text)) throw new CurlError(2, `expected seconds for --${name}, found ${text}`);
  return Math.max(1, Math.round(Number(text) * 1000));
}

function parseUrl(text: string): URL {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(full)) throw new CurlError(3, `URL rejected: ${text}`);
  const url = new URL(full);
  if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  throw new CurlError(1, `Protocol "${url.protocol.slice(0, -1)}" not supported`);
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new CurlError(
      2,
      `${error instanceof Error ? error.message : error} (this small curl knows what health checks use: curl --help)`,
    );
  }
}

function say(text: string): void {
  process.stdout.write(text);
}

let quiet = false;
try {
  const { values, positionals } = readArguments();
  quiet = values.silent === true && values['show-error'] !== true;
  await curl(values, positionals);
} catch (error) {
  process.exitCode = error instanceof CurlError ? error.exitCode : 1;
  if (!quiet) process.stderr.write(`curl: (${process.exitCode}) ${error instanceof Error ? error.message : error}\n`);
}
