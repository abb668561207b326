import type { RequestHead } from './requestHead.ts';

/** What a representation can be told by. */
export interface Validators {
  /** With its quotes; always a strong one. */
  readonly etag: string;
  /** In whole seconds. */
  readonly lastModifiedMs: number;
}

/**
 * RFC 9110, 13.2.2: the preconditions in their order of precedence, for GET and HEAD of something that exists.
 * If-Range is not among them: it decides about the range alone (rangeApplies).
 */
export function evaluatePreconditions(head: RequestHead, has: Validators): 'go' | 'unchanged' | 'failed' {
  if (head.ifMatch !== undefined) {
    if (!namesEtag(head.ifMatch, has.etag, 'strong')) return 'failed';
  } else if (head.ifUnmodifiedSince !== undefined) {
    const since = parseHttpDate(head.ifUnmodifiedSince);
    if (since !== undefined && has.lastModifiedMs > since) return 'failed';
  }
  if (head.ifNoneMatch !== undefined) return namesEtag(head.ifNoneMatch, has.etag, 'weak') ? 'unchanged' : 'go';
  if (head.ifModifiedSince !== undefined) {
    const since = parseHttpDate(head.ifModifiedSince);
    if (since !== undefined && has.lastModifiedMs <= since) return 'unchanged';
  }
  return 'go';
}

/** RFC 9110, 13.1.5: a range is sent only of the very representation that If-Range names. */
export function rangeApplies(ifRange: string | undefined, has: Validators): boolean {
  if (ifRange === undefined) return true;
  const text = ifRange.trim();
  if (text.startsWith('"')) return text === has.etag;
  return parseHttpDate(text) === has.lastModifiedMs;
}

const ENTITY_TAG = /[\t ]*(?:(W\/)?("[\x21\x23-\x7e\x80-\xff]*"))?[\t ]*(?:,|$)/y;

/** RFC 9110, 8.8.3.2 and 13.1.1: `*`, or a list of entity tags. What is no such list names nothing. */
export function namesEtag(list: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (list === etag || list.trim() === '*') return true;
  ENTITY_TAG.lastIndex = 0;
  let found = false;
  while (ENTITY_TAG.lastIndex < list.length) {
    const match = ENTITY_TAG.exec(list);
    if (match === null) return false;
    found ||= match[2] === etag && (comparison === 'weak' || match[1] === undefined);
  }
  return found;
}

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const MONTH = `(${MONTHS.join('|')})`;
const TIME = '(\\d\\d):(\\d\\d):(\\d\\d)';
const FIXDATE = new RegExp(`^${DAY}, (\\d\\d) ${MONTH} (\\d{4}) ${TIME} GMT$`);
const RFC850 = new RegExp(`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\\d\\d)-${MONTH}-(\\d\\d) ${TIME} GMT$`);
const ASCTIME = new RegExp(`^${DAY} ${MONTH} ([ \\d]\\d) ${TIME} (\\d{4})$`);

/** RFC 9110, 5.6.7: the one form to write and the two old ones to read. Anything else is no date. In milliseconds. */
export function parseHttpDate(text: string): number | undefined {
  const fix = FIXDATE.exec(text);
  if (fix !== null) return moment(fix[3], fix[2], fix[1], fix.slice(4));
  const asc = ASCTIME.exec(text);
  if (asc !== null) return moment(asc[6], asc[1], asc[2], asc.slice(3, 6));
  const old = RFC850.exec(text);
  if (old === null) return undefined;
  // Two digits of a year that would lie more than 50 years ahead mean the century before.
  const now = new Date().getUTCFullYear();
  const year = now - (now % 100) + Number(old[3]);
  return moment(String(year > now + 50 ? year - 100 : year), old[2], old[1], old.slice(4));
}

/** In the form of RFC 9110's IMF-fixdate, which is that of toUTCString. */
export function formatHttpDate(ms: number): string {
  return new Date(ms).toUTCString();
}

function moment(year = '', month = '', day = '', time: readonly string[] = []): number | undefined {
  const [hours = 0, minutes = 0, seconds = 0] = time.map(Number);
  const date = Number(day);
  if (date < 1 || hours > 23 || minutes > 59 || seconds > 60) return undefined;
  const ms = Date.UTC(Number(year), MONTHS.indexOf(month), date, hours, minutes, seconds);
  return new Date(ms).getUTCDate() === date || seconds === 60 ? ms : undefined;
}
