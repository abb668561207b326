import { isIP } from 'node:net';

/** The target of a WasmPlugin's URL, from the point of view of a mirror. */
export type Target =
  /** `/plugins/<name>/<version>/plugin.wasm` of the mirror. */
  | { readonly kind: 'module'; readonly name: string; readonly version: string }
  /** Another path of the mirror. */
  | { readonly kind: 'path'; readonly path: string }
  | {
      readonly kind: 'otherHost';
      readonly host: string;
      readonly isInCluster: boolean;
      readonly path: string;
      readonly module?: ModulePath;
    }
  | { readonly kind: 'oci'; readonly reference: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'invalid'; readonly found: string };

/** Under which addresses gateways reach the mirror. */
export interface MirrorAddress {
  /** URLs below which `/plugins/` is. */
  readonly bases: readonly URL[];
  /** Take every host in the cluster or in a private network for the mirror. Default: if there are no bases. */
  readonly anyPrivateHost?: boolean;
}

export interface ModulePath {
  readonly name: string;
  readonly version: string;
}

/**
 * Returns the target of `url`. A host is in the cluster or in a private network if its name or address can be no other.
 */
export function targetOf(url: string, { bases, anyPrivateHost = bases.length === 0 }: MirrorAddress): Target {
  if (url.startsWith('/')) return pathTarget(url, '');
  const [, scheme = ''] = /^([a-z][a-z0-9+.-]*):/i.exec(url) ?? [];
  if (scheme.toLowerCase() === 'oci') return { kind: 'oci', reference: url.slice('oci://'.length) };
  if (!URL.canParse(url)) return { kind: 'invalid', found: 'no URL' };
  const { protocol, pathname, host, hostname } = new URL(url);
  if (protocol === 'file:') return { kind: 'file', path: pathname };
  if (protocol !== 'http:' && protocol !== 'https:') return { kind: 'invalid', found: `the scheme ${protocol}//` };
  const base = bases.find(each => each.host === host && pathname.startsWith(withSlash(each.pathname)));
  if (base !== undefined) return pathTarget(pathname, base.pathname.replace(/\/$/, ''));
  const isInCluster = isPrivateName(hostname);
  const start = Math.max(0, pathname.lastIndexOf('/plugins/'));
  const module = moduleOf(pathname.slice(start));
  // A server at a known address has nothing below another path; one without an address may have any.
  const isBelow =
    bases.length === 0 ||
    ['/', ...bases.map(each => each.pathname)].some(each => withSlash(each) === withSlash(pathname.slice(0, start)));
  if (anyPrivateHost && isInCluster && isBelow && module !== undefined) return { kind: 'module', ...module };
  return { kind: 'otherHost', host, isInCluster, path: pathname, ...(module === undefined ? {} : { module }) };
}

function pathTarget(pathname: string, basePath: string): Target {
  const path = pathname.slice(basePath.length).replace(/[?#].*$/s, '');
  const module = moduleOf(path);
  return module === undefined ? { kind: 'path', path } : { kind: 'module', ...module };
}

/** Returns the name and version of `/plugins/<name>/<version>/plugin.wasm`; undefined for every other path. */
export function moduleOf(path: string): ModulePath | undefined {
  const [, name = '', version = ''] = /^\/plugins\/([^/]+)\/([^/]+)\/plugin\.wasm$/.exec(path) ?? [];
  try {
    return name === '' ? undefined : { name: decodeURIComponent(name), version: decodeURIComponent(version) };
  } catch {
    return undefined;
  }
}

/** `/plugins/<name>/<version>/plugin.wasm`. */
export function modulePathname({ name, version }: ModulePath): string {
  // ":", "@" and "+" need no escape in a path (RFC 3986, 3.3), and a Console writes none.
  const escaped = (part: string): string =>
    encodeURIComponent(part).replaceAll('%3A', ':').replaceAll('%40', '@').replaceAll('%2B', '+');
  return `/plugins/${escaped(name)}/${escaped(version)}/plugin.wasm`;
}

/** Whether `HOST[:PORT]` of an image is the mirror, which serves images too (`serve --images`). */
export function isMirrorHost(host: string, { bases, anyPrivateHost = bases.length === 0 }: MirrorAddress): boolean {
  return bases.some(base => base.host === host) || (anyPrivateHost && isPrivateName(host.replace(/:\d+$/, '')));
}

/** Suffixes of cluster DNS and of private networks (RFC 6762, RFC 8375, RFC 9476 and ICANN's `internal`). */
const privateSuffix = /(?:^|\.)(?:svc|local|internal|localhost|home\.arpa|lan|intranet|corp)$/;

/** Whether a host name cannot be that of a host on the internet. */
function isPrivateName(hostname: string): boolean {
  const name = hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  if (isIP(name) === 4)
    return /^(?:10|127|169\.254|192\.168|172\.(?:1[6-9]|2\d|3[01])|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(
      name,
    );
  if (isIP(name) === 6) return /^(?:::1$|f[cd]|fe[89ab])/.test(name);
  // SERVICE.NAMESPACE as pods may write it: no top-level domain has a hyphen but those in punycode.
  const last = name.split('.').at(-1) ?? '';
  return !name.includes('.') || privateSuffix.test(name) || (last.includes('-') && !last.startsWith('xn--'));
}

function withSlash(path: string): string {
  return path.endsWith('/') ? path : `${path}/`;
}
