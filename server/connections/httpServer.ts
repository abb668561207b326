import { createServer, IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import { Server as NetServer } from 'node:net';
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import { errno } from '../../base/errno.ts';
import { listenError } from '../errors.ts';
import type { ServerSettings } from '../options.ts';
import type { TlsMaterial } from './tlsFiles.ts';

export type HttpServer = Server | SecureServer;

/** Interval at which Node checks headersTimeout and requestTimeout. */
export const TIMEOUT_CHECK_MS = 1000;

const ANY_ADDRESS = '::';
const ANY_IPV4 = '0.0.0.0';
/** Errors of listen() at `::` where IPv6 is not compiled in, turned off, or has no address. */
const NO_IPV6: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL', 'EPROTONOSUPPORT']);

const MAX_HEADER_BYTES = 16 * 1024;
/** Gateways that start together connect together; the kernel delays connections beyond its backlog by seconds. */
const BACKLOG = 4096;
/** Clients that connect without end must not keep the server from closing its port. */
const MAX_ACCEPTING_MS = 2000;
/** A connection in its TLS handshake delays a stop at most this long. */
const MAX_HANDSHAKE_MS = 10_000;

/**
 * A request that is destroyed with its connection. Nothing reads its body, so nothing needs its error: of a flood of
 * pipelined requests each would get one.
 */
class Request extends IncomingMessage {
  override destroy(): this {
    return this;
  }
}

/** Creates a server with this program's limits. `material`: serve HTTPS with it. */
export function createHttpServer(settings: ServerSettings, material: TlsMaterial | undefined): HttpServer {
  const limits = {
    IncomingMessage: Request,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: Math.min(settings.headersTimeoutMs, settings.requestTimeoutMs),
    requestTimeout: settings.requestTimeoutMs,
    keepAliveTimeout: settings.keepAliveTimeoutMs,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    insecureHTTPParser: false,
    noDelay: true,
    // The listener refuses a request without a Host, so that it is counted and logged.
    requireHostHeader: false,
  };
  const server =
    material === undefined
      ? createServer(limits)
      : createSecureServer({
          ...limits,
          ...material,
          handshakeTimeout: Math.min(settings.headersTimeoutMs, MAX_HANDSHAKE_MS),
          // Health checks have no certificate; for all other requests the listener requires a valid one.
          requestCert: material.ca !== undefined,
          rejectUnauthorized: false,
        });
  // With a limit Node would drop further lines silently, a second Host among them. The listener refuses too many lines.
  server.maxHeadersCount = 0;
  server.maxConnections = settings.maxConnections;
  server.timeout = settings.stallTimeoutMs;
  // RFC 9112, section 9.6: a client that has closed its sending side may still receive the whole answer.
  Object.assign(server, { httpAllowHalfOpen: true });
  return server;
}

export function isSecure(server: HttpServer): server is SecureServer {
  return 'setSecureContext' in server;
}

/**
 * Returns the address that the server listens on. `::` is every address of the machine, IPv6 and IPv4; on a machine without
 * IPv6, 0.0.0.0 takes its place.
 * @throws ServerPortTaken, ServerAddressUnusable
 */
export async function listen(server: HttpServer, host: string, port: number): Promise<string> {
  try {
    await listenAt(server, host, port);
    return host;
  } catch (error) {
    if (host !== ANY_ADDRESS || !NO_IPV6.has(errno(error) ?? '')) throw listenError(error, host, port);
  }
  await listenAt(server, ANY_IPV4, port).catch((error: unknown) => {
    throw listenError(error, ANY_IPV4, port);
  });
  return ANY_IPV4;
}

async function listenAt(server: HttpServer, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: BACKLOG, ipv6Only: false }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Accepts the connections that wait in the kernel, which resets them when the port is closed. Node.js accepts only some of them
 * in each turn of the event loop.
 */
export async function acceptWaiting(server: HttpServer): Promise<void> {
  let accepted = 0;
  const count = (): void => void accepted++;
  server.on('connection', count);
  const untilMs = performance.now() + MAX_ACCEPTING_MS;
  for (let quietTurns = 0; quietTurns < 2 && performance.now() < untilMs; ) {
    const before = accepted;
    await eventLoopTurn();
    quietTurns = accepted === before ? quietTurns + 1 : 0;
  }
  server.off('connection', count);
}

/**
 * Closes the port. Resolves when all connections are closed too. Does not call close() of node:http, which destroys the
 * connections that Node considers idle: also those whose last answer has not been sent to its end.
 */
export async function stopListening(server: HttpServer): Promise<void> {
  await new Promise<void>(resolve => NetServer.prototype.close.call(server, () => resolve()));
  // The port is closed: this ends the interval in which Node checks the timeouts of connections.
  server.close();
}
