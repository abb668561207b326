import { withoutLogin } from '../reference.ts';

/** Foreign text made fit for a terminal: no control or direction characters, single spaces, at most `length` characters. */
export function printable(text: string, length: number): string {
  const clean = text
    .slice(0, length * 4)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return clean.length > length ? `${clean.slice(0, length - 1)}…` : clean;
}

/** A URL fit for a message: signed URLs and proxies carry secrets in the query string and the user info. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${printable(url.pathname, 300)}`;
}

/** Where a server sends us, fit for a message, be it a URL or not: without a login and without a query string. */
export function redactPlace(text: string, base: URL): string {
  const url = URL.canParse(text, base.href) ? new URL(text, base) : undefined;
  // What is no web address may have its login anywhere.
  return url !== undefined && /^https?:$/.test(url.protocol) ? redactUrl(url) : printable(bare(text), 100);
}

function bare(text: string): string {
  return withoutLogin(text).replace(/[?#].*$/s, '');
}
