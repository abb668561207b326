import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import { listenError } from '../errors.ts';
import type { ServerSettings } from '../options.ts';
import type { TlsMaterial } from './tlsFiles.ts';

export type HttpServer = Server | SecureServer;

/** Interval at which Node checks headersTimeout and requestTimeout. */
export const TIMEOUT_CHECK_MS = 1000;

const MAX_HEADER_BYTES = 16 * 1024;
/** Gateways that start together connect together; the kernel delays connections beyond its backlog by seconds. */
const BACKLOG = 4096;
/** A connection in its TLS handshake delays a stop at most this long. */
const MAX_HANDSHAKE_MS = 10_000;

/** Creates a server with this program's limits. `material`: serve HTTPS with it. */
export function createHttpServer(settings: ServerSettings, material: TlsMaterial | undefined): HttpServer {
  const limits = {
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

/** @throws ServerPortTaken, ServerAddressUnusable */
export async function listen(server: HttpServer, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject(listenError(error, host, port)));
    server.listen({ host, port, backlog: BACKLOG }, resolve);
  });
}
