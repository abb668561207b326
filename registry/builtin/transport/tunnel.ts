import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import { bareHost } from '../../hosts/hosts.ts';
import type { TlsSettings } from '../../hosts/trust.ts';
import { TunnelFailed } from '../faults/transportErrors.ts';

export interface TunnelSettings {
  readonly proxy: URL;
  /** For a proxy that is itself reached over TLS. */
  readonly proxyTls: TlsSettings;
  readonly timeoutMs: number;
  /** Ends tunnels that are being opened. */
  readonly signal: AbortSignal;
}

/** A connector for undici that opens TLS inside a CONNECT tunnel (RFC 9110, 9.3.6). */
export function tunnelConnector(
  settings: TunnelSettings,
  connectTls: buildConnector.connector,
): buildConnector.connector {
  return (options, callback) => {
    openTunnel(
      settings,
      `${options.hostname.includes(':') ? `[${options.hostname}]` : options.hostname}:${options.port || 443}`,
    )
      .then(httpSocket => connectTls({ ...options, httpSocket }, callback))
      .catch((error: Error) => callback(error, null));
  };
}

/** Returns a `Proxy-Authorization` header for the user info of a proxy's URL (RFC 7617), or no header. */
export function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === '' && proxy.password === '') return {};
  const plain = `${decode(proxy.username)}:${decode(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(plain).toString('base64')}` };
}

/** Opens a connection to `HOST:PORT` through the proxy. @throws TunnelFailed */
export function openTunnel({ proxy, proxyTls, timeoutMs, signal }: TunnelSettings, target: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const send = proxy.protocol === 'https:' ? https.request : http.request;
    const request = send({
      ...(proxy.protocol === 'https:' ? proxyTls : {}),
      host: bareHost(proxy.hostname),
      port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...proxyAuthorization(proxy) },
      agent: false,
      maxHeaderSize: 256 * 1024,
      signal,
    });
    const timer = setTimeout(() => {
      request.destroy(Object.assign(new Error('the proxy did not answer in time'), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    request.once('connect', (response, socket, head) => {
      clearTimeout(timer);
      if (response.statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.on('error', () => {});
      socket.destroy();
      reject(new TunnelFailed(`the proxy answered ${response.statusCode}`, response.statusCode, undefined));
    });
    request.once('error', error => {
      clearTimeout(timer);
      reject(new TunnelFailed(error.message, undefined, error));
    });
    request.end();
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
