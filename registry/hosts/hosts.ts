import { BlockList, isIP } from 'node:net';
import { shortLine } from '../../base/printable.ts';
import { withoutLogin } from '../reference.ts';
import type { HostChoice } from '../registry.ts';

/** Returns true for localhost and literal loopback addresses. `hostname` as in URLs and references. */
export function isLoopback(hostname: string): boolean {
  const name = bareHost(hostname);
  return name === 'localhost' || name.endsWith('.localhost') || (isIP(name) !== 0 && addressKind(name) === 'loopback');
}

/** Returns the hostname in lower case, without the brackets of IPv6 and without a trailing dot. */
export function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
}

/** Returns true if the choice includes `HOST[:PORT]`. A missing port is the scheme's default; a name without a port does not mean all ports. */
export function includesHost(choice: HostChoice | undefined, host: string, scheme: 'http' | 'https'): boolean {
  if (choice === undefined || typeof choice === 'boolean') return choice ?? false;
  const canonical = (text: string): string =>
    URL.canParse(`${scheme}://${text}`) ? new URL(`${scheme}://${text}`).host : text;
  return choice.some(name => canonical(name) === canonical(host));
}

/** The host of a registry's API, and the repository's name there. */
export interface Endpoint {
  /** `HOST[:PORT]` of the API. */
  readonly host: string;
  readonly repository: string;
}

/** Returns the endpoint of a repository. Only for Docker Hub it differs from the reference. */
export function endpointOf(registry: string, repository: string): Endpoint {
  if (!isDockerHub(registry)) return { host: registry, repository };
  return { host: 'registry-1.docker.io', repository: repository.includes('/') ? repository : `library/${repository}` };
}

export function isDockerHub(registry: string): boolean {
  return ['docker.io', 'index.docker.io', 'registry-1.docker.io'].includes(registry.toLowerCase());
}

/**
 * The network that an address belongs to. `metadata` is for the services of clouds that give any caller credentials, and for
 * everything link-local: no registry and no storage is there.
 */
export type AddressKind = 'public' | 'private' | 'loopback' | 'metadata';

type Network = readonly [address: string, bits: number];

const LOOPBACK = networks(['127.0.0.0', 8], ['0.0.0.0', 8], ['::', 127]);
// RFC 3927 and RFC 4291, with the metadata services in them; those of Alibaba Cloud, Azure (WireServer), Oracle, AWS and Google Cloud.
const METADATA = networks(
  ['169.254.0.0', 16],
  ['fe80::', 10],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['192.0.0.192', 32],
  ['fd00:ec2::', 32],
  ['fd20:ce::254', 128],
);
// RFC 1918, RFC 6598, RFC 6890, RFC 4193, RFC 3879.
const PRIVATE = networks(
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['fc00::', 7],
  ['fec0::', 10],
);

/** The bytes of an IPv4 address in an IPv6 address. */
type Bytes = readonly [number, number, number, number];

const AT_END: Bytes = [12, 13, 14, 15];
/** RFC 6052, section 2.2: where it is in a prefix of 48, 56 and 64 bits. Byte 8 is never a part of it. */
const IN_THE_MIDDLE: readonly Bytes[] = [
  [6, 7, 9, 10],
  [7, 9, 10, 11],
  [9, 10, 11, 12],
];

/** IPv6 networks whose addresses contain an IPv4 address, and where it may be. */
const EMBEDDING: readonly (readonly [BlockList, readonly Bytes[]])[] = [
  [networks(['::ffff:0:0', 96], ['::ffff:0:0:0', 96], ['::', 96]), [AT_END]],
  // NAT64 (RFC 6052). An operator may divide the local prefix (RFC 8215) in any way.
  [networks(['64:ff9b::', 96]), [AT_END]],
  [networks(['64:ff9b:1::', 48]), [AT_END, ...IN_THE_MIDDLE]],
  // 6to4 (RFC 3056).
  [networks(['2002::', 16]), [[2, 3, 4, 5]]],
];

/** From the least trusted. */
const KINDS: readonly AddressKind[] = ['metadata', 'loopback', 'private', 'public'];

/**
 * Returns the kind of a literal address without brackets. An IPv6 address that contains an IPv4 address counts as that one, and
 * as the least trusted of several that it may contain.
 */
export function addressKind(address: string): AddressKind {
  const bare = address.replace(/%.*$/s, '');
  if (isIn(LOOPBACK, bare)) return 'loopback';
  const inner = embedded(bare).map(addressKind);
  if (inner.length > 0) return KINDS.find(kind => inner.includes(kind)) ?? 'public';
  if (isIn(METADATA, bare)) return 'metadata';
  return isIn(PRIVATE, bare) ? 'private' : 'public';
}

/** Names of metadata services, which a proxy in a cloud would look up there. */
const METADATA_NAMES: ReadonlySet<string> = new Set([
  'instance-data',
  'instance-data.ec2.internal',
  'metadata',
  'metadata.azure.internal',
  'metadata.goog',
  'metadata.google.internal',
  'metadata.tencentyun.com',
]);

/** Returns the kind of a host as far as its name shows it, without a lookup: `public` for most names. */
export function kindOfName(hostname: string): AddressKind {
  const name = bareHost(hostname);
  if (METADATA_NAMES.has(name)) return 'metadata';
  return isLoopback(name) ? 'loopback' : addressKind(name);
}

function embedded(address: string): string[] {
  const found = isIP(address) === 6 ? EMBEDDING.find(([list]) => isIn(list, address)) : undefined;
  if (found === undefined) return [];
  const bytes = bytesOf(address);
  const inner = found[1].map(positions => positions.map(at => bytes[at]).join('.'));
  // Where the address is in one position, the other positions mostly begin with zeros.
  const filled = inner.filter(each => !each.startsWith('0.'));
  return filled.length > 0 ? filled : inner.slice(0, 1);
}

function bytesOf(address: string): number[] {
  // The URL parser writes an address in its canonical form, without a dotted part.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map(it => Number.parseInt(it, 16)));
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = new Array<number>(8 - before.length - after.length).fill(0);
  return [...before, ...zeros, ...after].flatMap(group => [group >> 8, group & 0xff]);
}

function networks(...all: readonly Network[]): BlockList {
  const list = new BlockList();
  for (const [address, bits] of all) list.addSubnet(address, bits, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return list;
}

function isIn(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Returns a URL for a message, without user info and query string, which may hold secrets. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${shortLine(url.pathname, 300)}`;
}

/** No server of a registry has a longer address. */
const LONGEST_TARGET = 8192;

/** Returns a server's Location or realm for a message, even if it is not a valid URL: without user info and query string. */
export function redactTarget(text: string): string {
  if (text.length > LONGEST_TARGET) return `a text of ${text.length} characters`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // In text that is not a web address, user info may be anywhere.
  return url !== undefined && /^https?:$/.test(url.protocol) ? redactUrl(url) : shortLine(bare(text), 100);
}

function bare(text: string): string {
  return withoutLogin(text).replace(/[?#].*$/s, '');
}
