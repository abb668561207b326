import { distance } from 'fastest-levenshtein';

/** Longer texts get no suggestion: comparing them costs the product of both lengths. */
const LONGEST = 128;
/** Together: a thousand names, or fewer long ones. */
const MOST_CHARACTERS = 20_000;
/** Fewer letters begin too many names. */
const FEWEST_LETTERS = 3;

/** Returns the candidate that `written` most probably means, or undefined if no candidate is similar. */
export function nearest(written: string, candidates: readonly string[]): string | undefined {
  return similar(written, candidates)[0];
}

/**
 * Returns the candidates that are similar to `written`, whatever the case of either. Misspelled ones come first, then
 * those that begin like it (`vers`, `imageName`), those with the same parts (`proxy`, `ai-proxy`), and those that it
 * abbreviates (`img`); within each kind the fewest edits come first.
 */
export function similar(written: string, candidates: readonly string[]): string[] {
  const text = written.toLowerCase();
  const kindOf = (candidate: string): number => KINDS.findIndex(isKind => isKind(text, candidate.toLowerCase()));
  const kinds = new Map(comparable(written, candidates).map(candidate => [candidate, kindOf(candidate)]));
  const found = [...kinds.keys()].filter(candidate => kinds.get(candidate) !== -1);
  return byDistance(written, found).sort((one, other) => (kinds.get(one) ?? 0) - (kinds.get(other) ?? 0));
}

/**
 * Returns the candidate that `written` misspells: at most a third of the characters differ, or two neighbours have changed
 * places, whatever the case.
 */
export function misspelled(written: string, candidates: readonly string[]): string | undefined {
  const slips = comparable(written, candidates).filter(it => isSlip(written.toLowerCase(), it.toLowerCase()));
  return byDistance(written, slips)[0];
}

/** How similar two texts are, whatever the case. */
export interface Nearness {
  readonly edits: number;
  /** The length of the common beginning. */
  readonly same: number;
}

export function nearness(written: string, candidate: string): Nearness {
  return {
    edits: distance(written.toLowerCase(), candidate.toLowerCase()),
    same: sameStart(written, candidate),
  };
}

/** Compares for sorting: the fewest edits first, then the longest common beginning. */
export function compareNearness(one: Nearness, other: Nearness): number {
  return one.edits - other.edits || other.same - one.same;
}

function byDistance(written: string, candidates: readonly string[]): string[] {
  return candidates
    .map(candidate => ({ candidate, ...nearness(written, candidate) }))
    .sort(compareNearness)
    .map(({ candidate }) => candidate);
}

const KINDS = [isSlip, isBeginning, hasSameParts, isAbbreviation] as const;

function comparable(written: string, candidates: readonly string[]): readonly string[] {
  if (written.length > LONGEST) return [];
  const compared = new Set<string>();
  let characters = 0;
  for (const candidate of candidates) {
    if (candidate.length > LONGEST || compared.has(candidate)) continue;
    characters += candidate.length;
    if (characters > MOST_CHARACTERS) break;
    compared.add(candidate);
  }
  return [...compared];
}

function isSlip(text: string, candidate: string): boolean {
  const allowed = Math.max(1, Math.floor(Math.min(text.length, candidate.length) / 3));
  return distance(text, candidate) <= allowed || isSwapped(text, candidate);
}

/** Two neighbouring characters have changed places: `snyc`, which is two edits of `sync`. */
function isSwapped(text: string, candidate: string): boolean {
  if (text.length !== candidate.length) return false;
  const at = sameStart(text, candidate);
  return (
    at < text.length &&
    text[at] === candidate[at + 1] &&
    text[at + 1] === candidate[at] &&
    text.slice(at + 2) === candidate.slice(at + 2)
  );
}

function isBeginning(text: string, candidate: string): boolean {
  const [short, long] = text.length < candidate.length ? [text, candidate] : [candidate, text];
  const letters = short.replace(/[^a-z]/g, '').length;
  return letters >= FEWEST_LETTERS && long.startsWith(short);
}

/** All parts of the one are parts of the other. Short ones such as `ai` are in every second name and do not count alone. */
function hasSameParts(text: string, candidate: string): boolean {
  const [few = [], many = []] = [partsOf(text), partsOf(candidate)].sort((one, other) => one.length - other.length);
  return few.some(part => part.length >= FEWEST_LETTERS) && few.every(part => many.includes(part));
}

function partsOf(text: string): string[] {
  return text.split(/[^a-z0-9]+/).filter(part => part !== '');
}

/** The same first letter, only letters of the candidate in their order, and at least half of them. */
function isAbbreviation(text: string, candidate: string): boolean {
  if (!/^[a-z]{3,}$/.test(text) || text[0] !== candidate[0] || text.length * 2 < candidate.length) return false;
  let at = 0;
  for (const letter of candidate) if (letter === text[at]) at += 1;
  return at === text.length;
}

function sameStart(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}
