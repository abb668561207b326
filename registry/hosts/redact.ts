import { withoutLogin } from '../reference.ts';

/** Returns untrusted text for a terminal: without control and direction characters, with single spaces, at most `length` characters. */
export function printable(text: string, length: number): string {
  const clean = text
    .slice(0, length * 4)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return clean.length > length ? `${clean.slice(0, length - 1)}…` : clean;
}

/** Returns a URL for a message, without user info and query string, which may hold secrets. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${printable(url.pathname, 300)}`;
}

/** No server of a registry has a longer address. */
const LONGEST_TARGET = 8192;

/** Returns a server's Location or realm for a message, even if it is not a valid URL: without user info and query string. */
export function redactTarget(text: string): string {
  if (text.length > LONGEST_TARGET) return `a text of ${text.length} characters`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // In text that is not a web address, user info may be anywhere.
  return url !== undefined && /^https?:$/.test(url.protocol) ? redactUrl(url) : printable(bare(text), 100);
}

function bare(text: string): string {
  return withoutLogin(text).replace(/[?#].*$/s, '');
}
