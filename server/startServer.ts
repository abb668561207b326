import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { plainAddress, shareKeys } from './clientAddress.ts';
import { Access } from './connections/access.ts';
import { Connections } from './connections/connections.ts';
import { acceptWaiting, createHttpServer, isSecure, listen, stopListening } from './connections/httpServer.ts';
import { readTlsFiles, requireAcceptable } from './connections/tlsFiles.ts';
import { ChunkCache } from './content/chunkCache.ts';
import { ContentStore } from './content/contentStore.ts';
import { descriptorLimit, planDescriptors } from './content/openFile.ts';
import { Scrubber } from './content/scrubber.ts';
import type { ForeignProtocol, ServerEvent } from './events.ts';
import type { AnswerReport } from './http/answer.ts';
import { clientErrorHandler, connectHandler } from './http/clientErrors.ts';
import { FileService, type FileServiceParts } from './http/fileService.ts';
import { createListener, type Pages, type RegistryPages } from './http/listener.ts';
import { AccessLog } from './observe/accessLog.ts';
import { Metrics } from './observe/metrics.ts';
import { Status } from './observe/status.ts';
import { Troubles } from './observe/troubles.ts';
import {
  requireCredentials,
  resolveOptions,
  type ServerOptions,
  type ServerSettings,
  shownOptions,
} from './options.ts';
import { Follower } from './poller.ts';
import { DownloadLimit } from './sending/downloadLimit.ts';
import { FairScheduler } from './sending/fairScheduler.ts';
import { Pressure } from './sending/pressure.ts';
import { socketMemoryOfContainer } from './sending/socketMemory.ts';
import { requireFolder } from './view/readTree.ts';
import { TreeFollower } from './view/treeFollower.ts';

/** A scan of all ports sends many protocols: further unknown ones are not reported. */
const MAX_FOREIGN_KINDS = 16;
/** While the memory for connections is full, one that has not been written to for so long is cut. */
const QUIET_MS = 5000;

export interface RunningServer {
  /** `http://localhost:8080` with the base path, or with the address that the server listens on if it is a particular one. */
  readonly url: string;
  readonly port: number;
  /** Whether /readyz answers 200. */
  readonly isReady: () => boolean;
  /** Reads tree, certificates and secrets now instead of at the next poll, and tries damaged files again. */
  reload(): Promise<void>;
  /** Stops the server: see Stop. Resolves when everything is closed. Further calls return the same promise. */
  close(stop?: Stop): Promise<StopReport>;
}

export interface Stop {
  /** Time to keep serving while /readyz answers 503, so that load balancers stop sending clients. Default 0. */
  readonly pauseMs?: number;
  /** Time for running downloads to end after the pause. Default 25 s. */
  readonly graceMs?: number;
}

export interface StopReport {
  /** Connections that were cut when the grace ended. */
  readonly cut: number;
}

/**
 * Serves a tree over HTTP. Resolves when the server listens and has read the tree, or has found that there is none yet.
 * @throws ServerOptionInvalid, ServerPortTaken, ServerAddressUnusable, ServerTlsUnusable, TreeUnusable
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const given = resolveOptions(options);
  const mostConnections = given.tls === undefined ? given.maxConnections : given.maxTlsConnections;
  const descriptors = planDescriptors(given.maxDescriptors ?? descriptorLimit(), mostConnections);
  const settings = { ...given, maxConnections: descriptors.connections };
  const { treeDir, pollMs, retryAfterSeconds, credentials, tls, encoding, onEvent } = settings;
  await requireFolder(treeDir);
  const material = tls === undefined ? undefined : await readTlsFiles(tls);

  const cache = new ChunkCache(settings.cacheBytes);
  const openFiles = Math.ceil(descriptors.openFiles / (settings.images === undefined ? 1 : 2));
  const store = new ContentStore({ cache, maxOpenFiles: openFiles, onEvent });
  const view = { ...settings, isPublic: credentials === undefined };
  const follower = new TreeFollower({ ...settings, view }, store);
  const scrubber = createScrubber(store, settings);
  const downloads = new DownloadLimit(settings.maxDownloads, settings.maxWaitingDownloads, settings.maxDownloadWaitMs);
  const shareOf = shareKeys(settings.sharedAddresses);
  const pressure = new Pressure(() => downloads.running);
  const memory = settings.socketMemory ?? socketMemoryOfContainer();
  const scheduler = new FairScheduler(memory, () => makeRoom());

  const server = createHttpServer(settings, material);
  const inTurn = (action: () => void): void => scheduler.addAction(action);
  const connections = new Connections(server, { ...settings, inTurn });
  const makeRoom = roomMaker(connections, settings);
  const metrics = new Metrics();
  const troubles = new Troubles();
  const log = createAccessLog(settings);
  const status = new Status({ follower, store, cache, downloads, connections, log });
  const pages = lazyPages(settings, {
    store,
    follower,
    status,
    troubles,
    inTurn,
    renderMetrics: () => metrics.render(follower.view, status.gauges()),
  });
  const sending = { cache, scheduler, memory, downloads, shareOf, encoding, pressure, onEvent };
  const images =
    settings.images === undefined
      ? undefined
      : await openImages(settings.images, settings, { ...sending, maxOpenFiles: openFiles });
  const access = credentials === undefined ? undefined : new Access(credentials);
  const listener = createListener({
    settings,
    pages,
    notReady: () => status.notReady(),
    access,
    requiresCertificate: tls?.clientCaFile !== undefined,
    files: new FileService({ store, follower, ...sending }),
    registry: images?.registry,
    follower,
    connections,
    rules: {
      isDraining: () => status.isDraining,
      retryAfterSeconds,
      onAnswered: (report: AnswerReport) => {
        metrics.add(report.file?.digest === undefined ? report : { ...report, file: undefined });
        troubles.add(report);
        log?.add(report);
      },
    },
  });
  // The server reads no request body, so it never sends 100 Continue. The listener refuses other expectations.
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, listener);
  const reported = new Set<string>();
  const reportOnce = (kind: string, event: ServerEvent): void => {
    if (reported.has(kind)) return;
    reported.add(kind);
    onEvent(event);
  };
  const reportForeign = (protocol: ForeignProtocol, client: string): void =>
    reportOnce(protocol, { kind: 'foreign-protocol', protocol, client });
  const isAnswering = connections.isAnswering.bind(connections);
  const onClientError = clientErrorHandler(isAnswering, (code, client, protocol, firstWord) => {
    metrics.addUnreadable(code);
    log?.addUnreadable(code, client);
    if (protocol !== undefined) reportForeign(protocol, client);
    else if (firstWord !== undefined && reported.size < MAX_FOREIGN_KINDS)
      reportOnce(`first word ${firstWord}`, { kind: 'no-http', firstWord, client });
  });
  // A client that speaks plain HTTP gets no answer: OpenSSL closes the connection.
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    if (error.code === 'ERR_SSL_HTTP_REQUEST') reportForeign('plain HTTP', plainAddress(socket.remoteAddress ?? ''));
    // Without a handshake, the answer to a client error waits for ever, and so would the connection.
    socket.destroy();
  });
  server.on('clientError', onClientError);
  server.on('connect', connectHandler(isAnswering));
  server.on('connection', () => scheduler.connectionArrived());
  server.on('drop', () => status.connectionsDropped++);

  if (descriptors.connections < mostConnections) onEvent({ kind: 'few-descriptors', ...descriptors });
  const host = await listen(server, settings.host, settings.port);
  await follower.start();
  // Loading the pages takes up to half a second of a small container, in which downloads would have to wait for the first page.
  pages().catch((error: unknown) => onEvent({ kind: 'failure', url: '/', error }));
  scrubber.start();
  images?.scrubber.start();
  if (tls !== undefined && material !== undefined)
    try {
      requireAcceptable(tls, material);
    } catch (error) {
      onEvent({ kind: 'tls-doubtful', error });
    }
  const certificates =
    tls === undefined || material === undefined || !isSecure(server)
      ? undefined
      : new Follower(material, {
          pollMs,
          read: () => readTlsFiles(tls),
          onChange: (found, former) => {
            if (found.cert !== former.cert) requireAcceptable(tls, found);
            server.setSecureContext(found);
            // Clients need certificates of other authorities than before.
            if (found.ca !== former.ca) connections.retire();
            onEvent({ kind: 'tls-loaded' });
          },
          onUnusable: error => onEvent({ kind: 'tls-unusable', error }),
        });
  const { rereadCredentials } = settings;
  const secrets =
    access === undefined || credentials === undefined || rereadCredentials === undefined
      ? undefined
      : new Follower(credentials, {
          pollMs,
          read: async () => {
            const found = await rereadCredentials();
            requireCredentials(found);
            return found;
          },
          onChange: found => {
            access.replace(found);
            onEvent({ kind: 'credentials-loaded' });
          },
          onUnusable: error => onEvent({ kind: 'credentials-unusable', error }),
        });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : settings.port;

  const stop = async ({ pauseMs = 0, graceMs = 25_000 }: Stop): Promise<StopReport> => {
    status.isDraining = true;
    if (pauseMs > 0) await wait(pauseMs);
    await acceptWaiting(server);
    const closed = stopListening(server);
    const drained = new AbortController();
    let cut = 0;
    const grace = wait(graceMs, undefined, { signal: drained.signal }).then(
      () => {
        cut = connections.unfinished;
        server.closeAllConnections();
        connections.closeAll();
      },
      () => {},
    );
    await connections.drain();
    drained.abort();
    const followers = [follower, scrubber, images?.scrubber, certificates, secrets];
    await Promise.all([grace, closed, ...followers.map(running => running?.stop())]);
    store.close();
    images?.store.close();
    await log?.close();
    return { cut };
  };
  let stopping: Promise<StopReport> | undefined;
  return {
    url: urlOf({ ...settings, host }, port),
    port,
    isReady: () => status.notReady() === undefined,
    reload: async () => {
      await Promise.all([follower.reload(), certificates?.reload(), secrets?.reload()]);
    },
    close: (how = {}) => {
      stopping ??= stop(how);
      return stopping;
    },
  };
}

interface OpenImages {
  readonly registry: RegistryPages;
  readonly store: ContentStore;
  readonly scrubber: Scrubber;
}

/** Reads the images, which then share the limits and the memory of the tree's files. Loads the code only if there are some. */
async function openImages(
  path: string,
  settings: ServerSettings,
  { maxOpenFiles, ...sending }: Omit<FileServiceParts, 'store' | 'follower'> & { readonly maxOpenFiles: number },
): Promise<OpenImages> {
  const [{ ROOT, readImages }, { errorBody, isOfRegistry, RegistryApi }] = await Promise.all([
    import('./oci/readImages.ts'),
    import('./oci/registryApi.ts'),
  ]);
  const images = await readImages(path);
  const { incomplete, entries } = images;
  if (incomplete.length > 0) settings.onEvent({ kind: 'images-incomplete', path, images: incomplete, of: entries });
  // The bundle is no part of the tree, below which the other paths are.
  const onEvent: ServerSettings['onEvent'] = event =>
    settings.onEvent(event.kind === 'content' ? { ...event, paths: event.paths.map(it => `${ROOT}${it}`) } : event);
  const store = new ContentStore({ cache: sending.cache, maxOpenFiles, onEvent });
  store.adopt(ROOT, images.contents);
  // The images do not change while the server runs.
  const follower = { check: async () => undefined, view: { files: images.blobs } };
  const api = new RegistryApi(images, new FileService({ ...sending, store, follower }));
  return {
    registry: {
      has: isOfRegistry,
      serve: (answer, head, target, query) => api.serve(answer, head, target, query),
      errorBody,
    },
    store,
    scrubber: createScrubber(store, settings),
  };
}

/** Returns a function that makes room while slow clients fill the memory for connections. */
function roomMaker(connections: Connections, { onEvent, repeatReportMs }: ServerSettings): () => void {
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    if (!connections.resetQuietest(QUIET_MS) || performance.now() - reportedAtMs < repeatReportMs) return;
    reportedAtMs = performance.now();
    onEvent({ kind: 'slow-clients' });
  };
}

function createScrubber(store: ContentStore, settings: ServerSettings): Scrubber {
  return new Scrubber(store, {
    pauseMs: settings.scrubPauseMs,
    maxHashAgeMs: settings.maxHashAgeMs,
    bytesPerSecond: settings.scrubBytesPerSecond,
  });
}

function createAccessLog({ accessLog: kind, writeAccessLog: write }: ServerSettings): AccessLog | undefined {
  return write === undefined ? undefined : new AccessLog({ kind, write });
}

interface PageSources {
  readonly store: ContentStore;
  readonly follower: TreeFollower;
  readonly status: Status;
  readonly troubles: Troubles;
  readonly inTurn: (action: () => void) => void;
  readonly renderMetrics: () => string;
}

/** Returns a function that loads Express at its first call. */
function lazyPages(
  settings: ServerSettings,
  { store, follower, status, troubles, inTurn, renderMetrics }: PageSources,
): () => Promise<Pages> {
  const { onEvent, readHigress } = settings;
  const onFailure = (url: string, error: unknown): void => onEvent({ kind: 'failure', url, error });
  const sources = {
    options: shownOptions(settings),
    lockFile: settings.lockFile,
    notReady: (language?: 'en' | 'zh') => status.notReady(language),
    view: () => follower.view,
    gauges: () => status.gauges(),
    contents: () => store.contents,
    troubles,
  };
  let loading: Promise<Pages> | undefined;
  return () => {
    loading ??= import('./pages/app.ts').then(({ createPages }) =>
      createPages({
        ...settings,
        readHigress,
        treeRoot: () => store.root,
        status: settings.status ? sources : undefined,
        notReady: sources.notReady,
        contents: sources.contents,
        check: content => store.check(content),
        inTurn,
        renderMetrics,
        onFailure,
      }),
    );
    return loading;
  };
}

function urlOf({ host, basePath, tls }: ServerSettings, port: number): string {
  const isAnyAddress = host === '0.0.0.0' || host === '::';
  const name = isAnyAddress ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${tls === undefined ? 'http' : 'https'}://${name}:${port}${basePath}`;
}
