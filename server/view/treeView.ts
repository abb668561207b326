import { createHash } from 'node:crypto';
import parse from 'semver/functions/parse.js';
import type { Catalog, CatalogPlugin, CatalogVersion } from '../../tree/catalog.ts';
import { CATALOG_FILE, CHECKSUM_FILE, INVENTORY_FILE, MODULE_FILE } from '../../tree/names.ts';
import { CODINGS, type Coding, variantFile } from '../../tree/version/codings.ts';
import type { Content } from '../content/content.ts';
import type { ContentStore } from '../content/contentStore.ts';
import type { TreeFiles } from './readTree.ts';

/** What one path of the server sends. */
export interface ServedFile {
  /** The last part of the path. */
  readonly name: string;
  /** Undefined for files of the tree itself (index.json). */
  readonly plugin: string | undefined;
  readonly version: string | undefined;
  /** A content of the store, or a Buffer for the small files of the tree itself. */
  readonly body: Content | Buffer;
  readonly sha256: string;
  /** Of a manifest or blob of the registry API: its digest, for Docker-Content-Digest. */
  readonly digest?: string;
  /** Undefined for the uncompressed bytes. */
  readonly coding: Coding | undefined;
  /** The compressed forms that may be sent instead, smallest first. */
  readonly variants: readonly ServedFile[];
  /** Whether the answer depends on Accept-Encoding. */
  readonly varies: boolean;
  readonly mediaType: string;
  readonly cacheControl: string;
  /** When the path last got other bytes, in milliseconds; never later than its Last-Modified. */
  readonly changedAtMs: number;
  /** Number of answers by status, for the metrics. */
  answers: Map<number, number> | undefined;
  sentBytes: number;
  /** Created when the file is sent for the first time. */
  headers: FileHeaders | undefined;
}

export interface FileHeaders {
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly lastModified: string;
  /** The header lines of a 200. */
  readonly whole: readonly string[];
  /** The header lines of a 304. */
  readonly unchanged: readonly string[];
}

/** A catalog, prepared for serving. Immutable except for the counters of its files. */
export interface TreeView {
  readonly catalog: Catalog;
  readonly loadedAtMs: number;
  /** By the path of the request below the base path: `/plugins/…`, and the paths of --url-pattern. */
  readonly files: ReadonlyMap<string, ServedFile>;
  readonly contents: ReadonlyMap<Content, readonly string[]>;
  readonly versions: number;
  readonly sizeBytes: number;
}

export interface ViewSettings {
  /** Further paths of plugin.wasm, such as `/wasm-plugins/${name}.wasm`. */
  readonly urlPatterns: readonly string[];
  /** Whether `latest` is a path of each plugin's highest version. */
  readonly latest: boolean;
  /** With `off`, compressed forms are not sent. */
  readonly encoding: 'off' | 'auto' | 'on';
  /** Whether shared caches may store answers that clients get without credentials. */
  readonly isPublic: boolean;
}

/** One form of a file, uncompressed or compressed. */
type Form = Pick<ServedFile, 'coding' | 'body' | 'sha256'>;

/** A file at a path; the uncompressed form comes first. */
type PlacedFile = Pick<ServedFile, 'name' | 'plugin' | 'version' | 'mediaType' | 'cacheControl'> & {
  readonly forms: readonly Form[];
};

/** A path whose bytes may change: caches ask the server each time. */
const REVALIDATE = 'no-cache';
/** The files that follow from the digest of an image. The others depend on this program, on --compress and on the tag too. */
const FIXED_FILES: ReadonlySet<string> = new Set([MODULE_FILE, CHECKSUM_FILE]);

/** Returns a view with every path that the server has for a catalog. `former`: the view that it replaces. */
export function buildTreeView(
  read: TreeFiles,
  store: ContentStore,
  settings: ViewSettings,
  former: TreeView | undefined,
): TreeView {
  const files = new Map<string, ServedFile>();
  const paths = new Map<string, { content: Content; paths: string[] }>();
  const now = Date.now();
  // RFC 9111, section 3.5: "public" would allow a shared cache to send the file to clients without credentials.
  const immutable = `${settings.isPublic ? 'public' : 'private'}, max-age=31536000, immutable`;
  let sizeBytes = 0;
  let versions = 0;
  const put = (url: string, { name, plugin, version, mediaType, cacheControl, forms }: PlacedFile): void => {
    const before = former?.files.get(url);
    const served = forms.map(({ coding, body, sha256 }): ServedFile => {
      const was = coding === undefined ? before : before?.variants.find(variant => variant.coding === coding);
      const isSame = before === undefined ? former === undefined : was?.sha256 === sha256;
      const changedAtMs = isSame ? (was?.changedAtMs ?? read.changedAtMs) : now;
      const counted = { answers: was?.answers, sentBytes: was?.sentBytes ?? 0, changedAtMs, headers: undefined };
      const described = { name, plugin, version, mediaType, cacheControl, varies: forms.length > 1 };
      return { ...described, body, sha256, coding, variants: [], ...counted };
    });
    const [plain, ...variants] = served;
    if (plain !== undefined) files.set(url, { ...plain, variants });
  };
  const contentOf = (sha256: string, size: number, path: string): Content => {
    const known = paths.get(sha256);
    if (known?.content.sizeBytes === size) {
      known.paths.push(path);
      return known.content;
    }
    const content = store.get(sha256, size);
    paths.set(sha256, { content, paths: [path] });
    return content;
  };
  for (const plugin of read.catalog.plugins) {
    const highest = settings.latest ? highestVersion(plugin) : undefined;
    for (const version of plugin.versions) {
      versions++;
      const isFixed = version.aliasOf === undefined && isPinnedByManifest(version);
      for (const { name, sha256, sizeBytes: size } of version.files) {
        if (!isPlain(plugin.name) || !isPlain(version.version) || !isPlain(name)) continue;
        const path = `${plugin.name}/${version.version}/${name}`;
        const body = contentOf(sha256, size, path);
        sizeBytes += size;
        const forms: Form[] = [{ coding: undefined, body, sha256 }];
        if (name === MODULE_FILE && settings.encoding !== 'off')
          for (const form of smallerForms(version, contentOf, `${plugin.name}/${version.version}`)) forms.push(form);
        const cacheControl = isFixed && FIXED_FILES.has(name) ? immutable : REVALIDATE;
        const file = { name, plugin: plugin.name, version: version.version, mediaType: mediaTypeOf(name), forms };
        put(`/plugins/${path}`, { ...file, cacheControl });
        if (version === highest) put(`/plugins/${plugin.name}/latest/${name}`, { ...file, cacheControl: REVALIDATE });
      }
    }
  }
  for (const pattern of settings.urlPatterns) addPattern(pattern, read.catalog, files, put);
  const own = {
    plugin: undefined,
    version: undefined,
    mediaType: 'application/json',
    cacheControl: REVALIDATE,
  };
  const inMemory = (url: string, name: string, body: Buffer): void => {
    const sha256 = createHash('sha256').update(body).digest('hex');
    put(url, { ...own, name, forms: [{ coding: undefined, body, sha256 }] });
  };
  inMemory('/index.json', CATALOG_FILE, read.indexJson);
  inMemory('/plugins/index.json', CATALOG_FILE, read.indexJson);
  if (read.inventoryJson !== undefined) inMemory(`/plugins/${INVENTORY_FILE}`, INVENTORY_FILE, read.inventoryJson);
  const contents = new Map([...paths.values()].map(entry => [entry.content, entry.paths]));
  return { catalog: read.catalog, loadedAtMs: now, files, contents, versions, sizeBytes };
}

/**
 * Whether the manifest itself names the image's digest. What only the lockfile pins gets other bytes from the next
 * `sync --update`, and a cache would send the former ones for a year.
 */
function isPinnedByManifest({ pinned, reference }: CatalogVersion): boolean {
  return pinned && /@sha(?:256|512):/.test(reference);
}

/** Returns the compressed forms of a version's module that are smaller than the module. */
function smallerForms(
  version: CatalogVersion,
  contentOf: (sha256: string, sizeBytes: number, path: string) => Content,
  folder: string,
): Form[] {
  return CODINGS.flatMap(coding => {
    const file = version.files.find(({ name }) => name === variantFile(coding));
    if (file === undefined || file.sizeBytes >= version.sizeBytes) return [];
    const { sha256, sizeBytes, name } = file;
    return { coding, sha256, body: contentOf(sha256, sizeBytes, `${folder}/${name}`) };
  }).sort((a, b) => a.body.sizeBytes - b.body.sizeBytes);
}

/** Returns the highest release, or the highest prerelease if there is no release. Aliases count only if all versions are. */
export function highestVersion(plugin: CatalogPlugin): CatalogVersion | undefined {
  const own = plugin.versions.filter(version => version.aliasOf === undefined);
  const among = own.length > 0 ? own : plugin.versions;
  return among.findLast(({ version }) => isRelease(version)) ?? among.at(-1);
}

function addPattern(
  pattern: string,
  catalog: Catalog,
  files: ReadonlyMap<string, ServedFile>,
  put: (url: string, file: PlacedFile) => void,
): void {
  const perVersion = pattern.includes('${version}');
  for (const plugin of catalog.plugins) {
    const highest = highestVersion(plugin);
    for (const version of perVersion ? plugin.versions : highest === undefined ? [] : [highest]) {
      const file = files.get(`/plugins/${plugin.name}/${version.version}/${MODULE_FILE}`);
      const url = pattern.replaceAll('${name}', () => plugin.name).replaceAll('${version}', () => version.version);
      // A path of the tree itself has precedence.
      if (file === undefined || files.has(url)) continue;
      put(url, {
        ...file,
        forms: [file, ...file.variants],
        cacheControl: perVersion ? file.cacheControl : REVALIDATE,
      });
    }
  }
}

function isRelease(version: string): boolean {
  const parsed = parse(version, { loose: true });
  return parsed !== null && parsed.prerelease.length === 0;
}

/** Whether a part of a path is a plain name. A catalog with other names was not written by this program. */
export function isPlain(part: string): boolean {
  return /^[A-Za-z0-9_~+@:-][A-Za-z0-9._~+@:-]*$/.test(part);
}

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  wasm: 'application/wasm',
  json: 'application/json',
  txt: 'text/plain; charset=utf-8',
  sha256: 'text/plain; charset=utf-8',
  md: 'text/markdown; charset=utf-8',
  yaml: 'application/yaml; charset=utf-8',
  yml: 'application/yaml; charset=utf-8',
  png: 'image/png',
  gz: 'application/gzip',
  zst: 'application/zstd',
};

/** By the extension. Types that a browser would execute (HTML, SVG) are not in the list and are sent as plain bytes. */
function mediaTypeOf(fileName: string): string {
  return MEDIA_TYPES[fileName.slice(fileName.lastIndexOf('.') + 1).toLowerCase()] ?? 'application/octet-stream';
}
