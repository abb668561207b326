import MarkdownIt from 'markdown-it';
import type { CatalogVersion } from '../../../tree/catalog/catalog.ts';
import { escapeHtml, Html, html, visible } from '../site/html.ts';
import type { Language } from '../site/language.ts';

/** Longer texts are cut: rendering blocks the server, and real READMEs have up to 60 KB. */
export const MOST_README_CHARACTERS = 200_000;
/** Deeper quotations and lists are shown as text. */
const MOST_NESTING = 20;

/** A README in one language. */
export interface ReadmeFile {
  readonly name: string;
  readonly language: Language;
}

/**
 * Returns the READMEs of a version, one for each language. In Higress' images README.md is Chinese and README_EN.md English;
 * without a second file README.md may have either language.
 */
export function readmesOf({ files }: CatalogVersion): readonly ReadmeFile[] {
  const names = files.map(({ name }) => name).filter(name => /^README(?:[._-][\w.-]+)?\.md$/i.test(name));
  const found = new Map<Language, string>();
  for (const name of names) {
    const tag = /^README[._-](en|zh)(?:[-_]\w+)?\.md$/i.exec(name)?.[1]?.toLowerCase();
    if (tag === 'en' || tag === 'zh') found.set(tag, found.get(tag) ?? name);
  }
  const plain = names.find(name => /^README\.md$/i.test(name));
  if (plain !== undefined) {
    const free: Language = found.has('zh') ? 'en' : 'zh';
    if (!found.has(free)) found.set(free, plain);
  }
  const [other] = names;
  if (found.size === 0 && other !== undefined) found.set('en', other);
  return [...found]
    .map(([language, name]) => ({ name, language }))
    .sort((one, two) => (one.language < two.language ? -1 : 1));
}

/**
 * Renders a README of an image, which may contain anything: HTML stays text, links lead only to the web, images become
 * links, invisible characters are shown, and headings begin below those of the page. `cut`: the text is longer than what is shown.
 */
export function renderReadme(text: string): { readonly body: Html; readonly cut: boolean } {
  const cut = text.length > MOST_README_CHARACTERS;
  const shown = visible(cut ? text.slice(0, MOST_README_CHARACTERS) : text);
  return { body: new Html(markdown.render(shown)), cut };
}

const markdown = new MarkdownIt({ html: false, linkify: false, typographer: false, maxNesting: MOST_NESTING });
markdown.validateLink = url => webAddress(url) !== undefined;

markdown.core.ruler.push('headings', state => {
  for (const token of state.tokens)
    if (token.type === 'heading_open' || token.type === 'heading_close')
      token.tag = `h${Math.min(6, Number(token.tag.slice(1)) + 2)}`;
});

markdown.renderer.rules.image = (tokens, index) => {
  const token = tokens[index];
  const address = webAddress(String(token?.attrGet('src') ?? ''));
  const label = token?.content || 'image';
  if (address === undefined) return escapeHtml(label);
  return linkTo(address, `🖼 ${label}`).text;
};

markdown.renderer.rules.link_open = (tokens, index) => {
  const address = webAddress(String(tokens[index]?.attrGet('href') ?? ''));
  return `<a href="${escapeHtml(address?.href ?? '')}" rel="noopener noreferrer nofollow">`;
};

/** A link's text can name another site than the one that it leads to, so the host is shown if the text is not that host. */
markdown.renderer.rules.link_close = (tokens, index) => {
  let text = '';
  let open = index - 1;
  for (; open >= 0 && tokens[open]?.type !== 'link_open'; open--) text = (tokens[open]?.content ?? '') + text;
  const address = webAddress(String(tokens[open]?.attrGet('href') ?? ''));
  if (address === undefined || text.includes(address.host)) return '</a>';
  return `</a>${html` <span class="host">(${address.host})</span>`.text}`;
};

function linkTo(address: URL, label: string): Html {
  return html`<a href="${address.href}" rel="noopener noreferrer nofollow">${label}</a> <span class="host">(${address.host})</span>`;
}

/** Returns an absolute http(s) address. Relative links belong to the repository of the README and lead nowhere here. */
function webAddress(text: string): URL | undefined {
  if (!/^https?:\/\//i.test(text)) return undefined;
  try {
    const url = new URL(text);
    url.username = '';
    url.password = '';
    return url;
  } catch {
    return undefined;
  }
}
