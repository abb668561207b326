import { BlockList, isIP } from 'node:net';
import type { HostChoice } from '../registry.ts';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

// RFC 1918, RFC 6598, RFC 3927 (cloud metadata lives there), RFC 4193, RFC 4291, and "this host".
const PRIVATE = new BlockList();
for (const [address, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const)
  PRIVATE.addSubnet(address, bits, 'ipv4');
for (const [address, bits] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
] as const)
  PRIVATE.addSubnet(address, bits, 'ipv6');

/** True for localhost and literal loopback addresses; takes a hostname as URLs and references write it. */
export function isLoopback(hostname: string): boolean {
  const name = bareHost(hostname);
  return name === 'localhost' || name.endsWith('.localhost') || inList(LOOPBACK, name);
}

/** True for a literal address of a private, link-local or loopback network, and for localhost. */
export function isPrivateLiteral(hostname: string): boolean {
  return isLoopback(hostname) || inList(PRIVATE, bareHost(hostname));
}

/** Lower case, without the brackets of IPv6 and without the root's dot. */
export function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
}

/** True if the choice takes in `HOST[:PORT]`. A missing port is the scheme's own; one name never stands for all ports. */
export function includesHost(choice: HostChoice | undefined, host: string, scheme: 'http' | 'https'): boolean {
  if (choice === undefined || typeof choice === 'boolean') return choice ?? false;
  const canonical = (text: string): string =>
    URL.canParse(`${scheme}://${text}`) ? new URL(`${scheme}://${text}`).host : text;
  return choice.some(name => canonical(name) === canonical(host));
}

function inList(list: BlockList, name: string): boolean {
  const family = isIP(name);
  return family !== 0 && list.check(name, family === 6 ? 'ipv6' : 'ipv4');
}

/** Where a registry's API really is, and how its repositories are called there. */
export interface Endpoint {
  /** `HOST[:PORT]` of the API. */
  readonly host: string;
  readonly repository: string;
}

/** Docker Hub is the one registry whose references name neither its API's host nor the whole repository. */
export function endpointOf(registry: string, repository: string): Endpoint {
  if (!isDockerHub(registry)) return { host: registry, repository };
  return { host: 'registry-1.docker.io', repository: repository.includes('/') ? repository : `library/${repository}` };
}

export function isDockerHub(registry: string): boolean {
  return ['docker.io', 'index.docker.io', 'registry-1.docker.io'].includes(registry.toLowerCase());
}
