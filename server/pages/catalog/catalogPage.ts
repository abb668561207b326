import { addTo } from '../../../base/groups.ts';
import { formatBytes } from '../../../base/words.ts';
import { MODULE_FILE } from '../../../tree/names.ts';
import type { HigressReleaseRequests, HigressRequests, RequestedVersion } from '../../higressRequests.ts';
import type { TreeView } from '../../view/treeView.ts';
import { inLanguage } from '../documents/specInfo.ts';
import { isLoopback } from '../site/address.ts';
import { type DamagedVersions, damageTag } from '../site/damage.ts';
import { type Html, html, pageLinks } from '../site/html.ts';
import { copyButton, copyField, labelledField, type Reader } from '../site/layout.ts';
import type { PluginFacts } from './facts.ts';
import {
  CARDS_PER_PAGE,
  type CatalogQuery,
  categoriesOf,
  categoryName,
  queryText,
  selectPlugins,
} from './selection.ts';

export interface CatalogContent {
  readonly view: TreeView;
  readonly facts: readonly PluginFacts[];
  readonly higress: HigressRequests | undefined;
  readonly urlPatterns: readonly string[];
  readonly query: CatalogQuery;
  /** Damaged files by plugin and version. */
  readonly damaged: ReadonlyMap<string, DamagedVersions>;
}

/** Returns the body of the start page: addresses to copy, coverage of Higress, and the plugins. */
export function catalogBody(reader: Reader, content: CatalogContent): Html {
  const { t } = reader;
  const { view, facts, query } = content;
  const { catalog, versions, sizeBytes } = view;
  if (catalog.plugins.length === 0) return html`<h1>${t('title')}</h1><p>${t('emptyTree')}</p>`;
  const totals = t('totals', { plugins: catalog.plugins.length, versions, size: formatBytes(sizeBytes) });
  return html`<h1>${t('title')}</h1>
<p class="lead">${totals}</p>
${queryText(query) === '' && addresses(reader, content)}
${searchForm(reader, content)}
${results(reader, content, facts)}
<footer class="foot"><span>${t('tree')} <code>${catalog.tree}</code></span><a href="plugins/index.json">index.json</a>
<a href="plugins/snapshot-inventory.json">snapshot-inventory.json</a></footer>`;
}

function addresses({ t, address }: Reader, { view, higress, urlPatterns }: CatalogContent): Html {
  const pattern = `${address}/plugins/\${name}/\${version}/${MODULE_FILE}`;
  const further = urlPatterns.map(each => labelledField(t, t('furtherPattern'), `${address}${each}`));
  const [newest, ...older] = (higress?.releases ?? []).map(release => coverageOf(view, release));
  return html`<section class="panel" aria-label="${t('addresses')}">
${labelledField(t, t('consolePattern'), pattern, { hint: html`<code>HIGRESS_ADMIN_WASM_PLUGIN_CUSTOM_IMAGE_URL_PATTERN</code>` })}
${isLoopback(address) && html`<p class="hint">${t('loopback')}</p>`}
${further}
${newest !== undefined && coverage({ t }, newest, older, linesFor(higress, view, newest.missing))}
</section>`;
}

function coverage(
  { t }: Pick<Reader, 't'>,
  newest: ReleaseCoverage,
  older: readonly ReleaseCoverage[],
  lines: readonly string[],
): Html {
  const { release, requested, missing } = newest;
  const state = missing.length === 0 ? 'good' : 'warn';
  const sum = t('covered', { release, served: requested - missing.length, requested });
  const others = older.map(
    each =>
      html`<li><a href="?higress=${each.release}">${each.release}</a>: ${t('ofNumber', { served: each.requested - each.missing.length, requested: each.requested })}</li>`,
  );
  return html`<div class="note ${state}"><a href="?higress=${release}">${sum}</a>${missing.length > 0 && missingList({ t }, missing, lines)}</div>
<details><summary>${t('olderReleases')}</summary><ul>${others}</ul></details>`;
}

function missingList({ t }: Pick<Reader, 't'>, missing: ReleaseCoverage['missing'], lines: readonly string[]): Html {
  return html`<details><summary>${t('missingVersions', { count: missing.length })}</summary>
<ul class="misses">${missing.map(({ name, version }) => html`<li><code>/plugins/${name}/${version}/${MODULE_FILE}</code></li>`)}</ul>
${lines.length > 0 && html`<p class="label">${t('manifestLines')}</p>${copyField(t, lines.join(',\n'), { block: true })}`}</details>`;
}

function searchForm({ t }: Reader, { facts, higress, query }: CatalogContent): Html {
  const option = (value: string, text: string, chosen: string) =>
    html`<option value="${value}"${value === chosen && html` selected`}>${text}</option>`;
  const categories = categoriesOf(facts).map(([category, count]) =>
    option(category, `${categoryName(t, category)} (${count})`, query.category),
  );
  const releases = (higress?.releases ?? []).map(({ release }) => option(release, release, query.higress));
  return html`<form class="search" method="get" action="./" role="search">
<label class="wide">${t('search')}<input type="search" name="q" value="${query.q}" placeholder="${t('searchHint')}" autocomplete="off" maxlength="200" aria-keyshortcuts="/"></label>
<label>${t('category')}<select name="category">${option('', t('all'), query.category)}${categories}</select></label>
${releases.length > 0 && html`<label>${t('requestedBy')}<select name="higress">${option('', t('anyRelease'), query.higress)}${releases}</select></label>`}
<button class="go">${t('find')}</button></form>`;
}

function results(
  reader: Reader,
  { view, higress, query, damaged }: CatalogContent,
  facts: readonly PluginFacts[],
): Html {
  const { t } = reader;
  const release = releaseNamed(higress, query.higress);
  const requested = new Map<string, string[]>();
  for (const { name, version } of release?.plugins ?? []) addTo(requested, name, version);
  const selected = selectPlugins(facts, query, release && new Set(requested.keys()));
  const pages = Math.max(1, Math.ceil(selected.length / CARDS_PER_PAGE));
  const page = Math.min(query.page, pages);
  const shown = selected.slice((page - 1) * CARDS_PER_PAGE, page * CARDS_PER_PAGE);
  const isComplete = pages === 1 && selected.length === facts.length;
  const missing = release === undefined ? [] : coverageOf(view, release).missing;
  return html`<div id="found"${isComplete && html` data-complete`}>
<p class="dim" id="count">${t('found', { count: selected.length })}${pages > 1 && ` · ${t('pageOf', { page, pages })}`}${
    queryText({ ...query, page: 1 }) !== '' && html` · <a href="./">${t('showAll')}</a>`
  }</p>
${query.higress !== '' && release === undefined && html`<p class="note warn">${t('unknownRelease', { release: query.higress })}</p>`}
${
  missing.length > 0 &&
  html`<div class="note warn">${t('covered', { release: query.higress, served: (release?.plugins.length ?? 0) - missing.length, requested: release?.plugins.length ?? 0 })}${missingList(reader, missing, linesFor(higress, view, missing))}</div>`
}
${selected.length === 0 && html`<p>${t('noMatch')}</p>`}
<ul class="cards">${shown.map(each => card(reader, each, damaged.get(each.plugin.name), requested.get(each.plugin.name)))}</ul>
${pageLinks(t, { page, pages, query: { q: query.q, category: query.category, higress: query.higress } })}</div>`;
}

function card(
  { t, language }: Reader,
  { plugin, newest, about, signer, hasIcon }: PluginFacts,
  damaged: DamagedVersions | undefined,
  asked?: readonly string[],
): Html {
  const { name, versions } = plugin;
  const folder = `plugins/${encodeURIComponent(name)}/${encodeURIComponent(newest.version)}/`;
  const title = inLanguage(about.title, language);
  const text = inLanguage(about.description, language);
  const also = [about.title?.en, about.title?.zh, about.description?.en, about.description?.zh].filter(
    each => each !== undefined && each !== title && each !== text,
  );
  const { category, gatewayMinVersion } = about;
  const aliased = newest.aliasOf !== undefined;
  return html`<li class="card"${also.length > 0 && html` data-also="${also.join(' ').slice(0, 200)}"`}>
<div class="head">${hasIcon && html`<img class="icon" src="${folder}icon.png" alt="" loading="lazy">`}<div><h2><a href="catalog/${encodeURIComponent(name)}/">${title?.slice(0, 100) ?? name}</a></h2>${title !== undefined && title !== name && html`<span class="name">${name}</span>`}</div></div>
${text !== undefined && html`<p class="about">${text.slice(0, 220)}</p>`}
<div class="tags">${damageTag(t, damaged)}${category !== undefined && html`<span class="tag">${categoryName(t, category)}</span>`}${
    gatewayMinVersion !== undefined &&
    html`<span class="tag">${t('needsGateway', { version: gatewayMinVersion })}</span>`
  }${signer !== undefined && html`<span class="tag good" title="${signer}">${t('signed')}</span>`}${aliased && html`<span class="tag">${t('aliasOf', { version: newest.aliasOf ?? '' })}</span>`}${
    asked !== undefined && html`<span class="tag good">${t('requestsVersion', { version: asked.join(', ') })}</span>`
  }</div>
<div class="end"><span class="sum"><b>${newest.version}</b>${versions.length > 1 && ` ${t('moreVersions', { count: versions.length - 1 })}`} · ${formatBytes(newest.sizeBytes)}</span>${copyButton(t, `url:${folder}${MODULE_FILE}`, t('copyUrl'))}</div></li>`;
}

/** How much of a Higress release a tree serves. */
export interface ReleaseCoverage {
  readonly release: string;
  readonly requested: number;
  readonly missing: readonly RequestedVersion[];
}

/** Compares the requests of a release with the paths of the tree. */
export function coverageOf(view: TreeView, { release, plugins }: HigressReleaseRequests): ReleaseCoverage {
  const missing = plugins.filter(({ name, version }) => !view.files.has(`/plugins/${name}/${version}/${MODULE_FILE}`));
  return { release, requested: plugins.length, missing };
}

/**
 * Returns the requests of a release of Higress Console by its name, or of all builds under that name: an image tag that was
 * rebuilt does not tell them apart. Undefined if the data has no such release.
 */
export function releaseNamed(higress: HigressRequests | undefined, name: string): HigressReleaseRequests | undefined {
  const builds = (higress?.releases ?? []).filter(({ release }) => release === name || release.startsWith(`${name}-`));
  if (builds.length === 0 || name === '') return undefined;
  const plugins = new Map<string, RequestedVersion>();
  for (const build of builds) for (const each of build.plugins) plugins.set(`${each.name} ${each.version}`, each);
  return { release: name, plugins: [...plugins.values()] };
}

/** Returns the lines of manifest.json that add these versions to those of the tree. */
export function linesFor(
  higress: HigressRequests | undefined,
  view: TreeView,
  missing: readonly RequestedVersion[],
): readonly string[] {
  const present = (name: string) => view.catalog.plugins.find(plugin => plugin.name === name)?.versions ?? [];
  return higress?.manifestLines(missing, present) ?? [];
}
