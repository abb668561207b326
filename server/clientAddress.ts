import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

const IPV6_GROUPS = 8;
/** A network gives each of its users at least a /64 of IPv6. */
const NETWORK_GROUPS = 4;

/** Returns the address that the outermost trusted proxy saw, or the peer's. IPv4 addresses have their usual form. */
export function clientOf(request: IncomingMessage, trustedProxies: number): string {
  const peer = plainAddress(request.socket.remoteAddress ?? '');
  if (trustedProxies === 0) return peer;
  const forwarded = request.headers['x-forwarded-for'];
  const hops = (Array.isArray(forwarded) ? forwarded.join(',') : (forwarded ?? '')).split(',').map(hop => hop.trim());
  const chain = [...hops.filter(hop => hop !== ''), peer];
  const reported = chain[Math.max(0, chain.length - 1 - trustedProxies)] ?? '';
  return isIP(reported) === 0 ? peer : plainAddress(reported);
}

/** A socket that listens for IPv6 and IPv4 reports an IPv4 address as `::ffff:192.0.2.1` (RFC 4291, section 2.5.5.2). */
export function plainAddress(address: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(address) ? address.slice('::ffff:'.length) : address;
}

/**
 * Returns a function from a client's address to the key under which its downloads are counted: the address, or its /64 for
 * IPv6. Undefined for addresses that many clients share (`shared`: addresses or networks such as 10.0.0.0/8).
 */
export function shareKeys(shared: readonly string[]): (client: string) => string | undefined {
  const list = new BlockList();
  for (const entry of shared) addTo(list, entry);
  return client => {
    const version = isIP(client);
    if (shared.length > 0 && version !== 0 && list.check(client, version === 6 ? 'ipv6' : 'ipv4')) return undefined;
    return version === 6 ? networkOf(client) : client;
  };
}

/** Returns whether the text is an address or a network in the form ADDRESS/BITS. */
export function isNetwork(entry: string): boolean {
  const [address = '', bits = '0', ...more] = entry.split('/');
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= most;
}

function addTo(list: BlockList, entry: string): void {
  const [address = '', bits] = entry.split('/');
  const type = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (bits === undefined) list.addAddress(address, type);
  else list.addSubnet(address, Number(bits), type);
}

function networkOf(address: string): string {
  const [before = '', after = ''] = address.split('%')[0]?.split('::') ?? [];
  const head = before === '' ? [] : before.split(':');
  const tail = after === '' ? [] : after.split(':');
  const zeros = Array.from({ length: Math.max(0, IPV6_GROUPS - head.length - tail.length) }, () => '0');
  return [...head, ...zeros, ...tail].slice(0, NETWORK_GROUPS).join(':');
}
