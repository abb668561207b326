import { distance } from 'fastest-levenshtein';

const MOST_NAMES = 5;
/** As long as a plugin's name may be: no long path costs a long comparison with every name. */
const LONGEST_NAME = 128;
const SHORTEST_PART = 3;

/**
 * The names that somebody who asked for `asked` may have meant, the nearest first, at most five: those that differ by a
 * third of their letters or less, those that begin like it, and those that have all of its parts, or it all of theirs
 * (`proxy`, `ai-proxy`). None if nothing is near.
 */
export function nearNames(asked: string, names: readonly string[]): string[] {
  if (asked.length > LONGEST_NAME) return [];
  const text = asked.toLowerCase();
  const parts = partsOf(text);
  const found: { name: string; apart: number }[] = [];
  for (const name of names) {
    const lower = name.toLowerCase();
    const apart = distance(text, lower);
    if (
      apart <= Math.min(text.length, lower.length) / 3 ||
      isBeginning(parts, lower) ||
      haveParts(parts, partsOf(lower))
    )
      found.push({ name, apart });
  }
  return found
    .sort((one, other) => one.apart - other.apart)
    .slice(0, MOST_NAMES)
    .map(({ name }) => name);
}

function partsOf(name: string): string[] {
  return name.split(/[^a-z0-9]+/).filter(part => part !== '');
}

/** A part that every second name has, such as "ai", tells nothing: only with a further letter does it. */
function isBeginning(parts: readonly string[], name: string): boolean {
  const beginning = parts.join('-');
  return beginning.length >= SHORTEST_PART && partsOf(name).join('-').startsWith(beginning);
}

function haveParts(one: readonly string[], other: readonly string[]): boolean {
  const [few, many] = one.length < other.length ? [one, other] : [other, one];
  return few.some(part => part.length >= SHORTEST_PART) && few.every(part => many.includes(part));
}
