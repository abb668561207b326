import { BlockList, isIP } from 'node:net';
import type { HostChoice } from '../registry.ts';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

// RFC 1918, RFC 6598, RFC 3927 (with the metadata services of clouds), RFC 4193, RFC 4291, and "this host".
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

/** Returns true for localhost and literal loopback addresses. `hostname` as in URLs and references. */
export function isLoopback(hostname: string): boolean {
  const name = bareHost(hostname);
  return name === 'localhost' || name.endsWith('.localhost') || inList(LOOPBACK, name);
}

/** Returns true for a literal address of a private, link-local or loopback network, and for localhost. */
export function isPrivateLiteral(hostname: string): boolean {
  return isLoopback(hostname) || inList(PRIVATE, bareHost(hostname));
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

function inList(list: BlockList, name: string): boolean {
  const family = isIP(name);
  return family !== 0 && list.check(name, family === 6 ? 'ipv6' : 'ipv4');
}

/** Where a registry's API is, and the repository's name there. */
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
