import { isIP } from 'node:net';
import type { HostChoice } from '../registry.ts';
import { addressKind } from './addresses.ts';

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
