export interface ContentRange {
  /** First and last byte, both inclusive. */
  readonly first: number;
  readonly last: number;
  /** Size of the whole representation; undefined for `*`. */
  readonly sizeBytes: number | undefined;
}

/** Reads `bytes FIRST-LAST/SIZE` or `bytes FIRST-LAST/*` (RFC 9110, 14.4); undefined for anything else, an unsatisfied range included. */
export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = /^bytes[ \t]+(\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(value?.trim() ?? '');
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2]);
  const sizeBytes = match[3] === '*' ? undefined : Number(match[3]);
  const numbers = sizeBytes === undefined ? [first, last] : [first, last, sizeBytes];
  if (!numbers.every(Number.isSafeInteger)) return undefined;
  if (last < first || (sizeBytes !== undefined && last >= sizeBytes)) return undefined;
  return { first, last, sizeBytes };
}

/** Returns true if a 206 with this range holds all of a blob of `sizeBytes` from `offset` on; it may begin earlier. */
export function continuesBlob(range: ContentRange | undefined, offset: number, sizeBytes: number): boolean {
  if (range === undefined) return false;
  return (
    range.first <= offset &&
    range.last === sizeBytes - 1 &&
    (range.sizeBytes === undefined || range.sizeBytes === sizeBytes)
  );
}
