import { gzipSync } from 'node:zlib';
import { type Answer, answer, answerError } from './answer.ts';
import { hopsTo } from './redirects.ts';
import type { Fault, UrlLimits } from './script.ts';

/** RST. Without `afterBytes` before the status line; with it, behind so many body bytes (below 0: before the end). */
export function reset(options: { readonly afterBytes?: number } = {}): Fault {
  return { name: 'reset', delivery: { cut: { how: 'reset', ...options } } };
}

/** FIN: the body ends early though its length was announced. */
export function finish(options: { readonly afterBytes?: number } = {}): Fault {
  return { name: 'finish', delivery: { cut: { how: 'finish', ...options } } };
}

/** Silence: the connection stays open and nothing more comes, until the client leaves. */
export function hang(options: { readonly afterBytes?: number } = {}): Fault {
  return { name: 'hang', delivery: { cut: { how: 'hang', ...options } } };
}

export function delay(delayMs: number): Fault {
  return { name: 'delay', delivery: { delayMs } };
}

/** The answer waits for what a test waits for, however long that takes on a busy machine. */
export function heldBack(until: Promise<unknown>): Fault {
  return { name: 'heldBack', delivery: { until } };
}

export function drip(options: { readonly bytes: number; readonly everyMs: number }): Fault {
  return { name: 'drip', delivery: { drip: options } };
}

/** Transfer-Encoding: chunked, no Content-Length. */
export function chunked(): Fault {
  return { name: 'chunked', delivery: { framing: 'chunked' } };
}

/** Neither length nor chunks: the body ends with the connection, so a FIN cannot be distinguished from its end. */
export function closeDelimited(): Fault {
  return { name: 'close-delimited', delivery: { framing: 'close' } };
}

/** The body over and over again, chunked, until the client leaves. */
export function endless(): Fault {
  return { name: 'endless', delivery: { framing: 'chunked', endless: true } };
}

/** Anything but HTTP, e.g. another protocol's banner or half a status line. */
export function raw(bytes: Buffer | string, ending: 'reset' | 'finish' | 'hang' = 'finish'): Fault {
  return { name: 'raw', delivery: { raw: Buffer.from(bytes), cut: { how: ending } } };
}

/** Any change of an answer; the functions below are all made of it. */
export function rewrite(name: string, change: (said: Answer) => Answer): Fault {
  return { name, rewrite: change };
}

/** Flips one byte of the body; the length stays. Default: the middle one. Below 0 counts back from the end. */
export function corrupt(options: { readonly atByte?: number } = {}): Fault {
  return rewrite('corrupt', said => {
    const body = Buffer.from(said.body ?? '');
    const at = options.atByte ?? body.length >> 1;
    const byte = body.at(at);
    if (byte !== undefined) body[at < 0 ? body.length + at : at] = byte ^ 0xff;
    return { ...said, body };
  });
}

/** Another body under the same headers, with its true length. */
export function wrongBytes(body: Buffer | string): Fault {
  return rewrite('wrong-bytes', said => ({ ...said, body: Buffer.from(body) }));
}

/** A body that is too short by so many bytes, honestly announced as such. */
export function shortened(byBytes: number): Fault {
  return rewrite('shortened', said => ({ ...said, body: said.body?.subarray(0, -byBytes) ?? Buffer.alloc(0) }));
}

/** Sets headers, or takes them off (null). Names in lower case. */
export function headers(changes: Readonly<Record<string, string | null>>): Fault {
  return rewrite('headers', said => {
    const kept = Object.entries({ ...said.headers, ...changes }).filter(([, value]) => value !== null);
    return { ...said, headers: Object.fromEntries(kept) as Answer['headers'] };
  });
}

/** Docker-Content-Digest of something else. */
export function wrongDigest(digest = `sha256:${'0'.repeat(64)}`): Fault {
  return { ...headers({ 'docker-content-digest': digest }), name: 'wrong-digest' };
}

export interface StatusOptions {
  /** Seconds, a moment (written as an HTTP date), or any text at all. Default: no such header. */
  readonly retryAfter?: number | Date | string;
  /** The registry's error code and message. Default: `UNKNOWN`, and the status' number. */
  readonly code?: string;
  readonly message?: string;
  /** Instead of JSON errors. */
  readonly body?: string;
}

/** An error instead of the answer: 429, 500, 502, 503, 504, … */
export function status(code: number, options: StatusOptions = {}): Fault {
  const { retryAfter } = options;
  const after = retryAfter instanceof Date ? retryAfter.toUTCString() : String(retryAfter);
  const extra = retryAfter === undefined ? {} : { 'retry-after': after };
  return rewrite(`status-${code}`, () => {
    if (options.body !== undefined)
      return answer(code, { 'content-type': 'text/plain', ...extra }, Buffer.from(options.body));
    return answerError(code, options.code ?? 'UNKNOWN', options.message ?? `status ${code}`, null, extra);
  });
}

/** Every token given out expires just before this request is looked at: 401 in mid-run. */
export function expiredToken(): Fault {
  return { name: 'expired-token', before: context => context.expireTokens() };
}

/** The captive portal of a hotel: a page in HTML with a friendly status. */
export function captivePortal(code = 200): Fault {
  const page =
    '<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Please log in to use Wi-Fi.</body></html>\n';
  return rewrite('captive-portal', () =>
    answer(code, { 'content-type': 'text/html; charset=utf-8' }, Buffer.from(page)),
  );
}

/** The body gzipped once more, and said so by Content-Encoding: a client that did not ask must not be fooled. */
export function gzipEncoded(): Fault {
  return rewrite('gzip-encoded', said => ({
    ...said,
    headers: { ...said.headers, 'content-encoding': 'gzip' },
    body: gzipSync(said.body ?? ''),
  }));
}

/** Answers a Range request with 200 and everything. */
export function rangeIgnored(): Fault {
  return { name: 'range-ignored', before: ({ request }) => delete request.headers.range };
}

/** 416, whatever range was asked for. */
export function rangeRefused(): Fault {
  return status(416, { code: 'RANGE_INVALID', message: 'range not satisfiable' });
}

/** The right bytes under another Content-Range (null: under none). Default: one that begins at 0. */
export function wrongContentRange(text?: string | null): Fault {
  return rewrite('wrong-content-range', said => {
    const length = said.body?.length ?? 0;
    const { 'content-range': _, ...kept } = said.headers;
    const range = text === undefined ? `bytes 0-${length - 1}/${length}` : text;
    return { ...said, headers: range === null ? kept : { ...kept, 'content-range': range } };
  });
}

/** Bytes from another place than asked for, with a Content-Range that says so. */
export function shiftedRange(byBytes: number): Fault {
  return {
    name: 'shifted-range',
    before: ({ request }) => {
      const asked = /^bytes=(\d+)(-.*)$/.exec(request.headers.range ?? '');
      if (asked) request.headers.range = `bytes=${Math.max(0, Number(asked[1]) + byBytes)}${asked[2]}`;
    },
  };
}

/** A redirect to anywhere. `code` default 307. */
export function redirect(location: string, code = 307): Fault {
  return rewrite('redirect', () => answer(code, { location }));
}

/** So many redirects before the truth, in turns on the registry's and (if `crossOrigin`) the storage's origin. */
export function redirectChain(
  hops: number,
  options: { readonly crossOrigin?: boolean; readonly relative?: boolean; readonly code?: number } = {},
): Fault {
  return {
    name: 'redirect-chain',
    rewrite: (_, context) => answer(options.code ?? 307, { location: hopsTo(context, hops - 1, options) }),
  };
}

/** Redirects that never end. */
export function redirectLoop(): Fault {
  return { name: 'redirect-loop', rewrite: () => answer(307, { location: '/hops/loop' }) };
}

/** A blob's redirect to a signed URL on object storage that answers 403 at its limits. */
export function expiringUrl(limits: UrlLimits): Fault {
  return { name: 'expiring-url', rewrite: (_, context) => answer(307, { location: context.signBlob(limits) }) };
}
