/** More than any document that we read needs. Millions of levels cost JSON.parse seconds and hundreds of MiB. */
export const MOST_LEVELS = 64;

/**
 * The most values of a document, about 20,000 versions with all that is known about them. JSON.parse cannot be interrupted,
 * and takes up to a microsecond for each value.
 */
export const MOST_VALUES = 500_000;

/** Parses JSON of others, whose size the caller has bounded. @throws SyntaxError, also for more than 64 levels or 500,000 values */
export function parseBoundedJson(text: string): unknown {
  const excess = excessOf(text);
  if (excess !== undefined) throw new SyntaxError(`${excess.found} at position ${excess.offset}`);
  return JSON.parse(text);
}

/** True if an object in the text has a key more than once: JSON.parse, which made `value` of it, keeps one of them. */
export function hasRepeatedKeys(text: string, value: unknown): boolean {
  return colonsIn(text) !== keysIn(value);
}

function colonsIn(text: string): number {
  let colons = 0;
  scanOutsideStrings(text, code => {
    if (code === 0x3a) colons++;
  });
  return colons;
}

function keysIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const members: readonly unknown[] = Object.values(value);
  return members.reduce<number>((sum, each) => sum + keysIn(each), Array.isArray(value) ? 0 : members.length);
}

/** The first position at which a document goes beyond its bounds. */
export interface JsonExcess {
  readonly offset: number;
  /** In words: `more than 64 levels of arrays and objects`. */
  readonly found: string;
  readonly expected: string;
}

/** Returns where JSON has too many levels or values, or undefined. Does not check the syntax. */
export function excessOf(text: string, mostValues = MOST_VALUES): JsonExcess | undefined {
  let [depth, values] = [0, 0];
  return scanOutsideStrings(text, (code, offset) => {
    if (code === 0x2c) values++;
    else if (code === 0x7b || code === 0x5b) {
      depth++;
      values++;
    } else if (code === 0x7d || code === 0x5d) depth--;
    if (depth > MOST_LEVELS) return excess(offset, `${MOST_LEVELS} levels of arrays and objects`);
    return values > mostValues ? excess(offset, `${mostValues} values`) : undefined;
  });
}

/** Calls `visit` for each character that is in no string. Returns its first result that is not undefined. */
function scanOutsideStrings<T>(text: string, visit: (code: number, offset: number) => T | undefined): T | undefined {
  let inString = false;
  for (let offset = 0; offset < text.length; offset++) {
    const code = text.charCodeAt(offset);
    if (inString) {
      if (code === 0x5c) offset++;
      else if (code === 0x22 || code === 0x0a) inString = false;
    } else if (code === 0x22) inString = true;
    else {
      const result = visit(code, offset);
      if (result !== undefined) return result;
    }
  }
  return undefined;
}

function excess(offset: number, most: string): JsonExcess {
  return { offset, found: `more than ${most}`, expected: `at most ${most}` };
}
