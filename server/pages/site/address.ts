import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';

export interface AddressSettings {
  readonly basePath: string;
  /** Number of proxies in front whose X-Forwarded fields are trusted. */
  readonly trustedProxies: number;
}

const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i;
const PREFIX = /^(?:\/[A-Za-z0-9._~-]+)*$/;

/**
 * Returns the address of this server as the reader sees it, without a slash at its end: `https://mirror.example/base`. It comes
 * from Host and the connection; behind trusted proxies from X-Forwarded-Proto, -Host and -Prefix, which the outermost of
 * them wrote. A value that is no host, scheme or path is ignored.
 */
export function publicAddress(request: IncomingMessage, { basePath, trustedProxies }: AddressSettings): string {
  const forwarded = (name: string, fits: RegExp): string | undefined => {
    if (trustedProxies === 0) return undefined;
    const field = request.headers[name];
    const values = (Array.isArray(field) ? field.join(',') : (field ?? '')).split(',').map(value => value.trim());
    const value = values[Math.max(0, values.length - trustedProxies)] ?? '';
    return value !== '' && fits.test(value) ? value : undefined;
  };
  const isTls = request.socket instanceof TLSSocket;
  const scheme = forwarded('x-forwarded-proto', /^https?$/i)?.toLowerCase() ?? (isTls ? 'https' : 'http');
  const sent = request.headers.host ?? '';
  const host = forwarded('x-forwarded-host', HOST) ?? (HOST.test(sent) ? sent : ownHost(request));
  const prefix = forwarded('x-forwarded-prefix', /^\/[\w./~-]*$/)?.replace(/\/+$/, '') ?? '';
  return `${scheme}://${host}${PREFIX.test(prefix) ? prefix : ''}${basePath}`;
}

function ownHost({ socket: { localAddress = 'localhost', localPort = 80 } }: IncomingMessage): string {
  const address = localAddress.replace(/^::ffff:/, '');
  return `${address.includes(':') ? `[${address}]` : address}:${localPort}`;
}

/** Whether only this machine reaches the address: gateways then need another one. */
export function isLoopback(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === 'localhost' || hostname.startsWith('127.') || hostname === '[::1]';
}
