import { printable } from '../../hosts/redact.ts';

/**
 * Returns the texts of `Warning: 299 - "…"` headers (distribution-spec, Warnings; RFC 9111, 5.5), at most 300 characters
 * each. Other warning codes concern caches and are ignored.
 */
export function parseWarnings(header: string | readonly string[] | undefined): string[] {
  const text = header === undefined || typeof header === 'string' ? (header ?? '') : header.join(', ');
  const texts: string[] = [];
  for (const match of text.slice(0, 8192).matchAll(/(?:^|,)[ \t]*299[ \t]+[^ \t,"]+[ \t]+"((?:[^"\\]|\\.)*)"/g)) {
    const message = printable((match[1] ?? '').replace(/\\(.)/g, '$1'), 300);
    if (message !== '') texts.push(message);
  }
  return texts;
}
