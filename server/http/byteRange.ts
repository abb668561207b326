import { parseHttpDate, type Validators } from './preconditions.ts';

/** A part of a representation; both ends are inclusive. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

const SPEC = /^(?:(\d+)-(\d*)|-(\d+))$/;

/**
 * Parses a Range field with one range (RFC 9110, sections 14.1.2 and 14.2). Returns undefined if the field is to be ignored:
 * another unit, an invalid range, or several ranges, which a server may answer with the whole. Returns `unsatisfiable` if
 * the answer is 416.
 */
export function parseByteRange(field: string, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const unit = /^bytes=/i.exec(field);
  if (unit === null || sizeBytes === 0) return undefined;
  const specs = field
    .slice(unit[0].length)
    .split(',')
    .map(spec => spec.trim())
    .filter(spec => spec !== '');
  const [spec] = specs;
  if (spec === undefined || specs.length > 1) return undefined;
  const match = SPEC.exec(spec);
  if (match === null) return undefined;
  const [, from, to, suffix] = match;
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { first: sizeBytes - length, last: sizeBytes - 1 };
  }
  const first = Number(from);
  const last = to === undefined || to === '' ? Number.POSITIVE_INFINITY : Number(to);
  if (last < first) return undefined;
  return first >= sizeBytes ? 'unsatisfiable' : { first, last: Math.min(last, sizeBytes - 1) };
}

/** Whether If-Range allows a range: it must identify exactly this representation (RFC 9110, section 13.1.5). */
export function rangeApplies(ifRange: string | undefined, current: Validators): boolean {
  if (ifRange === undefined) return true;
  const text = ifRange.trim();
  if (text.startsWith('"')) return text === current.etag;
  return parseHttpDate(text) === current.lastModifiedMs;
}
