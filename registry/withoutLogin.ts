/**
 * A host, URL or reference that somebody wrote, as a message may show it: without the user name and password before its
 * `@`, and without what a query string carries. The `@` of a digest is no login's.
 */
export function withoutLogin(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@(?!sha\d+:)/is, '$1***@').replace(/\?.*=.*$/s, '?…');
}
