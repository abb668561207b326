import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Express } from 'express';
import { Access } from './connections/access.ts';
import { Connections } from './connections/connections.ts';
import { Gate } from './connections/downloadLimit.ts';
import { Stalls } from './connections/stalls.ts';
import { readTlsFiles, TlsFollower, type TlsMaterial } from './connections/tlsFiles.ts';
import { ChunkCache } from './content/chunkCache.ts';
import { ContentStore } from './content/contentStore.ts';
import { Patrol } from './content/scrubber.ts';
import { asListenRefusal } from './errors.ts';
import type { Answered } from './http/answer.ts';
import { ALLOWED_METHODS, rawAnswer, unreadableAnswerer } from './http/clientErrors.ts';
import { FileService } from './http/fileService.ts';
import { createListener } from './http/listener.ts';
import { type MetricFamily, renderFamilies } from './metricFamily.ts';
import { AccessLog } from './observe/accessLog.ts';
import { type Gauges, Metrics } from './observe/metrics.ts';
import { type ServerOptions, type ServerSettings, settleOptions } from './options.ts';
import { Turns } from './sending/fairScheduler.ts';
import { Pressure } from './sending/pressure.ts';
import { requireFolder, TreeFollower } from './view/treeFollower.ts';

const MAX_HEADER_BYTES = 16 * 1024;
const TIMEOUT_CHECK_MS = 1000;
/** Gateways that start together come together; the kernel would let those beyond it wait for seconds. */
const BACKLOG = 4096;
/** A connection in the midst of its handshake holds up a stop for no longer. */
const MAX_HANDSHAKE_MS = 10_000;

export interface RunningServer {
  /** `http://localhost:8080`, plus the base path; the address it listens on where that is a particular one. */
  readonly url: string;
  readonly port: number;
  /** Whether /readyz says so. */
  readonly isReady: () => boolean;
  /** What /metrics is made of. */
  readonly collectMetrics: () => readonly MetricFamily[];
  /** Looks for a new tree now instead of at the next poll. */
  reload(): Promise<void>;
  /** Stops: see Stop. Answers when everything is closed. A second call shares the first one's end. */
  close(stop?: Stop): Promise<StopReport>;
}

export interface Stop {
  /** Still serving while /readyz says no, so that others notice and stop sending. Default 0. */
  readonly pauseMs?: number;
  /** How long running answers may take to end after that. Default 25 s. */
  readonly graceMs?: number;
}

export interface StopReport {
  /** Connections that were cut because the grace was over. */
  readonly cut: number;
}

/**
 * Serves a tree over HTTP. Resolves when it listens and has read the tree, or found that there is none yet.
 * @throws ServerOptionInvalid, ServerPortTaken, ServerAddressUnusable, TreeUnusable
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const settings = settleOptions(options);
  const { onEvent } = settings;
  await requireFolder(settings.treeDir);
  const cache = new ChunkCache(settings.cacheBytes);
  const store = new ContentStore({
    cache,
    maxOpenFiles: 512,
    onEvent,
  });
  const { treeDir, pollMs, retryAfterSeconds } = settings;
  const follower = new TreeFollower({ treeDir, pollMs, view: settings, onEvent }, store);
  const patrol = new Patrol(store, {
    roundMs: settings.patrolMs,
    proofMaxAgeMs: settings.verifyMs,
    bytesPerSecond: settings.verifyBytesPerSecond,
  });
  const gate = new Gate(settings.maxBodies, settings.maxWaitingBodies, settings.maxBodyWaitMs);
  const metrics = new Metrics();
  const { writeAccessLog, logSampleEvery } = settings;
  const log =
    writeAccessLog === undefined ? undefined : new AccessLog({ write: writeAccessLog, sampleEvery: logSampleEvery });
  let isDraining = false;
  let connectionsDropped = 0;
  const onAnswered = (answered: Answered): void => {
    metrics.add(answered);
    log?.add(answered);
  };
  const damagedFiles = (): number => counted(store.contents, content => content.state === 'damaged');
  const badCopies = (): number => {
    let number = 0;
    for (const { copies, state, displaced } of store.contents)
      if (state === 'proven' && !displaced) number += counted(copies.values(), copy => copy.fault !== undefined);
    return number;
  };
  const gauges = (): Gauges => ({
    connections: connections.open,
    bodiesRunning: gate.running,
    bodiesWaiting: gate.waiting,
    cacheHits: cache.hits,
    cacheMisses: cache.misses,
    cacheBytes: cache.sizeBytes,
    damagedFiles: damagedFiles() + badCopies(),
    displacedFiles: counted(store.contents, content => content.displaced),
    logLinesDropped: log?.droppedLines ?? 0,
    connectionsDropped,
  });
  const collect = (): MetricFamily[] => metrics.collect(follower.view, gauges());
  const notReady = (): string | undefined => {
    if (isDraining) return 'The server is stopping.';
    if (follower.view === undefined) return 'No plugin tree has been loaded yet.';
    return follower.isGone && damagedFiles() > 0 ? 'The plugin tree is gone, and files of it with it.' : undefined;
  };
  const parts = {
    view: () => follower.view,
    retryAfterSeconds,
    latest: settings.latest,
    programVersion: settings.programVersion,
    renderMetrics: async () => renderFamilies(await settings.gatherMetrics(collect())),
    onFailure: (url: string, error: unknown) => onEvent({ kind: 'failure', url, error }),
  };
  let loading: Promise<Express> | undefined;
  const app = (): Promise<Express> => {
    loading ??= import('./pages/app.ts').then(({ createApp }) => createApp(parts));
    return loading;
  };
  const { tls, credentials } = settings;
  const material = tls === undefined ? undefined : await readTlsFiles(tls);
  const server = createHttpServer(settings, material);
  const connections = new Connections(server);
  const stalls = new Stalls(settings.stallTimeoutMs);
  // It starts anew whenever the kernel takes more of what is being written.
  server.timeout = stalls.intervalMs;
  server.on('timeout', (socket: Socket) => {
    const phase = connections.phaseOf(socket);
    if (phase === 'idle') socket.destroy();
    else if (phase === 'body')
      stalls.look(socket, () => connections.phaseOf(socket) === 'body').catch(() => socket.destroy());
    // For the header, and for the answer to begin, there are other limits.
    else socket.setTimeout(stalls.intervalMs);
  });
  const { encoding } = settings;
  const pressure = new Pressure(() => gate.running);
  const turns = new Turns();
  server.on('connection', () => turns.welcome());
  const files = new FileService({ store, cache, turns, gate, follower, encoding, pressure, onEvent });
  const rules = { isDraining: () => isDraining, retryAfterSeconds, onAnswered };
  const access = credentials === undefined ? undefined : new Access(credentials);
  const wantsCertificate = tls?.clientCaFile !== undefined;
  const listener = createListener({
    settings,
    app,
    notReady,
    access,
    wantsCertificate,
    files,
    follower,
    connections,
    rules,
  });
  // Nobody's body is waited for, so nobody is told to send it; what else one may expect, the listener refuses.
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, listener);
  const answerUnreadable = unreadableAnswerer((status, client) => {
    metrics.addUnreadable(status);
    log?.addUnreadable(status, client);
  });
  server.on('clientError', answerUnreadable);
  server.on('drop', () => connectionsDropped++);
  await listen(server, settings.host, settings.port);
  await follower.start();
  patrol.start();
  const certificate =
    tls === undefined || material === undefined || !('setSecureContext' in server)
      ? undefined
      : new TlsFollower(tls, material, { pollMs, take: found => server.setSecureContext(found), onEvent });
  const { port } = server.address() as AddressInfo;

  const stop = async ({ pauseMs = 0, graceMs = 25_000 }: Stop): Promise<StopReport> => {
    isDraining = true;
    if (pauseMs > 0) await wait(pauseMs);
    const closed = new Promise<void>(resolve => server.close(() => resolve()));
    const giveUp = new AbortController();
    let cut = 0;
    const grace = wait(graceMs, undefined, { signal: giveUp.signal }).then(
      () => {
        cut = connections.open;
        server.closeAllConnections();
        connections.closeAll();
      },
      () => {},
    );
    await connections.drain();
    giveUp.abort();
    await Promise.all([grace, closed, follower.stop(), patrol.stop(), certificate?.stop()]);
    store.close();
    await log?.close();
    return { cut };
  };
  let stopping: Promise<StopReport> | undefined;
  return {
    url: urlOf(settings, port),
    port,
    isReady: () => !isDraining && follower.view !== undefined,
    collectMetrics: collect,
    reload: () => follower.check(),
    close: (how = {}) => {
      stopping ??= stop(how);
      return stopping;
    },
  };
}

function createHttpServer(settings: ServerSettings, material: TlsMaterial | undefined): Server | SecureServer {
  const rules = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: Math.min(settings.headersTimeoutMs, settings.requestTimeoutMs),
    requestTimeout: settings.requestTimeoutMs,
    keepAliveTimeout: settings.keepAliveTimeoutMs,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    insecureHTTPParser: false,
    noDelay: true,
    // The listener refuses a request without a Host: then it is counted, and in the log.
    requireHostHeader: false,
  };
  const server =
    material === undefined
      ? createServer(rules)
      : createSecureServer({
          ...rules,
          ...material,
          handshakeTimeout: Math.min(settings.headersTimeoutMs, MAX_HANDSHAKE_MS),
          // Health checks have none; the listener looks whether it is there, and good.
          requestCert: material.ca !== undefined,
          rejectUnauthorized: false,
        });
  // Lines past a count would be dropped unseen, a second Host among them; the listener refuses what is too much.
  server.maxHeadersCount = 0;
  server.maxConnections = settings.maxConnections;
  // RFC 9112, 9.6: who has ended its side may still read; what is under way is sent to its end.
  Object.assign(server, { httpAllowHalfOpen: true });
  server.on('connect', (_request, socket) =>
    socket.end(rawAnswer('405 Method Not Allowed', `Allow: ${ALLOWED_METHODS}\r\n`)),
  );
  return server;
}

async function listen(server: Server | SecureServer, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject(asListenRefusal(error, host, port)));
    server.listen({ host, port, backlog: BACKLOG }, resolve);
  });
}

function urlOf({ host, basePath, tls }: ServerSettings, port: number): string {
  const anywhere = host === '0.0.0.0' || host === '::';
  const name = anywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${tls === undefined ? 'http' : 'https'}://${name}:${port}${basePath}`;
}

function counted<T>(among: Iterable<T>, fits: (one: T) => boolean): number {
  let number = 0;
  for (const one of among) if (fits(one)) number++;
  return number;
}
