import { stringify } from 'yaml';
import { formatBytes } from '../../../base/words.ts';
import type { CatalogPlugin, CatalogVersion } from '../../../tree/catalog.ts';
import { MODULE_FILE, resourceName } from '../../../tree/names.ts';
import { type HigressRequests, requestedBy } from '../../higressRequests.ts';
import type { PluginFacts } from '../catalog/facts.ts';
import { categoryName } from '../catalog/selection.ts';
import type { ReadmeFile } from '../documents/readmeFiles.ts';
import type { ConfigRow, ConfigSchema, SpecFile } from '../documents/specFile.ts';
import { inLanguage } from '../documents/specInfo.ts';
import { type DamagedVersions, damageNote, damageTag } from '../site/damage.ts';
import { day, type Html, html, pageLinks } from '../site/html.ts';
import { copyButton, labelledField, type Reader } from '../site/layout.ts';
import type { Language, Translate, WordKey } from '../site/words.ts';
import type { VersionChanges } from './changes.ts';

export interface PluginContent {
  readonly facts: PluginFacts;
  /** The version that the page shows. */
  readonly version: CatalogVersion;
  readonly spec: SpecFile;
  readonly readme: PluginReadme | undefined;
  readonly readmes: readonly ReadmeFile[];
  /** The versions of one page of the list, the highest first. */
  readonly rows: readonly CatalogVersion[];
  readonly page: number;
  readonly pages: number;
  readonly changes: ReadonlyMap<CatalogVersion, VersionChanges>;
  readonly higress: HigressRequests | undefined;
  readonly damaged: DamagedVersions | undefined;
}

export interface PluginReadme extends ReadmeFile {
  /** Undefined if the file is too large or damaged. */
  readonly body: Html | undefined;
  readonly cut: boolean;
}

/** Returns the body of a plugin's page: what to copy, its configuration, its README and its versions. */
export function pluginBody(reader: Reader, content: PluginContent): Html {
  const { t, language, root } = reader;
  const { facts, version, spec } = content;
  const { plugin, about, newest, hasIcon } = facts;
  const title = inLanguage(about.title, language)?.slice(0, 200);
  const folder = folderOf(root, plugin, version);
  const text = inLanguage(about.description, language);
  return html`<nav class="crumbs" aria-label="${t('crumbs')}"><a href="${root}">${t('catalog')}</a><span aria-hidden="true">/</span><span>${plugin.name}</span></nav>
<h1>${hasIcon && html`<img class="icon" src="${folderOf(root, plugin, newest)}icon.png" alt="">`}${title ?? plugin.name}</h1>
<p class="lead"><code>${plugin.name}</code> ${version.version}${version === newest && html` <span class="tag">${t('newest')}</span>`}</p>
${text !== undefined && html`<p>${text}</p>`}
<div class="tags">${tags(reader, content)}</div>
${damageNote(t, content.damaged?.get(version.version))}
<nav class="tabs" aria-label="${t('onThisPage')}"><a href="#use">${t('use')}</a><a href="#config">${t('configuration')}</a>${content.readmes.length > 0 && html`<a href="#readme">README</a>`}<a href="#versions">${t('versions')} (${plugin.versions.length})</a><a href="${folder}">${t('files')}</a></nav>
${use(reader, content)}
${configuration(reader, spec, folder)}
${readme(reader, content, folder)}
${versions(reader, content)}`;
}

function folderOf(root: string, { name }: CatalogPlugin, { version }: CatalogVersion): string {
  return `${root}plugins/${encodeURIComponent(name)}/${encodeURIComponent(version)}/`;
}

function tags({ t }: Reader, { facts, version, higress, spec }: PluginContent): Html {
  const { about, signer, newest } = facts;
  const { category, gatewayMinVersion } = about;
  const asked = higress === undefined ? [] : requestedBy(higress, facts.plugin.name, version.version);
  const more = asked.length > 2 ? ` +${asked.length - 2}` : '';
  return html`${category !== undefined && html`<span class="tag">${categoryName(t, category)}</span>`}${
    gatewayMinVersion !== undefined &&
    html`<span class="tag">${t('needsGateway', { version: gatewayMinVersion })}</span>`
  }${version === newest && signer !== undefined && html`<span class="tag good" title="${signer}">${t('signedBy', { signer: signer.slice(0, 80) })}</span>`}${
    version.aliasOf !== undefined && html`<span class="tag">${t('aliasOf', { version: version.aliasOf })}</span>`
  }${spec.phase !== undefined && html`<span class="tag">${t('phase')} ${spec.phase}</span>`}${
    spec.priority !== undefined && html`<span class="tag">${t('priority')} ${spec.priority}</span>`
  }${asked.length > 0 && html`<span class="tag good" title="${asked.join(', ')}">${t('requestedByConsumers', { consumers: asked.slice(0, 2).join(', ') + more })}</span>`}`;
}

function use({ t, address, root }: Reader, content: PluginContent): Html {
  const { facts, version, spec } = content;
  const { plugin } = facts;
  const url = moduleUrl(address, plugin.name, version.version);
  const oci = ociReference(version);
  const module = `${folderOf(root, plugin, version)}${MODULE_FILE}`;
  return html`<section id="use"><h2>${t('use')}</h2>
<div class="two"><div>${labelledField(t, t('moduleUrl'), url)}
${labelledField(t, t('sha256Label'), version.sha256)}
${oci !== undefined && labelledField(t, t('sourceImage'), oci)}
${plugin.name === 'mcp-server' && labelledField(t, t('controllerSetting'), `MCP_SERVER_WASM_IMAGE_URL=${moduleUrl(address, plugin.name, controllerVersion(content))}`)}
<p><a class="button" href="${module}" download>${t('download')} (${formatBytes(version.sizeBytes)})</a></p></div>
<div>${labelledField(t, 'WasmPlugin', wasmPluginText(url, plugin.name, version, spec), { block: true, hint: t('wasmPluginHint') })}</div></div></section>`;
}

/** Returns the version that Higress Controller requests, or the shown one of a tree that lacks it: it may be another image. */
function controllerVersion({ facts: { plugin }, version, higress }: PluginContent): string {
  const requested = higress?.others.flatMap(({ plugins }) => plugins).find(({ name }) => name === plugin.name);
  return plugin.versions.find(each => each.version === requested?.version)?.version ?? version.version;
}

function configuration(reader: Reader, { config, routeConfig, fault }: SpecFile, folder: string): Html {
  const { t } = reader;
  const file = html`<a href="${folder}spec.yaml">spec.yaml</a>`;
  const none = config === undefined && routeConfig === undefined;
  return html`<section id="config"><h2>${t('configuration')}</h2>
${fault !== undefined ? html`<p class="note warn">${t('specUnusable')} ${fault === 'absent' ? t('specAbsent') : html`${t(fault === 'too large' ? 'specTooLarge' : 'specInvalid')} ${fault !== 'too large' && html`<code>${fault}</code>`} ${file}`}</p>` : none && html`<p>${t('noConfig')}</p>`}
${config !== undefined && schema(reader, config, t('globalConfig'), folder)}
${routeConfig !== undefined && schema(reader, routeConfig, t('routeConfig'), folder)}</section>`;
}

function schema(
  { t, language }: Reader,
  { rows, isCut, example }: ConfigSchema,
  heading: string,
  folder: string,
): Html {
  return html`<h3>${heading}</h3>
${
  rows.length > 0 &&
  html`<div class="scroll" tabindex="0" role="region" aria-label="${heading}"><table class="stack"><thead><tr><th scope="col">${t('key')}</th><th scope="col">${t('type')}</th><th scope="col">${t('default')}</th><th scope="col">${t('meaning')}</th></tr></thead>
<tbody>${rows.map(row => configRow(t, language, row))}</tbody></table></div>`
}${isCut && html`<p class="note warn">${t('schemaCut')} <a href="${folder}spec.yaml">spec.yaml</a></p>`}
${example !== undefined && labelledField(t, t('example'), example, { block: true })}`;
}

function configRow(t: Translate, language: Language, row: ConfigRow): Html {
  const { key, type, required, defaultValue, constraints, title, description } = row;
  const name = inLanguage(title, language);
  const about = inLanguage(description, language);
  return html`<tr><th scope="row" class="key"><code>${key}</code>${required && html` <span class="tag warn">${t('required')}</span>`}</th><td class="nowrap">${type}</td><td data-label="${t('default')}">${defaultValue !== undefined && html`<code>${defaultValue}</code>`}</td><td class="about-col">${
    name !== undefined && name !== about && html`<p><b>${name}</b></p>`
  }${about !== undefined && html`<p>${about}</p>`}${constraints.map(([kind, value]) => html`<p class="dim">${t(CONSTRAINTS[kind])} <code>${value}</code></p>`)}</td></tr>`;
}

const CONSTRAINTS: Readonly<Record<ConfigRow['constraints'][number][0], WordKey>> = {
  enum: 'oneOf',
  minimum: 'minimum',
  maximum: 'maximum',
  minLength: 'minLength',
  maxLength: 'maxLength',
  minItems: 'minItems',
  maxItems: 'maxItems',
  pattern: 'matching',
  format: 'format',
};

function readme(
  { t, language }: Reader,
  { readme: shown, readmes, version, facts }: PluginContent,
  folder: string,
): Html | false {
  if (shown === undefined) return false;
  const versionQuery = version === facts.newest ? '' : `version=${encodeURIComponent(version.version)}&`;
  const switches = readmes.map(each =>
    each.name === shown.name
      ? html`<span class="here" aria-current="true">${NAMES[each.language]}</span>`
      : html`<a href="./?${versionQuery}readme=${each.language}#readme" lang="${each.language}">${NAMES[each.language]}</a>`,
  );
  const file = html`<a href="${folder}${encodeURIComponent(shown.name)}">${shown.name}</a>`;
  return html`<section id="readme"><h2>README</h2><nav class="tabs" aria-label="${t('readmeLanguage')}">${readmes.length > 1 && switches}${file}</nav>
${shown.body === undefined ? html`<p class="note warn">${t('readmeUnusable')} ${file}</p>` : html`<div class="panel prose" lang="${shown.language === language ? false : shown.language}">${shown.body}</div>`}
${shown.cut && html`<p class="note warn">${t('readmeCut')} ${file}</p>`}</section>`;
}

const NAMES: Readonly<Record<Language, string>> = { en: 'English', zh: '中文' };

function versions(reader: Reader, { facts, version, changes, damaged, rows: shown, page, pages }: PluginContent): Html {
  const { t, root } = reader;
  const { plugin, newest, signer } = facts;
  const aliasesOf = new Map<string, string[]>();
  for (const { version: alias, aliasOf } of plugin.versions)
    if (aliasOf !== undefined) aliasesOf.set(aliasOf, [...(aliasesOf.get(aliasOf) ?? []).slice(0, 50), alias]);
  const rows = shown.map(each => {
    const aliases = aliasesOf.get(each.version) ?? [];
    const module = `${folderOf(root, plugin, each)}${MODULE_FILE}`;
    const here = each === version;
    return html`<tr${here && html` aria-current="true"`}><th scope="row" class="nowrap"><a href="./${each !== newest && `?version=${encodeURIComponent(each.version)}`}">${each.version}</a>${each === newest && html` <span class="tag">${t('newest')}</span>`}${each.aliasOf !== undefined && html` <span class="tag">${t('aliasOf', { version: each.aliasOf })}</span>`}</th>
<td class="num" data-label="${t('size')}"><a href="${module}" download title="${t('download')} ${each.version}"><span aria-hidden="true">↓ </span>${formatBytes(each.sizeBytes)}</a></td>
<td data-label="sha256"><code class="digest" title="${each.sha256}">${each.sha256}</code> ${copyButton(t, each.sha256)}</td>
<td data-label="${t('image')}"><code class="digest" title="${each.digest}">${each.digest}</code></td>
<td class="nowrap" data-label="${t('created')}">${each.created !== undefined && html`<time datetime="${each.created}">${day(each.created)}</time>`}</td>
<td data-label="ABI">${each.abi ?? '–'}</td>
<td class="about-col">${damaged?.has(each.version) === true && html`<p>${damageTag(t, new Map([[each.version, damaged.get(each.version) ?? []]]), true)}</p>`}${each === newest && signer !== undefined && html`<p><span class="tag good">${t('signed')}</span></p>`}${aliases.length > 0 && html`<p>${t('aliases', { versions: aliases.join(', ') })}</p>`}${!each.pinned && each.aliasOf === undefined && html`<p><span class="tag warn" title="${t('notPinnedHint')}">${t('notPinned')}</span></p>`}${change(t, changes.get(each))}</td></tr>`;
  });
  return html`<section id="versions"><h2>${t('versions')}</h2><div class="scroll" tabindex="0" role="region" aria-label="${t('versions')}"><table class="stack"><thead><tr><th scope="col">${t('version')}</th><th scope="col" class="num">${t('size')}</th><th scope="col">sha256</th><th scope="col">${t('image')}</th><th scope="col">${t('created')}</th><th scope="col">ABI</th><th scope="col">${t('changes')}</th></tr></thead><tbody>${rows}</tbody></table></div>${pageLinks(t, { page, pages, query: { version: version === newest ? '' : version.version }, anchor: '#versions' })}</section>`;
}

function change(t: Translate, changes: VersionChanges | undefined): Html | false {
  if (changes === undefined) return false;
  const { since, sizeBytes, keys, exports, abi, sameModule } = changes;
  const names = (label: WordKey, list: readonly string[]) =>
    list.length > 0 &&
    html`<p>${t(label)} <code>${list
      .slice(0, MOST_NAMES)
      .map(name => name.slice(0, MOST_NAME_CHARACTERS))
      .join(', ')}${list.length > MOST_NAMES && ` … (${list.length})`}</code></p>`;
  const lists = html`${names('keysAdded', keys.added)}${names('keysRemoved', keys.removed)}${names('exportsAdded', exports.added)}${names('exportsRemoved', exports.removed)}`;
  if (sameModule) return html`<p>${t('sameModule', { version: since })}</p>${lists}`;
  const size = sizeBytes === 0 ? '±0 B' : `${sizeBytes > 0 ? '+' : '−'}${formatBytes(Math.abs(sizeBytes))}`;
  return html`<p>${t('since', { version: since })} ${size}${abi !== undefined && `, ABI ${abi}`}</p>${lists}`;
}

const MOST_NAMES = 12;
const MOST_NAME_CHARACTERS = 100;

export function moduleUrl(address: string, name: string, version: string): string {
  return `${address}/plugins/${name}/${version}/${MODULE_FILE}`;
}

/** A WasmPlugin that loads nothing until one of its configurations is enabled. */
export function wasmPluginText(url: string, name: string, { version, sha256 }: CatalogVersion, spec: SpecFile): string {
  const { phase, priority } = spec;
  return stringify(
    {
      apiVersion: 'extensions.higress.io/v1alpha1',
      kind: 'WasmPlugin',
      metadata: { name: resourceName(name, version), namespace: 'higress-system' },
      spec: {
        url,
        sha256,
        ...(phase === undefined ? {} : { phase }),
        ...(priority === undefined ? {} : { priority }),
        failStrategy: 'FAIL_OPEN',
        defaultConfigDisable: true,
      },
    },
    { lineWidth: 0 },
  ).trimEnd();
}

/** Returns `oci://registry/repository:tag@sha256:…`; undefined for a version that came from a local file. */
export function ociReference({ reference, digest }: CatalogVersion): string | undefined {
  if (!/^[\w.-]+(?::\d+)?\/[^\s]+$/.test(reference)) return undefined;
  return `oci://${reference.includes('@') ? reference : `${reference}@${digest}`}`;
}
