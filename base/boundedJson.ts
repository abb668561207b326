/** Enough for every document that registries send. JSON.parse needs seconds and hundreds of MiB for millions of levels. */
const MOST_LEVELS = 64;

/**
 * Parses JSON from a registry. Its size must be bounded by the caller. @throws SyntaxError, also for more than 64 levels
 */
export function parseBoundedJson(text: string): unknown {
  requireFewLevels(text);
  return JSON.parse(text);
}

/** Does not check the syntax: whatever follows a mistake is JSON.parse's to refuse. */
function requireFewLevels(text: string): void {
  let levels = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at + 1);
    else if (code === ARRAY || code === OBJECT) {
      if (++levels > MOST_LEVELS) throw new SyntaxError(`more than ${MOST_LEVELS} levels of arrays and objects`);
    } else if (code === ARRAY_END || code === OBJECT_END) levels--;
  }
}

function endOfString(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  return text.length;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ARRAY = 0x5b;
const ARRAY_END = 0x5d;
const OBJECT = 0x7b;
const OBJECT_END = 0x7d;
