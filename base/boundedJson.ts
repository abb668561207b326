/** More than any document that we read needs. Millions of levels cost JSON.parse seconds and hundreds of MiB. */
export const MOST_LEVELS = 64;

/** Parses JSON of others, whose size the caller has bounded. @throws SyntaxError, also for more than 64 levels */
export function parseBoundedJson(text: string): unknown {
  const deep = tooDeepAt(text);
  if (deep !== undefined)
    throw new SyntaxError(`more than ${MOST_LEVELS} levels of arrays and objects at position ${deep}`);
  return JSON.parse(text);
}

/** Returns the offset of the first bracket that is nested too deeply. Does not check the syntax. */
export function tooDeepAt(text: string): number | undefined {
  let depth = 0;
  let inString = false;
  for (let offset = 0; offset < text.length; offset++) {
    const code = text.charCodeAt(offset);
    if (inString) {
      if (code === 0x5c) offset++;
      else if (code === 0x22 || code === 0x0a) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      depth++;
      if (depth > MOST_LEVELS) return offset;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return undefined;
}
