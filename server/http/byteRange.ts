/** Both ends included. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

const SPEC = /^(?:(\d+)-(\d*)|-(\d+))$/;

/**
 * RFC 9110, 14.1.2 and 14.2, for one range. Undefined where the field is to be ignored: another unit, not a valid range,
 * or several ranges (which a server may answer with the whole). `unsatisfiable` is for 416.
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
