import { printable } from './printable.ts';

/** The texts of `Warning: 299 - "…"` headers (distribution-spec, Warnings); other codes are about caches and left out. */
export function parseWarnings(header: string | readonly string[] | undefined): string[] {
  const text = header === undefined || typeof header === 'string' ? (header ?? '') : header.join(', ');
  const texts: string[] = [];
  for (const match of text.slice(0, 8192).matchAll(/(?:^|,)[ \t]*299[ \t]+[^ \t,"]+[ \t]+"((?:[^"\\]|\\.)*)"/g)) {
    const message = printable((match[1] ?? '').replace(/\\(.)/g, '$1'), 300);
    if (message !== '') texts.push(message);
  }
  return texts;
}
