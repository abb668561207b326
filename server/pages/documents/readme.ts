import MarkdownIt from 'markdown-it';
import { escapeHtml, type Html, html, visible } from '../site/html.ts';

/** Longer texts are cut. Real READMEs have up to 60 KB. */
export const MOST_README_CHARACTERS = 200_000;
/** Deeper quotations and lists are shown as text. */
const MOST_NESTING = 20;

export interface RenderedReadme {
  readonly html: string;
  /** Whether the text is longer than what is shown. */
  readonly cut: boolean;
}

/**
 * Renders a README of an image, which may contain anything: HTML stays text, links lead only to the web, images become
 * links, invisible characters are shown, and headings begin below those of the page.
 */
export function renderReadme(text: string): RenderedReadme {
  const cut = text.length > MOST_README_CHARACTERS;
  const shown = visible(cut ? text.slice(0, MOST_README_CHARACTERS) : text);
  return { html: markdown.render(shown), cut };
}

const markdown = new MarkdownIt({ html: false, linkify: false, typographer: false, maxNesting: MOST_NESTING });
markdown.validateLink = url => webAddress(url) !== undefined;

markdown.core.ruler.push('headings', state => {
  for (const token of state.tokens)
    if (token.type === 'heading_open' || token.type === 'heading_close')
      token.tag = `h${Math.min(6, Number(token.tag.slice(1)) + 2)}`;
});

// Wide tables and long lines scroll, also by the keyboard.
markdown.renderer.rules.table_open = () => '<table tabindex="0">\n';
for (const rule of ['fence', 'code_block'] as const) {
  const render = markdown.renderer.rules[rule];
  markdown.renderer.rules[rule] = (...args) => render?.(...args).replace('<pre>', '<pre tabindex="0">') ?? '';
}

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
  if (address === undefined || hostIn(text) === address.host) return '</a>';
  return `</a>${html` <span class="host">(${address.host})</span>`.text}`;
};

/** Returns the host that a reader takes a link's text for. */
function hostIn(text: string): string | undefined {
  return /^\s*(?:https?:\/\/)?([^\s/?#\\]+)(?:[/?#]\S*)?\s*$/i.exec(text)?.[1]?.toLowerCase();
}

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
