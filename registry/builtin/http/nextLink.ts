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
