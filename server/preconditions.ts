import { parseHttpDate } from './httpDate.ts';
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
