import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Html, html, Html as Raw } from './html.ts';
import { STYLE } from './style.ts';
import type { Language, Translate } from './words.ts';

/** The script of the pages. They work without it. */
export const SCRIPT = readFileSync(new URL('./browserScript.js', import.meta.url));
export const SCRIPT_PATH = '/-/site.js';
const SCRIPT_VERSION = createHash('sha256').update(SCRIPT).digest('hex').slice(0, 12);

/** How the reader sees the site; it is the same for every part of a page. */
export interface Reader {
  readonly language: Language;
  readonly t: Translate;
  /** The address of this server, without a slash at its end. */
  readonly address: string;
  /** The relative way from the page to the site's root: empty, or `../` as often as needed. */
  readonly root: string;
  /** The page's path below the root with its query, for the language switch. */
  readonly here: string;
}

export interface PageContent {
  readonly title: string;
  readonly body: Html;
  /** The entry of the navigation that is this page. */
  readonly current?: 'catalog' | 'status' | 'files';
  /** Whether there is a /status. */
  readonly hasStatus: boolean;
}

const LOGO =
  new Raw(`<svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linejoin="round">
<path d="M12 2.5 20.2 7v10L12 21.5 3.8 17V7z"/><path d="m3.8 7 8.2 4.6L20.2 7M12 11.6v9.9"/></svg>`);

const STYLE_TAG = new Raw(`<style>${STYLE}</style>`);

/** Returns an HTML document that loads nothing but this site's own script and icons. All its links are relative. */
export function renderPage(reader: Reader, content: PageContent): string {
  const { t, language, root, here } = reader;
  const { title, body, current, hasStatus } = content;
  const other = language === 'en' ? 'zh' : 'en';
  const entry = (key: 'catalog' | 'status' | 'files', path: string, text: string) =>
    html`<a href="${root}${path}"${current === key && html` aria-current="page"`}>${text}</a>`;
  return `<!doctype html>\n${
    html`<html lang="${language === 'zh' ? 'zh-CN' : 'en'}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${title}</title>
${STYLE_TAG}
<script src="${root}${SCRIPT_PATH.slice(1)}?v=${SCRIPT_VERSION}" type="module"></script>
</head>
<body>
<a class="skip" href="#content">${t('skip')}</a>
<header class="top"><a class="brand" href="${root === '' ? './' : root}">${LOGO}plugin-mirror</a>
<nav class="tabs" aria-label="${t('navigation')}">${entry('catalog', root === '' ? './' : '', t('catalog'))}
${hasStatus && entry('status', 'status', t('status'))}
${entry('files', 'plugins/', t('files'))}
<a href="${root === '' ? './' : root}?lang=${other}&amp;then=${encodeURIComponent(here)}" lang="${other === 'zh' ? 'zh-CN' : 'en'}" hreflang="${other}" rel="nofollow">${other === 'zh' ? '中文' : 'English'}</a></nav></header>
<main id="content">
${body}
</main>
<p id="said" class="skip" role="status" aria-live="polite" data-copied="${t('copied')}" data-none="${t('noMatch')}"></p>
</body>
</html>
`.text
  }`;
}

/** Allows this style sheet by its hash, this site's script and images, and forms that lead to it. */
export const CONTENT_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "script-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

/** A text to copy. The script shows the button. */
export function copyField(t: Translate, value: string, { block = false } = {}): Html {
  const text = block ? html`<pre tabindex="0"><code>${value}</code></pre>` : html`<code>${value}</code>`;
  return html`<div class="field">${text}${copyButton(t)}</div>`;
}

/** Copies `value`, or the text of the element before it. */
export function copyButton(t: Translate, value?: string, label = t('copy')): Html {
  const data = value === undefined ? html` data-copy` : html` data-copy="${value}"`;
  return html`<button type="button" class="copy"${data} hidden>${label}</button>`;
}

/** A label with a text to copy below it. */
export function labelledField(
  t: Translate,
  label: string,
  value: string,
  { hint, block = false }: { readonly hint?: HtmlText; readonly block?: boolean } = {},
): Html {
  return html`<p class="label">${label}</p>${hint !== undefined && html`<p class="hint">${hint}</p>`}${copyField(t, value, { block })}`;
}

type HtmlText = Html | string;
