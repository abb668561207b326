import { BlockList, isIP } from 'node:net';
import { RegistryOptionsInvalid } from '../errors.ts';
import { bareHost, isLoopback } from './hosts.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the proxy for a URL from HTTP_PROXY, HTTPS_PROXY and NO_PROXY, the lower-case forms first, as in curl; undefined for
 * a direct connection. Loopback is never reached through a proxy on another machine, which would connect to its own loopback.
 * @throws RegistryOptionsInvalid if the proxy is not an http or https URL
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const name = url.protocol === 'https:' ? 'https_proxy' : 'http_proxy';
  const text = read(env, name);
  if (text === undefined) return undefined;
  const proxy = parseProxy(text, name);
  if (isLoopback(url.hostname) && !isLoopback(proxy.hostname)) return undefined;
  return isExempt(url, read(env, 'no_proxy') ?? '') ? undefined : proxy;
}

/**
 * Returns true if NO_PROXY includes the URL's host. Entries are `*`, a host with its subdomains (`example.com`,
 * `.example.com`, `*.example.com`), each with an optional port, a literal address, or a network of literal addresses
 * (`10.0.0.0/8`).
 */
export function isExempt(url: URL, noProxy: string): boolean {
  const host = bareHost(url.hostname);
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return noProxy
    .split(/[\s,]+/)
    .filter(entry => entry !== '')
    .some(entry => matches(entry.toLowerCase(), host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const network = /^\[?([0-9a-f.:]+)\]?\/(\d{1,3})$/.exec(entry);
  if (network !== null) return inNetwork(host, network[1] ?? '', Number(network[2]));
  if (isIP(bareHost(entry)) === 6) return sameAddress(bareHost(entry), host);
  const withPort = /^(.*):(\d+)$/.exec(entry);
  if (withPort !== null && withPort[2] !== port) return false;
  const name = bareHost(withPort?.[1] ?? entry);
  if (isIP(name) !== 0) return sameAddress(name, host);
  const suffix = name.replace(/^\*?\./, '');
  return suffix !== '' && (host === suffix || (host.endsWith(`.${suffix}`) && isIP(host) === 0));
}

function sameAddress(entry: string, host: string): boolean {
  return isIP(host) === isIP(entry) && inNetwork(host, entry, isIP(entry) === 6 ? 128 : 32);
}

function inNetwork(host: string, network: string, bits: number): boolean {
  const family = isIP(network);
  if (family === 0 || isIP(host) === 0 || bits > (family === 6 ? 128 : 32)) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, family === 6 ? 'ipv6' : 'ipv4');
  return list.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}

function read(env: Environment, name: string): string | undefined {
  return env[name]?.trim() || env[name.toUpperCase()]?.trim() || undefined;
}

function parseProxy(text: string, name: string): URL {
  // As in curl and Go, HOST:PORT without a scheme means http.
  const url = tryUrl(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.hostname !== '') return url;
  throw new RegistryOptionsInvalid(`The proxy in ${name.toUpperCase()} cannot be used`, {
    subject: name.toUpperCase(),
    expected: 'http://HOST:PORT or https://HOST:PORT',
    found: url === undefined ? 'not a URL' : `a proxy of kind ${url.protocol.replace(':', '')}`,
    hint: `Set ${name.toUpperCase()} to an HTTP proxy, or name the registry in NO_PROXY.`,
  });
}

function tryUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
