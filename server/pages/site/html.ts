import type { Translate } from './words.ts';

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => ESCAPES[character] ?? character);
}

/** HTML that needs no further escaping. Only `html` and the renderer of READMEs make it. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type HtmlPart = Html | string | number | false | undefined | readonly HtmlPart[];

/** A template in which every value is escaped, unless it is Html itself. Lists are joined; false and undefined are left out. */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlPart[]): Html {
  let text = strings[0] ?? '';
  for (let at = 0; at < values.length; at++) text += htmlText(values[at]) + (strings[at + 1] ?? '');
  return new Html(text);
}

function htmlText(part: HtmlPart): string {
  if (part === undefined || part === false) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'string') return escapeHtml(visible(part));
  return typeof part === 'number' ? String(part) : part.map(htmlText).join('');
}

/** Control characters, and those that change the direction of the text around them or have no width (Unicode, UAX 9). */
const INVISIBLE = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** Returns the text with its invisible characters shown by their numbers, so that no text of a plugin hides or reorders another. */
export function visible(text: string): string {
  return text.replace(
    INVISIBLE,
    character => `[U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}]`,
  );
}

/** Returns `2026-01-15` for a time in ISO 8601, and the text itself if it is another one. */
export function day(time: string): string {
  return /^\d{4}-\d\d-\d\dT/.test(time) ? time.slice(0, 10) : time;
}

interface Paging {
  /** From 1. */
  readonly page: number;
  readonly pages: number;
  /** The other values of the query, which every link keeps. */
  readonly query: Readonly<Record<string, string>>;
  /** Of the part of the page to which the links lead. */
  readonly anchor?: string;
}

/** Returns links to the first, previous, next and last page, and from three pages on a form for any of them. */
export function pageLinks(t: Translate, { page, pages, query, anchor = '' }: Paging): Html | false {
  if (pages < 2) return false;
  const values = Object.entries(query).filter(([, value]) => value !== '');
  const link = (number: number, text: string, rel?: string) => {
    const search = new URLSearchParams(number === 1 ? values : [...values, ['page', String(number)]]);
    return html`<a href="./${search.size > 0 && `?${search}`}${anchor}"${rel !== undefined && html` rel="${rel}"`}>${text}</a>`;
  };
  const form = html`<form method="get" action="./${anchor}">${values.map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}
<label>${t('goToPage')} <input type="number" name="page" min="1" max="${pages}" value="${page}" required inputmode="numeric"></label><button>${t('go')}</button></form>`;
  return html`<nav class="pages" aria-label="${t('pages')}">${page > 2 && link(1, t('first'))}${page > 1 && link(page - 1, t('previous'), 'prev')}
<span class="dim">${t('pageOf', { page, pages })}</span>${page < pages && link(page + 1, t('next'), 'next')}${page < pages - 1 && link(pages, t('last'))}${pages > 2 && form}</nav>`;
}
