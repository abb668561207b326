import { createHash } from 'node:crypto';
import parse from 'semver/functions/parse.js';
import type { Catalog, CatalogPlugin, CatalogVersion } from '../../tree/catalog/catalog.ts';
import { CATALOG_FILE, INVENTORY_FILE, MODULE_FILE } from '../../tree/names.ts';
import { CODINGS, type Coding, variantFile } from '../../tree/version/codings.ts';
import type { Content } from '../content/content.ts';
import type { ContentStore } from '../content/contentStore.ts';
import { mediaTypeOf } from './mediaTypes.ts';

/** One path of the server and what is sent for it. */
export interface ServedFile {
  /** The last part of its name. */
  readonly name: string;
  /** Absent for files of the tree itself (index.json). */
  readonly plugin: string | undefined;
  readonly version: string | undefined;
  /** In a tree, a content of the store; the small files of the tree itself are kept in memory. */
  readonly body: Content | Buffer;
  readonly sha256: string;
  /** Undefined: the plain bytes. */
  readonly coding: Coding | undefined;
  /** The same in compressed forms, smallest first; empty where there are none, or none are to be sent. */
  readonly variants: readonly ServedFile[];
  /** Whether what is sent depends on Accept-Encoding. */
  readonly varies: boolean;
  readonly mediaType: string;
  readonly cacheControl: string;
  /** Bytes changed under this path at that moment, in milliseconds; never later than its Last-Modified. */
  readonly changedAtMs: number;
  /** Answers by status, for the metrics. */
  answers: Map<number, number> | undefined;
  sentBytes: number;
  /** The header lines of 200 and 304, made when the file is first known to be whole. */
  headers: FileHeaders | undefined;
}

export interface FileHeaders {
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly lastModified: string;
  readonly whole: readonly string[];
  readonly unchanged: readonly string[];
}

/** A catalog, made ready to be served. Immutable but for the counters of its files. */
export interface TreeView {
  readonly catalog: Catalog;
  readonly loadedAtMs: number;
  /** By the path of the request, from `/plugins/…` on. */
  readonly files: ReadonlyMap<string, ServedFile>;
  readonly contents: ReadonlyMap<Content, readonly string[]>;
  readonly versions: number;
  readonly sizeBytes: number;
}

export interface ViewSettings {
  /** `/wasm-plugins/${name}.wasm` and the like: further paths of plugin.wasm. */
  readonly urlPatterns: readonly string[];
  /** Whether `latest` stands for a plugin's highest version. */
  readonly latest: boolean;
  /** Whether compressed forms are sent in place of the plain bytes; `auto` leaves it to the moment. */
  readonly encoding: 'off' | 'auto' | 'on';
  /** Cache-Control of versions whose digest is pinned. */
  readonly cachePinned: string;
  /** Cache-Control of everything else. */
  readonly cacheOther: string;
}

export interface TreeFiles {
  readonly catalog: Catalog;
  readonly indexJson: Buffer;
  readonly inventoryJson: Buffer | undefined;
  /** When index.json came there: at the start of a server nobody else knows since when a path has led to what it leads to. */
  readonly changedAtMs: number;
}

/** One form of a file, plain or compressed. */
type Form = Pick<ServedFile, 'coding' | 'body' | 'sha256'>;
/** What a path is to be served with; the plain form comes first. */
type Laid = Pick<ServedFile, 'name' | 'plugin' | 'version' | 'mediaType' | 'cacheControl'> & {
  readonly forms: readonly Form[];
};

/** Lays out every path of the server for a catalog. `former` is what was served before, if anything was. */
export function buildTreeView(
  read: TreeFiles,
  store: ContentStore,
  settings: ViewSettings,
  former: TreeView | undefined,
): TreeView {
  const files = new Map<string, ServedFile>();
  const paths = new Map<string, { content: Content; paths: string[] }>();
  const now = Date.now();
  let sizeBytes = 0;
  let versions = 0;
  const put = (url: string, { name, plugin, version, mediaType, cacheControl, forms }: Laid): void => {
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
      const pinned = version.pinned && version.aliasOf === undefined;
      const cacheControl = pinned ? settings.cachePinned : settings.cacheOther;
      for (const { name, sha256, sizeBytes: size } of version.files) {
        if (!isPlain(plugin.name) || !isPlain(version.version) || !isPlain(name)) continue;
        const path = `${plugin.name}/${version.version}/${name}`;
        const body = contentOf(sha256, size, path);
        sizeBytes += size;
        const forms: Form[] = [{ coding: undefined, body, sha256 }];
        if (name === MODULE_FILE && settings.encoding !== 'off')
          for (const form of smallerForms(version, contentOf, `${plugin.name}/${version.version}`)) forms.push(form);
        const file = { name, plugin: plugin.name, version: version.version, mediaType: mediaTypeOf(name), forms };
        put(`/plugins/${path}`, { ...file, cacheControl });
        if (version === highest)
          put(`/plugins/${plugin.name}/latest/${name}`, { ...file, cacheControl: settings.cacheOther });
      }
    }
  }
  for (const pattern of settings.urlPatterns) addPattern(pattern, read.catalog, files, put, settings);
  const own = {
    plugin: undefined,
    version: undefined,
    mediaType: 'application/json',
    cacheControl: settings.cacheOther,
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

/** The compressed forms of a version's module that are worth sending. */
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

/** The highest release, or the highest of all if there is no release; aliases do not count while there is anything else. */
export function highestVersion(plugin: CatalogPlugin): CatalogVersion | undefined {
  const own = plugin.versions.filter(version => version.aliasOf === undefined);
  const among = own.length > 0 ? own : plugin.versions;
  return among.findLast(({ version }) => isRelease(version)) ?? among.at(-1);
}

function addPattern(
  pattern: string,
  catalog: Catalog,
  files: ReadonlyMap<string, ServedFile>,
  put: (url: string, file: Laid) => void,
  settings: ViewSettings,
): void {
  const perVersion = pattern.includes('${version}');
  for (const plugin of catalog.plugins) {
    const highest = highestVersion(plugin);
    for (const version of perVersion ? plugin.versions : highest === undefined ? [] : [highest]) {
      const file = files.get(`/plugins/${plugin.name}/${version.version}/${MODULE_FILE}`);
      const url = pattern.replaceAll('${name}', () => plugin.name).replaceAll('${version}', () => version.version);
      // What the tree itself has under that path comes first.
      if (file === undefined || files.has(url)) continue;
      put(url, {
        ...file,
        forms: [file, ...file.variants],
        cacheControl: perVersion ? file.cacheControl : settings.cacheOther,
      });
    }
  }
}

function isRelease(version: string): boolean {
  const parsed = parse(version, { loose: true });
  return parsed !== null && parsed.prerelease.length === 0;
}

/** A part of a path that is only a name. A catalog that says otherwise was not written by this program. */
function isPlain(part: string): boolean {
  return /^[A-Za-z0-9_~+@:-][A-Za-z0-9._~+@:-]*$/.test(part);
}
