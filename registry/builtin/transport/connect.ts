import http from 'node:http';
import { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import type { buildConnector } from 'undici';
import { withinTime } from '../../../base/withinTime.ts';
import { RegistryRefusal } from '../../errors.ts';
import { dial } from '../../hosts/dial.ts';
import { type AddressKind, bareHost } from '../../hosts/hosts.ts';
import type { TlsSettings, Trust } from '../../hosts/trust.ts';
import { decoded } from '../faults/errorBody.ts';
import { TunnelFailed } from '../faults/proxyErrors.ts';
import { CertificateRejected, summarizeChain } from '../faults/tlsErrors.ts';
import { isWebPage } from '../http/reply.ts';

/** How to connect to a server. */
export interface Route {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly trust: Trust;
  /** For each of: the connection, a TLS handshake, the proxy's reply. */
  readonly timeoutMs: number;
  /** Ends connections that are being opened. */
  readonly signal: AbortSignal;
  /** Judges the address of the server itself, where this machine connects to it. Default: all are allowed. */
  readonly allows?: (kind: AddressKind) => boolean;
}

/** A connector for undici. `onAddress` gets the address of each connection that is not made by a proxy. */
export function connectorFor(route: Route, onAddress: (address: string) => void): buildConnector.connector {
  let session: Buffer | undefined;
  const open = async (): Promise<Socket> => {
    const { socket, address } = await openSocket(route);
    if (address !== undefined) onAddress(address);
    if (route.url.protocol !== 'https:') return socket;
    const settings = await route.trust.settingsFor(route.url.host);
    const secure = await openTls(socket, route.url, settings, route, session);
    secure.on('session', (latest: Buffer) => {
      session = latest;
    });
    return secure;
  };
  return (_, callback) => {
    open().then(
      socket => callback(null, socket as tls.TLSSocket),
      (error: Error) => callback(error, null),
    );
  };
}

/** A connection to a server, and the address of that server unless a proxy connects to it. */
interface Opened {
  readonly socket: Socket;
  readonly address?: string;
}

/**
 * Opens a connection to a server: directly, through the tunnel of a proxy (RFC 9110, 9.3.6), or, for plain http, to the proxy
 * that forwards requests. @throws TunnelFailed if the proxy fails; otherwise what `dial` throws
 */
export async function openSocket(route: Route): Promise<Opened> {
  const { url, proxy } = route;
  if (proxy === undefined) return dial({ hostname: url.hostname, port: portOf(url) }, route);
  try {
    const { allows: _, ...toProxy } = route;
    const { socket: plain } = await dial({ hostname: proxy.hostname, port: portOf(proxy) }, toProxy);
    const isSecure = proxy.protocol === 'https:';
    const socket = isSecure ? await openTls(plain, proxy, await route.trust.settingsFor(proxy.host), route) : plain;
    return { socket: url.protocol === 'https:' ? await openTunnel(socket, route, proxy) : socket };
  } catch (error) {
    if (error instanceof TunnelFailed || error instanceof RegistryRefusal || !(error instanceof Error)) throw error;
    throw new TunnelFailed(error.message, undefined, error);
  }
}

/**
 * Does a TLS handshake and checks the certificate, unless the settings accept any. Node's own check would destroy the
 * connection before the certificate can be described. @throws CertificateRejected, the error of the socket
 */
export function openTls(
  socket: Socket,
  url: URL,
  { secureContext, rejectUnauthorized }: TlsSettings,
  { timeoutMs, signal }: Pick<Route, 'timeoutMs' | 'signal'>,
  session?: Buffer,
): Promise<tls.TLSSocket> {
  const host = bareHost(url.hostname);
  const secure = tls.connect({
    socket,
    secureContext,
    rejectUnauthorized: false,
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(session === undefined ? {} : { session }),
    ALPNProtocols: ['http/1.1'],
  });
  return opened(secure, 'secureConnect', timeoutMs, signal, () => {
    if (secure.authorized || !rejectUnauthorized) return;
    throw new CertificateRejected(
      String(secure.authorizationError),
      summarizeChain(secure.getPeerCertificate(true) as tls.PeerCertificate),
    );
  });
}

/** Returns a `Proxy-Authorization` header for the user info of a proxy's URL (RFC 7617), or no header. */
export function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === '' && proxy.password === '') return {};
  const plain = `${decoded(proxy.username)}:${decoded(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(plain).toString('base64')}` };
}

export function portOf(url: URL): number {
  return Number(url.port || (url.protocol === 'https:' ? 443 : 80));
}

/** Asks the proxy behind `socket` for a connection to the server. @throws TunnelFailed */
function openTunnel(socket: Socket, { url, timeoutMs, signal }: Route, proxy: URL): Promise<Socket> {
  const target = `${url.hostname}:${portOf(url)}`;
  return new Promise((resolve, reject) => {
    const request = http.request({
      createConnection: () => socket,
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...proxyAuthorization(proxy) },
      maxHeaderSize: 256 * 1024,
      signal,
    });
    const timer = setTimeout(() => {
      request.destroy(Object.assign(new Error('the proxy did not answer in time'), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    request.once('connect', (response, tunnel, head) => {
      clearTimeout(timer);
      const { statusCode: status = 0, headers } = response;
      // RFC 9110, 9.3.6: any 2xx opens the tunnel, and has no content. The server behind it does not speak first in TLS.
      const isTunnel = status >= 200 && status < 300 && head.length === 0 && !isWebPage(response);
      if (isTunnel) {
        resolve(tunnel);
        return;
      }
      tunnel.on('error', () => {});
      tunnel.destroy();
      reject(new TunnelFailed(`the proxy answered ${status}`, { status, headers, body: head }, undefined));
    });
    request.once('error', error => {
      clearTimeout(timer);
      reject(new TunnelFailed(error.message, undefined, error));
    });
    request.end();
  });
}

/** Waits for the socket's event, and for `check` of it; destroys the socket if one of them fails. */
async function opened<S extends Socket>(
  socket: S,
  event: string,
  timeoutMs: number,
  signal: AbortSignal,
  check: () => void,
): Promise<S> {
  const opening = new Promise<void>((resolve, reject) => {
    socket.once(event, resolve);
    socket.on('error', reject);
    socket.once('close', () => reject(Object.assign(new Error('it was closed'), { code: 'ECONNRESET' })));
  });
  try {
    await withinTime(timeoutMs, signal, opening);
    check();
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}
