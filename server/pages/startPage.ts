import type { CatalogPlugin, CatalogVersion } from '../../tree/catalog/catalog.ts';
import { MODULE_FILE } from '../../tree/names.ts';
import type { TreeView } from '../view/treeView.ts';
import { contentSecurityPolicy, escapeHtml, humanSize, renderPage } from './html.ts';

const STYLE = `
:root{--ink:#1d2433;--dim:#5d6779;--line:#e3e7ee;--paper:#fff;--wash:#f5f7fa;--link:#0b5cad;--tag:#e8eef7}
@media(prefers-color-scheme:dark){:root{--ink:#e3e7ee;--dim:#98a2b3;--line:#2b3342;--paper:#12161f;--wash:#1a202c;--link:#7db4f0;--tag:#243147}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.2rem}
h1{margin:0;font-size:1.6rem;letter-spacing:-.01em}
p{margin:.4rem 0;color:var(--dim)}
a{color:var(--link);text-decoration:none}
a:hover,a:focus{text-decoration:underline}
code{font:.88em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.pattern{display:inline-block;margin:.6rem 0 1.2rem;padding:.45rem .8rem;background:var(--wash);border:1px solid var(--line);border-radius:6px;overflow-wrap:anywhere;user-select:all}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{width:100%;border-collapse:collapse}
th,td{padding:.5rem clamp(.4rem,.9vw,.9rem);text-align:left;vertical-align:baseline}
tbody th,td:nth-child(2){overflow-wrap:anywhere}
.size,.more a,td>a,.tag{white-space:nowrap}
.tag,.more a{display:inline-block}
tbody th{min-width:8rem}
.more{min-width:8rem}
thead th{background:var(--wash);color:var(--dim);font-weight:500;font-size:.85rem;border-bottom:1px solid var(--line)}
tbody th{font-weight:600}
tbody tr.first th,tbody tr.first td{border-top:1px solid var(--line)}
tbody tr.first:first-child th,tbody tr.first:first-child td{border-top:0}
.size{text-align:right;font-variant-numeric:tabular-nums}
.digest{display:inline-block;max-width:17ch;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;vertical-align:bottom;user-select:all;color:var(--dim)}
.tag{padding:.05rem .45rem;background:var(--tag);border-radius:4px;font-size:.82rem;color:var(--dim)}
.more{font-size:.88rem}
.more a{margin-right:.7rem}
@media(max-width:70rem){.digest{max-width:12ch}}
@media(max-width:56.2rem){
header,main,footer{padding-left:1rem;padding-right:1rem}
table,tbody{display:block}
thead{display:none}
tbody tr{display:flex;flex-wrap:wrap;gap:.1rem 1rem;padding:.5rem .9rem}
tbody tr.first{border-top:1px solid var(--line)}
tbody tr.first:first-child{border-top:0}
tbody tr.first th,tbody tr.first td{border:0}
tbody th,tbody td{padding:0;min-width:0}
td:empty{display:none}
tbody th,td:nth-child(n+5){flex:0 0 100%;max-width:100%}
.digest{max-width:calc(100% - 8ch)}
td:nth-child(4)::before{content:"ABI "}
td:nth-child(5)::before{content:"sha256 "}
td:nth-child(6)::before{content:"image "}
td:nth-child(n+4)::before{color:var(--dim);font-size:.85rem}
}
footer{overflow-wrap:anywhere;padding-top:1rem;padding-bottom:2.5rem;font-size:.88rem}
footer a{margin-right:1rem}
`;

export const START_PAGE_POLICY = contentSecurityPolicy(STYLE);

/** Returns a page for people that lists all versions. Its links are relative, so that it works below any path. */
export function renderStartPage(view: TreeView): string {
  const { catalog, versions, sizeBytes } = view;
  const count = `${counted(catalog.plugins.length, 'plugin')}, ${counted(versions, 'version')}, ${humanSize(sizeBytes)}`;
  const rows = catalog.plugins.map(pluginRows).join('\n');
  const table = `<div class="scroll"><table>
<thead><tr><th scope="col">Plugin</th><th scope="col">Version</th><th scope="col" class="size">Size</th><th scope="col">ABI</th><th scope="col">sha256 of plugin.wasm</th><th scope="col">Image digest</th><th scope="col">Files</th></tr></thead>
<tbody>
${rows}
</tbody></table></div>`;
  const body = `<header><h1>Wasm plugins</h1>
<p>${count}, served for gateways at</p>
<code class="pattern">/plugins/\${name}/\${version}/${MODULE_FILE}</code></header>
<main>${catalog.plugins.length === 0 ? '<p>The tree is empty: its catalog lists no plugin.</p>' : table}</main>
<footer><p><a href="plugins/">All files</a><a href="plugins/index.json">index.json</a><a href="plugins/snapshot-inventory.json">snapshot-inventory.json</a></p>
<p>Tree <code>${escapeHtml(catalog.tree)}</code></p></footer>`;
  return renderPage({ title: 'Wasm plugins', style: STYLE, body });
}

function pluginRows(plugin: CatalogPlugin): string {
  return plugin.versions.map((version, at) => versionRow(plugin, version, at === 0)).join('\n');
}

function versionRow(plugin: CatalogPlugin, version: CatalogVersion, first: boolean): string {
  const name = escapeHtml(plugin.name);
  // Of HTML's special characters encodeURIComponent keeps only the apostrophe, and no attribute here is quoted with it.
  const folder = `plugins/${encodeURIComponent(plugin.name)}/${encodeURIComponent(version.version)}/`;
  const head = first
    ? `<th scope="row" id="${name}"><a href="plugins/${encodeURIComponent(plugin.name)}/">${name}</a></th>`
    : '<td></td>';
  const alias =
    version.aliasOf === undefined ? '' : ` <span class="tag">alias of ${escapeHtml(version.aliasOf)}</span>`;
  const pinned = version.pinned ? ' <span class="tag">pinned</span>' : '';
  const others = version.files
    .filter(file => file.name !== MODULE_FILE && /\.(?:ya?ml|md|png)$|^metadata\.json$/i.test(file.name))
    .map(file => `<a href="${folder}${encodeURIComponent(file.name)}">${escapeHtml(file.name)}</a>`)
    .join('');
  return `<tr${first ? ' class="first"' : ''}>${head}<td><a href="${folder}${MODULE_FILE}">${escapeHtml(version.version)}</a>${alias}${pinned}</td><td class="size">${humanSize(version.sizeBytes)}</td><td>${escapeHtml(version.abi ?? '–')}</td><td><code class="digest" title="${version.sha256}">${version.sha256}</code></td><td><code class="digest" title="${escapeHtml(version.digest)}">${escapeHtml(version.digest)}</code></td><td class="more">${others}</td></tr>`;
}

function counted(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`;
}
