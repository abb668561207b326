import { compareText } from '../../base/canonicalJson.ts';
import { formatReference } from '../../registry/reference.ts';
import { type Catalog, compareVersions } from '../../tree/catalog.ts';
import type { PluginManifest } from '../manifest/wanted.ts';
import { versionKey } from '../report.ts';
import { isLoadable } from './gatewayImage.ts';
import { type ModulePath, moduleOf, modulePathname } from './target.ts';

/** A module that a mirror has, or will have after a sync. */
export interface ServedModule extends ModulePath, ModuleContent {
  /** Another version of the plugin, whose bytes these are. */
  readonly aliasOf?: string;
  /** `HOST/REPOSITORY:TAG` or `…@DIGEST`; the path of a local module. Absent for a server that does not say. */
  readonly from?: string;
  /** The manifest digest behind `from`. */
  readonly digest?: string;
  readonly pinned?: boolean;
}

export interface ModuleContent {
  readonly sha256?: string;
  readonly sizeBytes?: number;
}

/** The modules of a manifest, of a tree or of a server. */
export interface Served {
  /** For people: `manifest.json`, a folder, a URL. */
  readonly name: string;
  readonly modules: readonly ServedModule[];
  /** Further paths of a server that return 200. */
  readonly others: ReadonlyMap<string, ModuleContent>;
  /** Paths for which a server returned neither 200 nor 404, with the status or the error. */
  readonly faults: ReadonlyMap<string, string>;
  /**
   * `REPOSITORY:TAG` of the images that `serve --images` serves → whether gateways can load it over oci://. Absent if they are not
   * known.
   */
  readonly images?: ReadonlyMap<string, boolean>;
}

export interface LockedModule {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly digest?: string;
}

/** The modules that a sync of this manifest publishes; `locked` has the entries of its lockfile, by `<name>/<version>`. */
export function servedByManifest(
  manifest: Pick<PluginManifest, 'versions' | 'aliases'>,
  locked: ReadonlyMap<string, LockedModule>,
  name: string,
): Served {
  const modules = new Map<string, ServedModule>();
  for (const wanted of manifest.versions) {
    const { name: plugin, version, source } = wanted;
    const key = versionKey(wanted);
    const from = source.kind === 'file' ? source.written : formatReference(source.reference);
    const pin = source.kind === 'image' ? source.reference.digest : undefined;
    const pinned = pin !== undefined || locked.has(key);
    const known = { ...(pin === undefined ? {} : { digest: pin }), ...locked.get(key) };
    modules.set(key, { name: plugin, version, from, pinned, ...known });
  }
  for (const alias of manifest.aliases) {
    const { name: plugin, version, target } = alias;
    const real = modules.get(versionKey({ name: plugin, version: target }));
    if (real !== undefined) modules.set(versionKey(alias), { ...real, version, aliasOf: target });
  }
  return { name, modules: [...modules.values()], others: new Map(), faults: new Map() };
}

/** The modules that a tree's index.json lists. */
export function servedByCatalog(catalog: Catalog, name: string): Served {
  const modules = catalog.plugins.flatMap(plugin =>
    plugin.versions.map(
      ({ version, aliasOf, sha256, sizeBytes, reference, digest, pinned }): ServedModule => ({
        name: plugin.name,
        version,
        sha256,
        sizeBytes,
        from: reference,
        digest,
        pinned,
        ...(aliasOf === undefined ? {} : { aliasOf }),
      }),
    ),
  );
  return { name, modules, others: new Map(), faults: new Map() };
}

/** A server's reply to a HEAD request. Header names are in lower case. */
export interface Head {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** A server's reply to a GET request. */
export interface Body extends Head {
  readonly body: Buffer;
}

/** An image that a gateway requests from the mirror. */
export interface MirrorImage {
  readonly repository: string;
  readonly tag: string;
  /** Of its module. */
  readonly path: string;
}

/** distribution-spec, Pulling manifests. */
export function manifestPath(repository: string, reference: string): string {
  return `/v2/${repository}/manifests/${reference}`;
}

export interface ServerOptions {
  /** The URL below which `/plugins/` is. */
  readonly base: URL;
  /** Paths below the base, from pathsOf. */
  readonly paths: readonly string[];
  /** From imagesOf. They are looked up only at a server that has the registry API, at `/v2/`. Default: none. */
  readonly images?: readonly MirrorImage[];
  /** Sends one HEAD request. An error that it throws is a fault of that path alone. */
  readonly head: (url: string, signal: AbortSignal) => Promise<Head>;
  /** Sends one GET request. An error that it throws is a fault of that path alone. */
  readonly get?: (url: string, signal: AbortSignal) => Promise<Body>;
  /** Requests under way at a time. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
}

/** Sends one HEAD request for each path to a running server, which need not be a plugin-mirror. */
export async function servedByServer(options: ServerOptions): Promise<Served> {
  const { base, paths, images: wanted = [], head, concurrency, signal } = options;
  const { default: pMap } = await import('p-map');
  const modules: ServedModule[] = [];
  const others = new Map<string, ModuleContent>();
  const faults = new Map<string, string>();
  await pMap(
    new Set([...paths, ...wanted.map(({ path }) => path)]),
    async path => {
      try {
        const { status, headers } = await head(`${baseUrl(base)}${path}`, signal);
        const module = moduleOf(path);
        // A page in place of a 404, as servers of web applications and of logins return it.
        if (status === 200 && /^text\/html\b/i.test(headers['content-type'] ?? ''))
          faults.set(path, 'status 200 with a page in HTML');
        else if (status === 200 && module !== undefined) modules.push({ ...module, ...contentOf(headers) });
        else if (status === 200) others.set(path, contentOf(headers));
        else if (status !== 404) faults.set(path, `status ${status}`);
      } catch (error) {
        signal.throwIfAborted();
        faults.set(path, error instanceof Error ? error.message : String(error));
      }
    },
    { concurrency, signal },
  );
  const images = wanted.length === 0 ? undefined : await imagesAt(options, faults);
  return { name: base.href, modules, others, faults, ...(images === undefined ? {} : { images }) };
}

/** Returns the images of a server, by `REPOSITORY:TAG`, and whether gateways can load each; undefined if it is no registry. */
async function imagesAt(
  { base, images = [], get, concurrency, signal }: ServerOptions,
  faults: Map<string, string>,
): Promise<Map<string, boolean> | undefined> {
  const { default: pMap } = await import('p-map');
  // The API is at the root, whatever the path of the base is.
  const read = async (path: string): Promise<Body | undefined> =>
    get?.(`${base.origin}${path}`, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      faults.set(path, error instanceof Error ? error.message : String(error));
      return undefined;
    });
  const version = await read('/v2/');
  if (version?.headers['docker-distribution-api-version'] === undefined) return undefined;
  const found = new Map<string, boolean>();
  const byName = new Map(images.map(image => [`${image.repository}:${image.tag}`, image]));
  await pMap(
    byName,
    async ([name, { repository, tag }]) => {
      const path = manifestPath(repository, tag);
      const reply = await read(path);
      const readChild = async (digest: string): Promise<Buffer | undefined> => {
        const child = await read(manifestPath(repository, digest));
        return child?.status === 200 ? child.body : undefined;
      };
      if (reply?.status === 200) found.set(name, await isLoadable(reply.body, readChild));
      else if (reply !== undefined && reply.status !== 404) faults.set(path, `status ${reply.status}`);
    },
    { concurrency, signal },
  );
  return found;
}

/** The URL of a module below a base. */
export function moduleUrl(base: URL, path: ModulePath): string {
  return `${baseUrl(base)}${modulePathname(path)}`;
}

/** The base as it can be quoted in a shell and in an .env file: quotes and `$` are escaped, and there is no slash at its end. */
export function baseUrl({ origin, pathname }: URL): string {
  return `${origin}${pathname.replace(/\/$/, '').replaceAll("'", '%27').replaceAll('$', '%24')}`;
}

/** The digest of the whole module (RFC 9530, Repr-Digest) and its size. */
function contentOf(headers: Head['headers']): ModuleContent {
  const [, base64] = /(?:^|,\s*)sha-256=:([A-Za-z0-9+/]{43}=):/.exec(headers['repr-digest'] ?? '') ?? [];
  const sizeBytes = Number(headers['content-length']);
  return {
    ...(base64 === undefined ? {} : { sha256: Buffer.from(base64, 'base64').toString('hex') }),
    ...(headers['content-length'] === undefined || !Number.isSafeInteger(sizeBytes) ? {} : { sizeBytes }),
  };
}

/** Compares names by code unit, then versions by semver, the lowest first. */
export function byNameThenVersion(one: ServedModule, other: ServedModule): number {
  return compareText(one.name, other.name) || compareVersions(one.version, other.version);
}

/** One module of a tree or a manifest, with every path that leads to it. */
export interface ListRow {
  readonly name: string;
  readonly version: string;
  /** Further versions with the same bytes. */
  readonly aliases: readonly string[];
  readonly sizeBytes?: number;
  readonly sha256?: string;
  /** The image or the local file; absent where it is not known. */
  readonly from?: string;
  readonly pinned: boolean;
}

/** The modules by name and version, aliases with the version whose bytes they are. */
export function listRows({ modules }: Pick<Served, 'modules'>): ListRow[] {
  const sorted = [...modules].sort(byNameThenVersion);
  const real = new Set(sorted.filter(({ aliasOf }) => aliasOf === undefined).map(versionKey));
  const isRow = ({ name, aliasOf }: ServedModule): boolean =>
    aliasOf === undefined || !real.has(versionKey({ name, version: aliasOf }));
  const aliases = new Map<string, string[]>();
  for (const { name, version, aliasOf } of sorted) {
    if (aliasOf === undefined) continue;
    const key = versionKey({ name, version: aliasOf });
    const known = aliases.get(key);
    if (known === undefined) aliases.set(key, [version]);
    else known.push(version);
  }
  return sorted.filter(isRow).map(({ name, version, sizeBytes, sha256, from, pinned = false }) => ({
    name,
    version,
    aliases: aliases.get(versionKey({ name, version })) ?? [],
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(from === undefined ? {} : { from }),
    pinned,
  }));
}
