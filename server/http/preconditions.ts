import type { RequestHead } from './requestHead.ts';

/** Identify the current representation. */
export interface Validators {
  /** With its quotes; always a strong entity tag. */
  readonly etag: string;
  /** In whole seconds. */
  readonly lastModifiedMs: number;
}

/**
 * Evaluates the preconditions of a GET or HEAD of an existing file in the order of RFC 9110, section 13.2.2. Returns what the
 * answer is: the file, 304 (`unchanged`) or 412 (`failed`). If-Range concerns only the range: see rangeApplies.
 */
export function evaluatePreconditions(head: RequestHead, current: Validators): 'send' | 'unchanged' | 'failed' {
  if (head.ifMatch !== undefined) {
    if (!namesEtag(head.ifMatch, current.etag, 'strong')) return 'failed';
  } else if (head.ifUnmodifiedSince !== undefined) {
    const since = parseHttpDate(head.ifUnmodifiedSince);
    if (since !== undefined && current.lastModifiedMs > since) return 'failed';
  }
  if (head.ifNoneMatch !== undefined) return namesEtag(head.ifNoneMatch, current.etag, 'weak') ? 'unchanged' : 'send';
  if (head.ifModifiedSince !== undefined) {
    const since = parseHttpDate(head.ifModifiedSince);
    if (since !== undefined && current.lastModifiedMs <= since) return 'unchanged';
  }
  return 'send';
}

const ENTITY_TAG = /[\t ]*(?:(W\/)?("[\x21\x23-\x7e\x80-\xff]*"))?[\t ]*(?:,|$)/y;

/** Whether `*` or a list of entity tags includes `etag` (RFC 9110, sections 8.8.3.2 and 13.1.1). False for any other text. */
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

/** Parses the current and the two obsolete formats of RFC 9110, section 5.6.7. Returns milliseconds, or undefined. */
export function parseHttpDate(text: string): number | undefined {
  const fix = FIXDATE.exec(text);
  if (fix !== null) return moment(fix[3], fix[2], fix[1], fix.slice(4));
  const asc = ASCTIME.exec(text);
  if (asc !== null) return moment(asc[6], asc[1], asc[2], asc.slice(3, 6));
  const old = RFC850.exec(text);
  if (old === null) return undefined;
  // A two-digit year that would be more than 50 years in the future belongs to the century before.
  const now = new Date().getUTCFullYear();
  const year = now - (now % 100) + Number(old[3]);
  return moment(String(year > now + 50 ? year - 100 : year), old[2], old[1], old.slice(4));
}

/** Returns an IMF-fixdate (RFC 9110, section 5.6.7), which is the format of toUTCString. */
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
