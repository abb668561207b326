/** Returns the target of the first `rel="next"` in Link headers (RFC 8288, section 3), relative or absolute as it was sent. */
export function parseNextLink(header: string | readonly string[] | undefined): string | undefined {
  const text = header === undefined || typeof header === 'string' ? header : header.join(', ');
  if (text === undefined) return undefined;
  const link = /<([^>]*)>((?:[ \t]*;[ \t]*[^,;"]*(?:"(?:[^"\\]|\\.)*")?)*)/g;
  for (const match of text.matchAll(link)) {
    const relation = /;[ \t]*rel[ \t]*=[ \t]*(?:"([^"]*)"|([^ \t;,"]+))/i.exec(match[2] ?? '');
    const relations = (relation?.[1] ?? relation?.[2] ?? '').toLowerCase().split(/[ \t]+/);
    if (relations.includes('next')) return match[1];
  }
  return undefined;
}
