import { write } from 'node:fs';
import { isIP } from 'node:net';
import process from 'node:process';
import type { ServerEvent } from '../server/events.ts';
import { type ServerOptions, settleOptions } from '../server/options.ts';
import { type RunningServer, startServer } from '../server/startServer.ts';
import type { ServeFlags } from './commands/serve.ts';

const MIB = 1024 * 1024;
const STDOUT = 1;

/** Serves until a signal comes. SIGTERM stops in order; SIGINT does so without the pause; a second one ends at once. */
export async function runServe(flags: ServeFlags, programVersion: string): Promise<void> {
  const options: ServerOptions = {
    ...serverOptions(flags, programVersion),
    onEvent: event => say(describe(event)),
    ...(flags.accessLog === 'off' ? {} : { writeAccessLog }),
  };
  if (flags.printConfig === true) {
    printConfig(options, flags);
    return;
  }
  const signals = signalQueue();
  const server = await startServer(options);
  say(`serving ${flags.tree} at ${server.url}/`);
  const signal = await signals.next();
  say(`${signal}: running downloads may end, no new ones are wanted`);
  const again = signals.next().then(() => process.exit(130));
  const { cut } = await Promise.race([stop(server, flags, signal), again]);
  if (cut > 0) say(`${cut} connections were cut, for the grace of ${flags.grace / 1000} s was over`);
  process.exit(0);
}

function stop(server: RunningServer, flags: ServeFlags, signal: NodeJS.Signals) {
  return server.close({ pauseMs: signal === 'SIGINT' ? 0 : flags.drainDelay, graceMs: flags.grace });
}

function serverOptions(flags: ServeFlags, programVersion: string): ServerOptions {
  return {
    treeDir: flags.tree,
    programVersion,
    host: isIP(flags.host.replace(/^\[(.*)\]$/, '$1')) === 0 ? flags.host : flags.host.replace(/^\[(.*)\]$/, '$1'),
    port: flags.port,
    basePath: flags.basePath.replace(/\/+$/, ''),
    urlPatterns: flags.urlPattern ?? [],
    latest: flags.latest === true,
    encoding: flags.encoding,
    cachePinned: flags.cachePinned,
    cacheOther: flags.cacheOther,
    cacheBytes: flags.memoryCache * MIB,
    maxBodies: flags.maxDownloads,
    maxWaitingBodies: flags.maxQueue,
    maxBodyWaitMs: flags.queueTimeout,
    maxConnections: flags.maxConnections,
    retryAfterSeconds: flags.retryAfter,
    headersTimeoutMs: flags.headersTimeout,
    requestTimeoutMs: flags.requestTimeout,
    stallTimeoutMs: flags.stallTimeout,
    keepAliveTimeoutMs: flags.keepAliveTimeout,
    pollMs: flags.pollInterval,
    patrolMs: flags.checkInterval,
    verifyMs: flags.verifyInterval,
    verifyBytesPerSecond: flags.verifyRate * MIB,
    trustedProxies: flags.trustedProxies,
    logSampleEvery: flags.logSample,
  };
}

function printConfig(options: ServerOptions, flags: ServeFlags): void {
  const settings: Partial<ReturnType<typeof settleOptions>> = settleOptions(options);
  const { accessLog, drainDelay: drainDelayMs, grace: graceMs } = flags;
  const { onEvent: _, writeAccessLog: __, gatherMetrics: ___, ...plain } = settings;
  process.stdout.write(`${JSON.stringify({ ...plain, accessLog, drainDelayMs, graceMs }, null, 2)}\n`);
}

/** Past process.stdout, whose writes to a pipe hold up the whole process when nobody reads it. */
function writeAccessLog(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(text);
    const from = (start: number): void => {
      write(STDOUT, bytes, start, bytes.length - start, null, (error, written) => {
        if (error?.code === 'EAGAIN') setTimeout(from, 50, start);
        else if (error !== null) reject(error);
        else if (start + written < bytes.length) from(start + written);
        else resolve();
      });
    };
    from(0);
  });
}

function say(line: string): void {
  process.stderr.write(`plugin-mirror: ${line}\n`);
}

function describe(event: ServerEvent): string {
  switch (event.kind) {
    case 'tree-loaded':
      return `tree ${event.tree}: ${event.plugins} plugins, ${event.versions} versions, ${(event.sizeBytes / 1e6).toFixed(1)} MB`;
    case 'tree-missing':
      return event.serving
        ? `no index.json in ${event.treeDir} any more; what was read before is served on`
        : `no index.json in ${event.treeDir} yet; answering 503 until \`plugin-mirror sync\` has put one there`;
    case 'tree-unreadable':
      return `the tree cannot be read (${String(event.error)}); ${event.serving ? 'what was read before is served on' : 'answering 503'}`;
    case 'content':
      return `${event.paths.join(', ')} (sha256 ${event.sha256}): ${CONTENT_STATES[event.state]}`;
    case 'failure':
      return `${event.url}: ${String(event.error)}`;
  }
}

const CONTENT_STATES = {
  damaged: 'the file on disk is not what the catalog names; answering 503',
  displaced: 'another file lies there now; serving the one that is still open until the catalog names the new one',
  whole: 'the file on disk is whole again',
} as const;

/** Signals in the order in which they come, none lost. */
function signalQueue(): { next(): Promise<NodeJS.Signals> } {
  const came: NodeJS.Signals[] = [];
  let waiting: ((signal: NodeJS.Signals) => void) | undefined;
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (waiting === undefined) came.push(name);
      else {
        waiting(name);
        waiting = undefined;
      }
    });
  return {
    next: () =>
      new Promise(resolve => {
        const first = came.shift();
        if (first === undefined) waiting = resolve;
        else resolve(first);
      }),
  };
}
