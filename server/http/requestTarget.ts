/** A parsed request target. `path` is decoded and normalized: it has no escapes and no empty, `.` or `..` part. */
export interface RequestTarget {
  readonly path: string;
  /** Including its `?`, or empty. */
  readonly query: string;
}

const ABSOLUTE = /^https?:\/\/[^/?#]*/i;

/**
 * Parses the origin form and the absolute form (RFC 9112, section 3.2). Double slashes count as one, as in nginx. Returns
 * undefined for a path that is ambiguous or that no file can have: invalid escapes, an escaped slash, control characters, a
 * backslash, `..`.
 */
export function readTarget(url: string): RequestTarget | undefined {
  let target = url;
  if (!target.startsWith('/')) {
    const authority = ABSOLUTE.exec(target);
    if (authority === null) return undefined;
    target = target.slice(authority[0].length);
    if (!target.startsWith('/')) target = `/${target}`;
  }
  const mark = target.indexOf('?');
  const query = mark < 0 ? '' : target.slice(mark);
  const raw = mark < 0 ? target : target.slice(0, mark);
  const parts: string[] = [];
  for (const escaped of raw.split('/')) {
    const part = decode(escaped);
    if (part === undefined || part === '..') return undefined;
    if (part !== '' && part !== '.') parts.push(part);
  }
  const folder = parts.length > 0 && /\/\.?$/.test(raw) ? '/' : '';
  return { path: `/${parts.join('/')}${folder}`, query };
}

function decode(escaped: string): string | undefined {
  let part = escaped;
  if (part.includes('%')) {
    try {
      part = decodeURIComponent(part);
    } catch {
      return undefined;
    }
    if (part.includes('/')) return undefined;
  }
  for (let at = 0; at < part.length; at++) {
    const code = part.charCodeAt(at);
    if (code < 0x20 || code === 0x7f || code === 0x5c || code === 0x23) return undefined;
  }
  return part;
}
