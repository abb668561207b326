import { shortLine } from '../../../base/printable.ts';

/**
 * Returns the target of the first `rel="next"` in Link headers (RFC 8288, section 3), relative or absolute as it was sent.
 * Reads each character once, because a registry may send as many as the header may have.
 */
export function parseNextLink(header: string | readonly string[] | undefined): string | undefined {
  const text = header === undefined || typeof header === 'string' ? header : header.join(', ');
  if (text === undefined) return undefined;
  for (let open = text.indexOf('<'); open >= 0; ) {
    const close = text.indexOf('>', open);
    if (close < 0) return undefined;
    const { relations, end } = readParameters(text, close + 1);
    if (relations.includes('next')) return text.slice(open + 1, close);
    open = text.indexOf('<', end);
  }
  return undefined;
}

const NAME = /[ \t]*([^ \t=;,"<]*)[ \t]*/y;
const VALUE = /=[ \t]*(?:"([^"]*)"?|([^;,"<]*))/y;

/** Reads the parameters of one link, up to the comma behind them. Of several `rel` the first counts (RFC 8288, 3.3). */
function readParameters(text: string, start: number): { readonly relations: readonly string[]; readonly end: number } {
  let relations: readonly string[] | undefined;
  let end = start;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = end;
    const match = pattern.exec(text);
    if (match !== null) end = pattern.lastIndex;
    return match;
  };
  while (end < text.length && text[end] !== ',') {
    end += 1;
    const name = take(NAME)?.[1]?.toLowerCase();
    const value = take(VALUE);
    if (name === 'rel')
      relations ??= (value?.[1] ?? value?.[2] ?? '')
        .toLowerCase()
        .trim()
        .split(/[ \t]+/);
  }
  return { relations: relations ?? [], end };
}

// RFC 9110, 5.6.7: today's date format, and the two obsolete ones that recipients must accept.
const HTTP_DATE =
  /^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT)$/;
const ASCTIME = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/**
 * Returns Retry-After in milliseconds from now (RFC 9110, 10.2.3); undefined for an invalid value, a negative number or a
 * date in the past. A date is measured from the reply's own Date header if there is one, because the local clock may be wrong.
 */
export function parseRetryAfter(
  value: string | undefined,
  date: string | undefined,
  nowMs: number,
): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, Number.MAX_SAFE_INTEGER);
  const until = parseHttpDate(text);
  if (until === undefined) return undefined;
  const from = (date === undefined ? undefined : parseHttpDate(date.trim())) ?? nowMs;
  return until > from ? until - from : undefined;
}

function parseHttpDate(text: string): number | undefined {
  const timeMs = HTTP_DATE.test(text) ? Date.parse(text) : ASCTIME.test(text) ? Date.parse(`${text} GMT`) : Number.NaN;
  return Number.isNaN(timeMs) ? undefined : timeMs;
}

/**
 * Returns the texts of `Warning: 299 - "…"` headers (distribution-spec, Warnings; RFC 9111, 5.5), at most 300 characters
 * each. Other warning codes concern caches and are ignored.
 */
export function parseWarnings(header: string | readonly string[] | undefined): string[] {
  const text = header === undefined || typeof header === 'string' ? (header ?? '') : header.join(', ');
  const texts: string[] = [];
  for (const match of text.slice(0, 8192).matchAll(/(?:^|,)[ \t]*299[ \t]+[^ \t,"]+[ \t]+"((?:[^"\\]|\\.)*)"/g)) {
    const message = shortLine((match[1] ?? '').replace(/\\(.)/g, '$1'), 300);
    if (message !== '') texts.push(message);
  }
  return texts;
}
