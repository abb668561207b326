import { type Html, html } from './html.ts';
import type { Translate } from './words.ts';

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
