import type { Translate, WordKey } from '../site/words.ts';
import type { PluginFacts } from './facts.ts';

export const CARDS_PER_PAGE = 120;
const MOST_QUERY = 200;

/** The reader's query: `?q=ai&category=auth&higress=2.2.5&page=2`. */
export interface CatalogQuery {
  readonly q: string;
  readonly category: string;
  readonly higress: string;
  /** From 1. */
  readonly page: number;
}

export function readQuery(query: URLSearchParams): CatalogQuery {
  const text = (name: string) => (query.get(name) ?? '').trim().slice(0, MOST_QUERY);
  const higress = text('higress').replace(/^v(?=\d)/, '');
  return { q: text('q'), category: text('category').toLowerCase(), higress, page: readPage(query) };
}

/** Returns `?page=`, from 1, and 1 for anything else than such a number. */
export function readPage(query: URLSearchParams): number {
  const page = Number(query.get('page') ?? 1);
  return Number.isInteger(page) && page >= 1 && page <= 1e6 ? page : 1;
}

/** Returns `?q=ai&page=2`, or an empty text for a query without values. */
export function queryText({ q, category, higress, page }: CatalogQuery): string {
  const values = new URLSearchParams();
  if (q !== '') values.set('q', q);
  if (category !== '') values.set('category', category);
  if (higress !== '') values.set('higress', higress);
  if (page > 1) values.set('page', String(page));
  return values.size === 0 ? '' : `?${values}`;
}

/**
 * Returns the plugins whose name, title, description or category, in either language, has every word of `q`. Those that have
 * it in the name come first. `requested`: the plugins of the chosen Higress release.
 */
export function selectPlugins(
  facts: readonly PluginFacts[],
  { q, category }: CatalogQuery,
  requested: ReadonlySet<string> | undefined,
): readonly PluginFacts[] {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const hasWords = ({ plugin, about }: PluginFacts): boolean => {
    const text = searchText(plugin.name, about);
    return words.every(word => text.includes(word));
  };
  const found = facts.filter(
    each =>
      (category === '' || (each.about.category ?? OTHER) === category) &&
      (requested === undefined || requested.has(each.plugin.name)) &&
      hasWords(each),
  );
  const rank = ({ plugin: { name } }: PluginFacts) =>
    name === q ? 0 : name.startsWith(q) ? 1 : words.every(word => name.includes(word)) ? 2 : 3;
  return words.length === 0 ? found : found.sort((one, other) => rank(one) - rank(other));
}

function searchText(name: string, { title, description, category }: PluginFacts['about']): string {
  const texts = [name, title?.en, title?.zh, description?.en, description?.zh, category];
  return texts.filter(Boolean).join(' ').toLowerCase();
}

/** The category of plugins whose spec.yaml names none. */
export const OTHER = 'other';

/** Returns the categories of these plugins with their numbers, the largest first. */
export function categoriesOf(facts: readonly PluginFacts[]): (readonly [category: string, plugins: number])[] {
  const counts = new Map<string, number>();
  for (const { about } of facts) counts.set(about.category ?? OTHER, (counts.get(about.category ?? OTHER) ?? 0) + 1);
  return [...counts].sort(([one, many], [other, few]) =>
    one === OTHER || other === OTHER
      ? Number(one === OTHER) - Number(other === OTHER)
      : few - many || (one < other ? -1 : 1),
  );
}

const CATEGORIES: Readonly<Record<string, WordKey>> = {
  ai: 'categoryAi',
  auth: 'categoryAuth',
  security: 'categorySecurity',
  traffic: 'categoryTraffic',
  'flow-control': 'categoryFlowControl',
  'flow-monitor': 'categoryFlowMonitor',
  transform: 'categoryTransform',
  protocol: 'categoryProtocol',
  o11y: 'categoryO11y',
  custom: 'categoryCustom',
  other: 'categoryOther',
};

/** Returns the name of a category for readers; a category that Higress does not know is shown as it is written. */
export function categoryName(t: Translate, category: string): string {
  const key = Object.hasOwn(CATEGORIES, category) ? CATEGORIES[category] : undefined;
  return key === undefined ? category : t(key);
}
