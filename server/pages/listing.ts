import type { Catalog, CatalogPlugin } from '../../tree/catalog/catalog.ts';
import { CATALOG_FILE, INVENTORY_FILE } from '../../tree/names.ts';
import { highestVersion } from '../view/treeView.ts';
import { contentSecurityPolicy, escapeHtml, renderPage } from './html.ts';

/** The entries of a folder, in the order of the page. */
export interface Listing {
  /** With both slashes: `/plugins/ai-proxy/`. */
  readonly path: string;
  readonly entries: readonly ListingEntry[];
  /** The answer for clients that accept JSON. */
  readonly json: unknown;
}

interface ListingEntry {
  readonly name: string;
  /** Undefined for a folder. */
  readonly sizeBytes?: number;
}

const STYLE = `
:root{color-scheme:light dark}
body{margin:2rem;font:15px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
h1{font-size:1.15rem}
td{padding:0 2rem 0 0}
td+td{text-align:right}
`;
export const LISTING_POLICY = contentSecurityPolicy(STYLE);

/** Returns the folder with these path segments below `/plugins/`, or undefined if the catalog has no such folder. */
export function findListing(catalog: Catalog, parts: readonly string[], latest: boolean): Listing | undefined {
  const [name, version, more] = parts;
  if (more !== undefined) return undefined;
  if (name === undefined) {
    const folders = catalog.plugins.map(plugin => ({ name: plugin.name }));
    return {
      path: '/plugins/',
      entries: [...folders, { name: CATALOG_FILE }, { name: INVENTORY_FILE }],
      json: catalog,
    };
  }
  const plugin = catalog.plugins.find(candidate => candidate.name === name);
  if (plugin === undefined) return undefined;
  if (version === undefined)
    return {
      path: `/plugins/${name}/`,
      entries: plugin.versions.map(known => ({ name: known.version })),
      json: plugin,
    };
  const found = version === 'latest' && latest ? highestVersion(plugin) : versionOf(plugin, version);
  if (found === undefined) return undefined;
  return { path: `/plugins/${name}/${version}/`, entries: found.files, json: found };
}

export function renderListing({ path, entries }: Listing): string {
  const files = new Set([CATALOG_FILE, INVENTORY_FILE]);
  const rows = entries.map(({ name, sizeBytes }) => {
    const shown = sizeBytes === undefined && !files.has(name) ? `${name}/` : name;
    // Without "./" a browser would take a name with a colon for a URL scheme.
    const link = `<a href="./${encodeURIComponent(name)}${shown.endsWith('/') ? '/' : ''}">${escapeHtml(shown)}</a>`;
    return `<tr><td>${link}</td><td>${sizeBytes ?? '-'}</td></tr>`;
  });
  const title = `Index of ${path}`;
  const body = `<h1>${escapeHtml(title)}</h1>
<table>
<tr><td><a href="../">../</a></td><td></td></tr>
${rows.join('\n')}
</table>`;
  return renderPage({ title, style: STYLE, body });
}

function versionOf(plugin: CatalogPlugin, version: string) {
  return plugin.versions.find(known => known.version === version);
}
