import type { IncomingMessage } from 'node:http';

export type Language = 'en' | 'zh';

/** The only cookie of the site: the language that the reader chose with the switch. */
export const LANGUAGE_COOKIE = 'plugin_mirror_lang';

export function isLanguage(text: string | null | undefined): text is Language {
  return text === 'en' || text === 'zh';
}

/** Returns the language of a reader: `?lang=`, else the cookie, else the better one of Accept-Language, else English. */
export function languageOf(request: IncomingMessage, query: URLSearchParams): Language {
  const asked = query.get('lang');
  if (isLanguage(asked)) return asked;
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const [name, value] = pair.split('=').map(part => part.trim());
    if (name === LANGUAGE_COOKIE && isLanguage(value)) return value;
  }
  return accepted(request.headers['accept-language'] ?? '');
}

/** RFC 9110, section 12.5.4. Of two languages with the same weight the first one counts. */
function accepted(field: string): Language {
  const weights = { en: 0, zh: 0 };
  for (const member of field.slice(0, 500).split(',')) {
    const [, tag = '', weight = '1'] = /^\s*(en|zh|\*)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+))?\s*$/i.exec(member) ?? [];
    const language = tag === '*' ? 'en' : tag.toLowerCase();
    if (isLanguage(language)) weights[language] = Math.max(weights[language], Number(weight) || 0);
  }
  if (weights.zh === weights.en) return /^\s*zh/i.test(field) ? 'zh' : 'en';
  return weights.zh > weights.en ? 'zh' : 'en';
}
