import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { TlsSettings } from '../../hosts/trust.ts';

/** The proxy failed before the registry was reached; `status` if it answered at all. */
export class TunnelFailed extends Error {
  readonly status: number | undefined;

  constructor(message: string, status: number | undefined, cause: unknown) {
    super(message, { cause });
    this.name = 'TunnelFailed';
    this.status = status;
  }
}

export interface TunnelSettings {
  readonly proxy: URL;
  /** For a proxy that is itself spoken to over TLS. */
  readonly proxyTls: TlsSettings;
  readonly timeoutMs: number;
  /** Ends tunnels that are still being opened. */
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

/** `Proxy-Authorization` for the user info of a proxy's URL (RFC 7617), or nothing. */
export function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === '' && proxy.password === '') return {};
  const plain = `${decode(proxy.username)}:${decode(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(plain).toString('base64')}` };
}

/** A connection to `HOST:PORT` through the proxy. @throws TunnelFailed */
export function openTunnel({ proxy, proxyTls, timeoutMs, signal }: TunnelSettings, target: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const send = proxy.protocol === 'https:' ? https.request : http.request;
    const request = send({
      ...(proxy.protocol === 'https:' ? proxyTls : {}),
      host: proxy.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...proxyAuthorization(proxy) },
      agent: false,
      maxHeaderSize: 256 * 1024,
      signal,
    });
    const alarm = setTimeout(() => {
      request.destroy(Object.assign(new Error('the proxy did not answer in time'), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    request.once('connect', (response, socket, head) => {
      clearTimeout(alarm);
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
      clearTimeout(alarm);
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
