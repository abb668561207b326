import { createHash } from 'node:crypto';
import { formatBytes } from '../../base/words.ts';
import type { Catalog, CatalogPlugin } from '../../tree/catalog.ts';
import { CATALOG_FILE, INVENTORY_FILE } from '../../tree/names.ts';
import { highestVersion } from '../view/treeView.ts';
import { escapeHtml, type Html, html } from './site/html.ts';
import type { Reader } from './site/layout.ts';

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

/** The headers of the plain page. It allows only this style sheet, by its hash, and the empty icon. */
export const PLAIN_HEADERS = {
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'Referrer-Policy': 'no-referrer',
} as const;

const TREE_FILES: ReadonlySet<string> = new Set([CATALOG_FILE, INVENTORY_FILE]);

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

/** Returns the plain page: the form for scripts, as other servers list folders. */
export function plainListing({ path, entries }: Listing): string {
  const rows = entries.map(({ name, sizeBytes }) => {
    const shown = sizeBytes === undefined && !TREE_FILES.has(name) ? `${name}/` : name;
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
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
<body>
${body}
</body>
</html>
`;
}

/** Returns the body of the page for people. */
export function listingBody({ t, root }: Reader, { path, entries }: Listing): Html {
  const [, , plugin] = path.split('/');
  const rows = entries.map(({ name, sizeBytes }) => {
    const isFolder = sizeBytes === undefined && !TREE_FILES.has(name);
    const link = html`<a href="./${encodeURIComponent(name)}${isFolder && '/'}">${name}${isFolder && '/'}</a>`;
    return html`<tr><td>${link}</td><td class="num">${sizeBytes === undefined ? '' : formatBytes(sizeBytes)}</td></tr>`;
  });
  return html`<h1>${path}</h1>
${plugin !== undefined && plugin !== '' && html`<p><a href="${root}catalog/${encodeURIComponent(plugin)}/">${t('aboutPlugin', { plugin })}</a></p>`}
<div class="scroll"><table><thead><tr><th scope="col">${t('file')}</th><th scope="col" class="num">${t('size')}</th></tr></thead>
<tbody><tr><td><a href="../">../</a></td><td></td></tr>${rows}</tbody></table></div>`;
}

function versionOf(plugin: CatalogPlugin, version: string) {
  return plugin.versions.find(known => known.version === version);
}
